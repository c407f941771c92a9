//! Why the kernel does not take a map or a program: one sentence for each reason, with what would let it.

use std::error::Error as StdError;
use std::fmt::{self, Display};
use std::io;

use aya::maps::MapError;
use aya::programs::ProgramError;
use aya::{BtfError, EbpfError};

use crate::kernel::Kernel;

/// Lines of the verifier's log that are quoted.
const QUOTED: usize = 4;

/// What the kernel said no to, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `the program for xdp`, ``the map `flows` ``
    pub what: String,
    pub why: Why,
    pub kernel: Kernel,
    /// In the words of errno(3).
    pub said: String,
    /// Of the verifier's log only the beginning is known.
    pub has_a_cut_log: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is a fault of lb, if the kernel is one that it is made for. The end of the log.
    Verifier(String),
    /// The verifier gave up: as far as it got.
    TooComplex(String),
    Capabilities,
    UserNamespace,
    Lockdown(String),
    /// Root, and yet: seccomp, or a security module.
    Policy,
    NoBpf,
    NoBtf(String),
    NoMemory,
    /// A map of more than the kernel allows for.
    TooLarge,
    /// Something that this kernel does not know.
    Unknown,
}

impl Refusal {
    pub fn of_object(what: &str, error: &EbpfError) -> Self {
        Self::new(what, map_of(error), &Said::by(error), Kernel::this())
    }

    pub fn of_program(what: &str, error: &ProgramError) -> Self {
        Self::new(what, None, &Said::by(error), Kernel::this())
    }

    fn new(what: &str, map: Option<&str>, said: &Said, kernel: Kernel) -> Self {
        let what = map.map_or_else(|| what.to_owned(), |map| format!("the map `{map}`"));
        Self {
            what,
            why: why(said, &kernel, map.is_some()),
            kernel,
            said: said.words(),
            has_a_cut_log: said.errno == Some(libc::ENOSPC),
        }
    }

    /// Nothing is known of the programs, for this process may not load any.
    pub fn is_for_want_of_capabilities(&self) -> bool {
        self.why == Why::Capabilities
    }
}

/// What came back from bpf(2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    errno: Option<i32>,
    log: String,
}

impl Said {
    fn by(error: &(dyn StdError + 'static)) -> Self {
        let mut said = Self::default();
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(ProgramError::LoadError { verifier_log, .. }) = error.downcast_ref() {
                said.log = verifier_log.to_string();
            }
            if let Some(BtfError::LoadError { verifier_log, .. }) = error.downcast_ref() {
                said.log = verifier_log.to_string();
            }
            said.errno = error.downcast_ref().and_then(io::Error::raw_os_error).or(said.errno);
            next = error.source();
        }
        said
    }

    fn words(&self) -> String {
        self.errno.map_or_else(String::new, |errno| nix::errno::Errno::from_raw(errno).desc().to_owned())
    }
}

fn map_of(error: &EbpfError) -> Option<&str> {
    match error {
        EbpfError::MapError(MapError::CreateError { name, .. }) => Some(name),
        _ => None,
    }
}

/// EPERM comes of what a process may, and EACCES with a log of what a program does. The verifier is stricter with who
/// lacks CAP_PERFMON.
fn why(said: &Said, kernel: &Kernel, is_map: bool) -> Why {
    match said.errno {
        Some(libc::ENOMEM) => Why::NoMemory,
        Some(libc::ENOSYS) => Why::NoBpf,
        Some(libc::E2BIG) if is_map => Why::TooLarge,
        _ if !kernel.missing.is_empty() => Why::Capabilities,
        Some(libc::EPERM) => forbidden(kernel),
        Some(libc::EACCES) if said.log.is_empty() => forbidden(kernel),
        _ if !kernel.has_btf => Why::NoBtf(end_of(&said.log)),
        Some(libc::E2BIG) if !said.log.is_empty() => Why::TooComplex(end_of(&said.log)),
        _ if !said.log.is_empty() => Why::Verifier(end_of(&said.log)),
        _ => Why::Unknown,
    }
}

fn forbidden(kernel: &Kernel) -> Why {
    match &kernel.lockdown {
        _ if kernel.is_in_user_namespace => Why::UserNamespace,
        // Of what lockdown forbids to programs, lb's do nothing: only kernels with rules of their own refuse them for it.
        Some(_) if kernel.is_filtered => Why::Policy,
        Some(mode) => Why::Lockdown(mode.clone()),
        None => Why::Policy,
    }
}

/// The last lines that say something, in one.
fn end_of(log: &str) -> String {
    let is_statistic = |line: &str| ["verification time", "stack depth"].iter().any(|start| line.starts_with(start));
    let lines: Vec<_> = log.lines().map(str::trim).filter(|line| !line.is_empty() && !is_statistic(line)).collect();
    lines[lines.len().saturating_sub(QUOTED)..].join(" | ")
}

impl Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, kernel, said, .. } = self;
        let linux = format!("Linux {}", kernel.release);
        match &self.why {
            Why::Capabilities => {
                let missing = kernel.missing.join(", ");
                write!(
                    out,
                    "{linux} does not let lb use {what}: it lacks {missing}; run lb as root, or give its unit AmbientCapabilities={}",
                    missing.replace(',', "")
                )
            }
            Why::UserNamespace => write!(
                out,
                "{linux} does not let lb use {what}: it runs in a user namespace (an unprivileged container), where capabilities do not count for bpf(2); run lb on the host, or in a privileged container"
            ),
            Why::Lockdown(mode) => write!(
                out,
                "{linux} does not let lb use {what}, though it has the capabilities: it is locked down ({mode}, see /sys/kernel/security/lockdown and kernel_lockdown(7)), or a security module (SELinux, a BPF program) says no; its log, or `dmesg`, names which"
            ),
            Why::Policy if kernel.is_filtered => write!(
                out,
                "{linux} does not let lb use {what}, though it has the capabilities: its system calls are filtered (Seccomp: 2 in /proc/self/status); let bpf(2) through, in a unit by SystemCallFilter=@system-service bpf"
            ),
            Why::Policy => write!(
                out,
                "{linux} does not let lb use {what}, though it has the capabilities: a security module (SELinux, a BPF program) must say no; its log, or `dmesg`, names it"
            ),
            Why::NoBpf => write!(out, "{linux} has no bpf(2): layer 4 needs a kernel with CONFIG_BPF_SYSCALL"),
            Why::NoBtf(log) => {
                write!(
                    out,
                    "{linux} does not take {what}: it has no BTF (there is no /sys/kernel/btf/vmlinux), by which it checks the functions of a program; layer 4 needs a kernel with CONFIG_DEBUG_INFO_BTF"
                )?;
                if log.is_empty() { Ok(()) } else { write!(out, " (its verifier says: {log})") }
            }
            Why::NoMemory => {
                let limit =
                    kernel.memory_limit.map_or_else(String::new, |bytes| format!(", which is {} MiB", bytes >> 20));
                write!(
                    out,
                    "{linux} has no memory for {what}: make `l4.flows` smaller (a flow takes 272 bytes), or raise the limit of its control group{limit} (MemoryMax= of the unit)"
                )
            }
            Why::TooLarge => write!(out, "{linux} makes no map as large as {what} would be: make `l4.flows` smaller"),
            Why::Verifier(log) => write!(
                out,
                "the verifier of {linux} refuses {what} ({said}); its last words: {log}; {}",
                self.whose_fault()
            ),
            Why::TooComplex(log) => write!(
                out,
                "the verifier of {linux} gives up on {what} ({said}); its last words: {log}; {}",
                self.whose_fault()
            ),
            Why::Unknown => {
                write!(out, "{linux} does not take {what} ({said}), and says no more; {}", self.whose_fault())
            }
        }
    }
}

impl Refusal {
    fn whose_fault(&self) -> String {
        match self.kernel.is_too_old() {
            true => "lb is made for Linux 6.1 and newer".to_owned(),
            false => format!(
                "that is a fault of lb {}: please report it to whom you have lb from, with this line and `uname -a`",
                env!("CARGO_PKG_VERSION")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "1650: (b4) w2 = 0                     ; R2_w=0
1651: (85) call bpf_skb_load_bytes#26
invalid access to map value, value_size=832 off=384 size=0
R3 min value is outside of the allowed memory range
verification time 34632 usec
stack depth 0+16+32
processed 309 insns (limit 1000000) max_states_per_insn 1 total_states 23 peak_states 23 mark_read 7

";

    fn kernel() -> Kernel {
        Kernel { release: "6.1.0-50-cloud-amd64".to_owned(), has_btf: true, ..Kernel::default() }
    }

    fn refused(errno: i32, log: &str, kernel: Kernel) -> Refusal {
        Refusal::new("the program for tc", None, &Said { errno: Some(errno), log: log.to_owned() }, kernel)
    }

    fn map_refused(errno: i32, kernel: Kernel) -> String {
        let said = Said { errno: Some(errno), log: String::new() };
        Refusal::new("the program for tc", Some("flows"), &said, kernel).to_string()
    }

    fn says(refusal: &Refusal, all: &[&str]) {
        let text = refusal.to_string();
        for part in all.iter().chain(&["Linux 6.1.0-50-cloud-amd64"]) {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn the_verifiers_no_comes_with_its_last_words_and_whom_to_tell() {
        let refusal = refused(libc::EACCES, LOG, kernel());
        let last = "1651: (85) call bpf_skb_load_bytes#26 | invalid access to map value, value_size=832 off=384 size=0 | \
                    R3 min value is outside of the allowed memory range | processed 309 insns";
        says(&refusal, &["verifier", "refuses the program for tc (Permission denied)", last, "please report it"]);
        assert!(!refusal.is_for_want_of_capabilities(), "root has it as well");
        says(&refused(libc::EINVAL, LOG, kernel()), &["verifier", "(Invalid argument)", "please report it"]);
        says(&refused(libc::ENOSPC, LOG, kernel()), &["verifier", "(No space left on device)"]);
        says(&refused(libc::E2BIG, LOG, kernel()), &["gives up on the program for tc", "please report it"]);
    }

    #[test]
    fn an_older_kernel_is_no_fault_of_lb() {
        let old = Kernel { release: "5.10.0-28-amd64".to_owned(), ..kernel() };
        let text = refused(libc::EINVAL, LOG, old).to_string();
        assert!(text.contains("Linux 5.10.0-28-amd64") && text.contains("made for Linux 6.1 and newer"), "{text}");
        assert!(!text.contains("report"), "{text}");
    }

    #[test]
    fn a_missing_capability_is_named_and_no_other() {
        let kernel =
            Kernel { missing: vec!["CAP_PERFMON", "CAP_BPF"], lockdown: Some("integrity".to_owned()), ..kernel() };
        for (errno, log) in [(libc::EPERM, ""), (libc::EACCES, ""), (libc::EACCES, LOG)] {
            let refusal = refused(errno, log, kernel.clone());
            says(&refusal, &["lacks CAP_PERFMON, CAP_BPF;", "AmbientCapabilities=CAP_PERFMON CAP_BPF"]);
            assert!(!refusal.to_string().contains("CAP_NET_ADMIN") && refusal.is_for_want_of_capabilities());
        }
    }

    #[test]
    fn root_that_may_not_learns_who_forbids_it() {
        let of = |kernel| refused(libc::EPERM, "", kernel);
        says(&of(Kernel { is_in_user_namespace: true, is_filtered: true, ..kernel() }), &["user namespace"]);
        says(
            &of(Kernel { lockdown: Some("confidentiality".to_owned()), ..kernel() }),
            &["locked down (confidentiality"],
        );
        for lockdown in [None, Some("integrity".to_owned())] {
            let filtered = Kernel { is_filtered: true, lockdown, ..kernel() };
            says(&of(filtered), &["system calls are filtered", "SystemCallFilter="]);
        }
        says(&of(kernel()), &["security module"]);
    }

    #[test]
    fn a_kernel_without_what_it_takes_says_what() {
        says(&refused(libc::ENOSYS, "", kernel()), &["CONFIG_BPF_SYSCALL"]);
        let bare = Kernel { has_btf: false, ..kernel() };
        says(&refused(libc::EINVAL, "btf_vmlinux is malformed", bare), &["CONFIG_DEBUG_INFO_BTF", "says: btf_vmlinux"]);
        says(&refused(libc::EINVAL, "", kernel()), &["does not take the program for tc (Invalid argument)"]);
    }

    #[test]
    fn a_limit_is_named_with_what_would_be_less() {
        let limited = Kernel { memory_limit: Some(64 << 20), ..kernel() };
        let text = map_refused(libc::ENOMEM, limited);
        for part in ["no memory for the map `flows`", "l4.flows", "which is 64 MiB", "MemoryMax="] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = map_refused(libc::E2BIG, kernel());
        assert!(text.contains("no map as large as the map `flows`") && text.contains("l4.flows"), "{text}");
    }
}
