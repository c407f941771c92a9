//! Compiles the data plane: one C source, one object for each hook.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCES: &str = "bpf";
const HOOKS: [(&str, &str); 2] = [("HOOK_XDP", "lb_xdp.o"), ("HOOK_TC", "lb_tc.o")];

fn main() {
    println!("cargo:rerun-if-changed={SOURCES}");
    println!("cargo:rerun-if-env-changed=CLANG");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for (hook, object) in HOOKS {
        compile(hook, &out.join(object));
    }
}

fn compile(hook: &str, object: &Path) {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let mut command = Command::new(&clang);
    command.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror"]);
    command.args(["-Wno-unused-function", "-Wno-address-of-packed-member", "-fno-stack-protector"]);
    command.arg(format!("-D{hook}")).args(["-I", SOURCES]);
    if let Some(headers) = multiarch_headers() {
        command.arg("-idirafter").arg(headers);
    }
    command.arg("-c").arg(Path::new(SOURCES).join("lb.c")).arg("-o").arg(object);
    let status = command.status().unwrap_or_else(|error| {
        panic!("cannot run {clang}, which compiles the layer-4 data plane ({error}): `make build` or `apt-get install clang libbpf-dev` installs it")
    });
    assert!(status.success(), "{clang} did not compile {SOURCES}/lb.c for {hook}");
}

/// Debian keeps `asm/types.h` of the host in a directory that only its own compiler looks into.
fn multiarch_headers() -> Option<PathBuf> {
    let arch = env::var("HOST").ok()?.split('-').next()?.to_owned();
    let path = PathBuf::from(format!("/usr/include/{arch}-linux-gnu"));
    path.is_dir().then_some(path)
}
