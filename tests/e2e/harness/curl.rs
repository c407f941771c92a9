//! curl, for what a raw client cannot say: HTTP/2, TLS, uploads that wait.

use std::io::{BufReader, Cursor};
use std::process::Command;

use super::http1::{self, Response};

/// What curl saw.
#[derive(Debug)]
pub struct Curl {
    /// The last response; its interim ones are with it.
    pub response: Response,
    /// `1.1` or `2`.
    pub version: String,
    /// curl's own exit code; 0 is success.
    pub exit: i32,
    pub stderr: String,
}

impl Curl {
    pub fn status(&self) -> u16 {
        self.response.status
    }

    pub fn text(&self) -> String {
        self.response.text()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.response.get(name)
    }
}

/// Runs curl to its end; a failure to get a response stands in `exit`.
pub fn curl(arguments: &[&str]) -> Curl {
    let dir = tempfile::tempdir().unwrap();
    let (head, body) = (dir.path().join("head"), dir.path().join("body"));
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--noproxy", "*", "--write-out", "%{http_version}"])
        .args([std::ffi::OsStr::new("--dump-header"), head.as_os_str()])
        .args([std::ffi::OsStr::new("--output"), body.as_os_str()])
        .args(arguments)
        .output()
        .expect("curl is installed");
    let mut response = parse_head(&std::fs::read(head).unwrap_or_default());
    response.body = std::fs::read(body).unwrap_or_default();
    Curl {
        response,
        version: String::from_utf8_lossy(&output.stdout).into_owned(),
        exit: output.status.code().unwrap_or(-1),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// curl writes the heads of HTTP/2 as `HTTP/2 200`, and trailers after the last head.
fn parse_head(head: &[u8]) -> Response {
    if head.is_empty() {
        return Response::default();
    }
    let text = String::from_utf8_lossy(head).replace("HTTP/2 ", "HTTP/1.1 ");
    let mut reader = BufReader::new(Cursor::new(text.into_bytes()));
    let mut response = http1::read_response(&mut reader, "HEAD").unwrap();
    response.trailers = http1::read_fields_to_end(&mut reader).unwrap();
    response
}
