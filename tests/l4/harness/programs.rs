//! Programs of our own in the kernel of other hosts: bpf/peers.c, compiled when it is needed.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use aya::Ebpf;
use aya::programs::tc::{SchedClassifier, TcAttachType};

use super::Space;

/// Attached as long as it is kept.
pub struct Program(#[allow(dead_code, reason = "kept attached")] Ebpf);

impl Program {
    /// Unwraps what arrives on `eth0` in a tunnel.
    pub fn decap(host: &Space) -> Program {
        let mut program = load();
        let decap: &mut SchedClassifier = program.program_mut("decap").unwrap().try_into().unwrap();
        decap.load().unwrap();
        host.enter(|| {
            // Before Linux 6.6 a program hangs in a queueing discipline.
            let _ = aya::programs::tc::qdisc_add_clsact("eth0");
            decap.attach("eth0", TcAttachType::Ingress).unwrap();
        });
        Program(program)
    }
}

fn load() -> Ebpf {
    static OBJECT: OnceLock<Vec<u8>> = OnceLock::new();
    Ebpf::load(OBJECT.get_or_init(compile)).unwrap()
}

fn compile() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let object = dir.path().join("peers.o");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/l4/bpf/peers.c");
    let mut clang = Command::new(std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned()));
    clang.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror"]);
    clang.arg("-idirafter").arg(format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH));
    assert!(clang.arg("-c").arg(source).arg("-o").arg(&object).status().unwrap().success());
    std::fs::read(object).unwrap()
}
