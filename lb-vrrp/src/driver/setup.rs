//! What makes the thread punctual: it goes before ordinary threads, and never waits for a page from the disk.

use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;

/// Above ordinary threads, below the kernel's own (sched(7)). The head goes before the hands.
#[derive(Debug, Clone, Copy)]
pub enum Rank {
    Hands = 19,
    Head = 20,
}

/// Of the stack: more than the deepest call takes.
const STACK: usize = 128 << 10;

/// How much of it the host allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub real_time: Result<(), Errno>,
    /// `Err`: a page may have to be read again while the host is short of memory.
    pub locked: Result<(), Errno>,
}

/// For the calling thread; memory, for the process.
pub fn set_up(rank: Rank) -> Standing {
    let standing = Standing { real_time: real_time(rank), locked: lock_memory() };
    touch_stack();
    standing
}

/// Whatever is started from this thread is ordinary again.
#[expect(unsafe_code, reason = "nix has no sched_setscheduler")]
fn real_time(rank: Rank) -> Result<(), Errno> {
    let param = libc::sched_param { sched_priority: rank as i32 };
    // SAFETY: `param` lives during the call, which writes nothing; 0 is the calling thread.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const param) };
    Errno::result(done).map(drop)
}

/// What is in memory stays there, as it is when it comes (mlock(2)): no page is read ahead for it. Only where there is
/// no limit: under one, memory that grows later would be refused.
#[expect(unsafe_code, reason = "nix knows no MCL_ONFAULT")]
fn lock_memory() -> Result<(), Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    // The limit does not hold for root (CAP_IPC_LOCK), who keeps it.
    if !geteuid().is_root() {
        if hard != libc::RLIM_INFINITY {
            return Err(Errno::ENOMEM);
        }
        setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard)?;
    }
    // SAFETY: the call takes no memory of ours.
    let done = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    Errno::result(done).map(drop)
}

/// So that no call that goes deeper than those before has to wait for memory.
#[inline(never)]
fn touch_stack() {
    let mut room = [0_u8; STACK];
    std::hint::black_box(&mut room);
}

impl Standing {
    /// What the log should warn of, if anything.
    pub fn warning(&self) -> Option<String> {
        let real_time = self.real_time.err().map(|errno| {
            format!("no real-time scheduling ({}), which LimitRTPRIO=20 would allow", io::Error::from(errno))
        });
        let locked = self.locked.err().map(|errno| {
            format!("memory is not locked ({}), which LimitMEMLOCK=infinity would allow", io::Error::from(errno))
        });
        let words: Vec<_> = [real_time, locked].into_iter().flatten().collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}
