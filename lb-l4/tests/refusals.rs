//! What a kernel says no to, and what lb makes of it. Needs root, and clang.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use aya::Ebpf;
use aya::programs::Xdp;
use lb_core::config;
use lb_core::snapshot::Snapshot;
use lb_l4::refusal::Why;
use lb_l4::{Error, Options, Tier, trial};

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(root || std::env::var_os("LB_TEST_REQUIRE").is_none(), "this test needs root");
    if !root {
        eprintln!("skipped: it takes root to load programs");
    }
    root
}

/// A program that reads the frame without a look at where it ends.
const CARELESS: &str = r#"
struct xdp_md { unsigned data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; };
__attribute__((section("xdp"), used)) int careless(struct xdp_md *ctx) { return *(unsigned char *)(long)ctx->data; }
char LICENSE[] __attribute__((section("license"), used)) = "GPL";
"#;

fn compiled(dir: &Path) -> PathBuf {
    let (source, object) = (dir.join("careless.c"), dir.join("careless.o"));
    std::fs::write(&source, CARELESS).unwrap();
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let done = Command::new(clang).args(["-target", "bpf", "-O2", "-c"]).arg(&source).arg("-o").arg(&object).status();
    assert!(done.unwrap().success());
    object
}

#[test]
fn the_verifiers_last_words_are_told() {
    if !is_root() {
        return;
    }
    let dir = std::env::temp_dir().join(format!("lb-careless-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut ebpf = Ebpf::load_file(compiled(&dir)).unwrap();
    let program: &mut Xdp = ebpf.program_mut("careless").unwrap().try_into().unwrap();
    let error = Error::program("the program for xdp", &program.load().unwrap_err());
    std::fs::remove_dir_all(dir).unwrap();
    let Error::Refused(refusal) = &error else { panic!("{error:?}") };
    assert!(matches!(refusal.why, Why::Verifier(_)), "{refusal:?}");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let text = error.to_string();
    for part in [release.trim(), "Permission denied", "invalid access to packet", "please report it"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!error.is_for_want_of_capabilities());
}

fn snapshot(extra: &str) -> Arc<Snapshot> {
    let text = format!(
        "frontends: {{ web: {{ mode: nat, listen: 127.0.0.1:80, pool: web }} }}
pools: {{ web: {{ backends: [127.0.0.2:80] }} }}
{extra}
"
    );
    let loaded = config::load(&text, Path::new("test.yaml"), &|_| None).unwrap_or_else(|why| panic!("{why}"));
    Arc::new(Snapshot::build(Arc::new(loaded.config), "sha".to_owned(), 1, None))
}

/// Programs, maps and links that this process holds; it pins none, so that without it they are gone.
fn held() -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("anon_inode:bpf")).count()
}

/// By its own list of symbols.
fn kernel_has(function: &str) -> bool {
    std::fs::read_to_string("/proc/kallsyms").unwrap().lines().any(|line| line.split(' ').nth(2) == Some(function))
}

#[test]
fn a_trial_loads_what_a_start_would_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let before = held();
    let text = trial(&snapshot("l4: { attach: auto }")).unwrap();
    assert!(text.contains("xdp") && text.contains("tc"), "{text}");
    assert_eq!(text.contains("this kernel has no tcx"), !kernel_has("tcx_prog_attach"), "{text}");
    // Other tests of this process may load as well.
    assert!((0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        held() <= before
    }));
    let text = trial(&snapshot("l4: { attach: tc }")).unwrap();
    assert!(!text.contains("xdp"), "{text}");
}

#[test]
fn a_directory_that_is_no_bpffs_is_named() {
    if !is_root() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("lb-no-bpffs-{}", std::process::id()));
    let error = Tier::new(Options { directory: directory.clone() }).start(snapshot("")).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::NoBpffs { .. }), "{error:?}");
    assert!(text.contains(&*directory.to_string_lossy()) && text.contains("mount -t bpf"), "{text}");
}
