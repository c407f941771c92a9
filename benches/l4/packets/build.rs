//! Compiles the generator: one C source, one object for each hook, as lb-l4 does with the product.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const HOOKS: [(&str, &str); 2] = [("HOOK_XDP", "packets_xdp.o"), ("HOOK_TC", "packets_tc.o")];

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for (hook, object) in HOOKS {
        compile(hook, &out.join(object));
    }
}

fn compile(hook: &str, object: &Path) {
    let mut command = Command::new("clang");
    command.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror"]);
    command.arg(format!("-D{hook}"));
    let arch = env::var("HOST").expect("cargo sets HOST");
    let arch = arch.split('-').next().expect("a triple has parts");
    command.arg("-idirafter").arg(format!("/usr/include/{arch}-linux-gnu"));
    command.arg("-c").arg("bpf/packets.c").arg("-o").arg(object);
    let status = command.status().expect("clang is installed (see .ci/setup)");
    assert!(status.success(), "clang did not compile bpf/packets.c for {hook}");
}
