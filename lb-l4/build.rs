//! Compiles the data plane: one C source, one object for each hook; the clock and the import of flows beside it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCES: &str = "bpf";
/// Source, what it is compiled for, object.
const OBJECTS: [(&str, &str, &str); 4] = [
    ("lb.c", "HOOK_XDP", "lb_xdp.o"),
    ("lb.c", "HOOK_TC", "lb_tc.o"),
    ("clock.c", "HOOK_XDP", "lb_clock.o"),
    ("sync.c", "HOOK_XDP", "lb_sync.o"),
];

fn main() {
    println!("cargo:rerun-if-changed={SOURCES}");
    println!("cargo:rerun-if-env-changed=CLANG");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for (source, hook, object) in OBJECTS {
        compile(source, hook, &out.join(object));
    }
}

fn compile(source: &str, hook: &str, object: &Path) {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let mut command = Command::new(&clang);
    command.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror"]);
    command.args(["-Wno-unused-function", "-Wno-address-of-packed-member", "-fno-stack-protector"]);
    command.arg(format!("-D{hook}")).args(["-I", SOURCES]);
    if let Some(headers) = multiarch_headers() {
        command.arg("-idirafter").arg(headers);
    }
    command.arg("-c").arg(Path::new(SOURCES).join(source)).arg("-o").arg(object);
    let status = command.status().unwrap_or_else(|error| {
        panic!("cannot run {clang}, which compiles the layer-4 data plane ({error}): `make build` or `apt-get install clang libbpf-dev` installs it")
    });
    assert!(status.success(), "{clang} did not compile {SOURCES}/{source} for {hook}");
}

/// Debian keeps `asm/types.h` of the host in a directory that only its own compiler looks into.
fn multiarch_headers() -> Option<PathBuf> {
    let arch = env::var("HOST").ok()?.split('-').next()?.to_owned();
    let path = PathBuf::from(format!("/usr/include/{arch}-linux-gnu"));
    path.is_dir().then_some(path)
}
