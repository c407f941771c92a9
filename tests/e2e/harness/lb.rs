//! One lb process under test.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::{Client, Port, Response, Samples, poll};

/// Killed when dropped. A failed test shows what lb wrote to its standard error.
///
/// In a configuration, `@dir` is the test's own directory, `@name` the address that the test gave under this
/// name, and any other `@name` a free port on loopback, reserved at its first use.
pub struct Lb {
    child: Child,
    dir: TempDir,
    names: Names,
    stderr: Gathered,
}

/// What a pipe brought so far, and who empties it.
struct Gathered {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Names {
    given: BTreeMap<String, String>,
    reserved: BTreeMap<String, Port>,
}

/// Added to every configuration that does not speak of these things itself.
const USUAL: [(&str, &str); 3] = [
    ("metrics:", "metrics: { listen: @metrics }\n"),
    ("admin:", "admin: { socket: @dir/admin.sock }\n"),
    ("log:", "log: { level: debug, format: text, access: @dir/access.log }\n"),
];

impl Lb {
    /// Starts lb and waits until it serves.
    pub fn start(config: &str, names: &[(&str, SocketAddr)]) -> Lb {
        Lb::start_in(tempfile::tempdir().unwrap(), config, names)
    }

    /// In a directory that the test filled with certificates before.
    pub fn start_in(dir: TempDir, config: &str, names: &[(&str, SocketAddr)]) -> Lb {
        Lb::start_as(dir, config, names, &[])
    }

    /// Below another program, which must become lb by exec: `["prlimit", "--nofile=100", "--"]`.
    pub fn start_as(dir: TempDir, config: &str, names: &[(&str, SocketAddr)], wrapper: &[&str]) -> Lb {
        let mut lb = Lb::spawn(dir, config, names, wrapper);
        lb.wait_until_it_serves(lb.addr("metrics"));
        lb
    }

    /// Where its metrics can be reached from here.
    pub fn wait_until_it_serves(&mut self, metrics: SocketAddr) {
        poll("lb serves", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.wait_for_exit();
                panic!("lb ended before it served: {status}\n{}", self.stderr());
            }
            let mut client = Client::over(std::net::TcpStream::connect(metrics).ok()?);
            client.try_send("GET /readyz HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n").ok()?;
            (client.try_response("GET").ok()?.status == 200).then_some(())
        });
    }

    /// Starts lb without waiting for anything.
    pub fn spawn(dir: TempDir, config: &str, names: &[(&str, SocketAddr)], wrapper: &[&str]) -> Lb {
        let given = names.iter().map(|(n, a)| ((*n).to_owned(), a.to_string())).collect();
        let mut names = Names { given, ..Names::default() };
        names.given.insert("dir".to_owned(), dir.path().display().to_string());
        names.reserve("metrics");
        write_config(dir.path(), &names.expand(&with_usual(config)));
        let program = env!("CARGO_BIN_EXE_lb");
        let mut command = match wrapper {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.arg("run").arg("-c").arg(dir.path().join("lb.yaml"));
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(stdout_file(dir.path())).spawn().unwrap();
        let stderr = gather(child.stderr.take().unwrap());
        Lb { child, dir, names, stderr }
    }

    /// The address behind `@name`.
    pub fn addr(&self, name: &str) -> SocketAddr {
        self.names.addr(name)
    }

    /// `http://127.0.0.1:PORT/path` of a frontend.
    pub fn url(&self, name: &str, path: &str) -> String {
        format!("http://{}{path}", self.addr(name))
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self, frontend: &str) -> Client {
        Client::connect(self.addr(frontend))
    }

    pub fn get(&self, frontend: &str, path: &str) -> Response {
        super::get(self.addr(frontend), path)
    }

    /// Replaces the file, without a reload.
    pub fn write_config(&mut self, config: &str) {
        let text = self.names.expand(&with_usual(config));
        write_config(self.dir.path(), &text);
    }

    /// Replaces the file and reloads; the result of `lb reload`.
    pub fn try_reload(&mut self, config: &str) -> Output {
        self.write_config(config);
        self.cli(&["reload"])
    }

    pub fn reload(&mut self, config: &str) {
        let output = self.try_reload(config);
        assert!(output.status.success(), "reload failed: {}{}", text(&output.stdout), text(&output.stderr));
    }

    /// Runs another lb as an operator's command that speaks to this one.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lb"))
            .args(arguments)
            .env("LB_SOCKET", self.dir.path().join("admin.sock"))
            .output()
            .unwrap()
    }

    /// The same where it must succeed; its standard output.
    pub fn cli_ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        assert!(output.status.success(), "lb {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.cli_ok(&["status", "--json"])).unwrap()
    }

    /// One backend in [`Self::status`]; null where there is none.
    pub fn backend(&self, pool: &str, backend: &str) -> Value {
        let status = self.status();
        let named = |list: &Value, name: &str| {
            list.as_array().and_then(|l| l.iter().find(|v| v["name"] == name)).cloned().unwrap_or(Value::Null)
        };
        named(&named(&status["pools"], pool)["backends"], backend)
    }

    pub fn metrics_text(&self) -> String {
        super::get(self.addr("metrics"), "/metrics").text()
    }

    pub fn metrics(&self) -> Samples {
        Samples::parse(&self.metrics_text())
    }

    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().sum(name, labels)
    }

    /// The lines of the access log so far.
    pub fn access_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
        text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
    }

    /// The only line of the access log with this path, once it is written.
    pub fn logged(&self, path: &str) -> Value {
        poll(&format!("an access log line for {path}"), || self.access_log().into_iter().find(|l| l["path"] == path))
    }

    /// What lb has written to its standard error.
    pub fn stderr(&self) -> String {
        text(&self.stderr.bytes.lock().unwrap())
    }

    /// What lb has written to its standard output.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.dir.path().join("stdout")).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let status = poll("lb ends", || self.child.try_wait().unwrap());
        if let Some(reader) = self.stderr.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// Memory that lb holds now, in KiB, without the pages of its own program.
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Open descriptors of lb.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

impl Drop for Lb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let stderr = self.stderr();
        if thread::panicking() {
            eprintln!("---- standard error of lb ----\n{stderr}------------------------------");
        } else {
            assert!(!stderr.contains("panicked at"), "lb panicked:\n{stderr}");
        }
    }
}

impl Names {
    fn addr(&self, name: &str) -> SocketAddr {
        let given = self.given.get(name).and_then(|a| a.parse().ok());
        given.or_else(|| self.reserved.get(name).map(|p| p.addr)).unwrap_or_else(|| panic!("nothing is named {name}"))
    }

    fn reserve(&mut self, name: &str) -> String {
        self.reserved.entry(name.to_owned()).or_insert_with(Port::reserve).addr.to_string()
    }

    /// Replaces every `@name`.
    fn expand(&mut self, text: &str) -> String {
        let mut parts = text.split('@');
        let mut expanded = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            let (name, rest) = part.split_at(end);
            let value = self.given.get(name).cloned();
            expanded += &value.unwrap_or_else(|| self.reserve(name));
            expanded += rest;
        }
        expanded
    }
}

fn with_usual(config: &str) -> String {
    let speaks_of = |key: &str| config.lines().any(|l| l.starts_with(key));
    let missing: String = USUAL.iter().filter(|(key, _)| !speaks_of(key)).map(|(_, text)| *text).collect();
    format!("{}\n{missing}", config.trim_end())
}

/// By rename, as an editor does it, so that lb never reads half of it.
fn write_config(dir: &Path, text: &str) {
    let new: PathBuf = dir.join("lb.yaml.new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, dir.join("lb.yaml")).unwrap();
}

fn stdout_file(dir: &Path) -> fs::File {
    fs::File::create(dir.join("stdout")).unwrap()
}

fn gather(mut from: impl Read + Send + 'static) -> Gathered {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let to = bytes.clone();
    let reader = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            to.lock().unwrap().extend(&buffer[..n]);
        }
    });
    Gathered { bytes, reader: Some(reader) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
