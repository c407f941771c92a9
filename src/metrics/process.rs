//! What the kernel says of this process, under the names that Prometheus clients agreed on.

use std::fs;

use lb_core::metrics::{Metric, alone, names};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};
use prometheus::proto::MetricFamily;

pub const METRICS: &[Metric] = &[
    names::PROCESS_CPU_SECONDS,
    names::PROCESS_OPEN_FDS,
    names::PROCESS_MAX_FDS,
    names::PROCESS_RESIDENT_MEMORY,
    names::PROCESS_VIRTUAL_MEMORY,
    names::PROCESS_THREADS,
    names::PROCESS_START_TIME,
];

/// Leaves out what cannot be read.
pub fn families() -> Vec<MetricFamily> {
    let stat = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse);
    let values = [
        (names::PROCESS_CPU_SECONDS, stat.as_ref().map(|s| s.cpu_ticks / ticks_per_second())),
        (names::PROCESS_OPEN_FDS, open_fds()),
        (names::PROCESS_MAX_FDS, getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft as f64)),
        (names::PROCESS_RESIDENT_MEMORY, stat.as_ref().map(|s| s.resident_pages * page_size())),
        (names::PROCESS_VIRTUAL_MEMORY, stat.as_ref().map(|s| s.virtual_bytes)),
        (names::PROCESS_THREADS, stat.as_ref().map(|s| s.threads)),
        (names::PROCESS_START_TIME, stat.as_ref().and_then(start_time)),
    ];
    values.into_iter().filter_map(|(metric, value)| Some(alone(&metric, value?))).collect()
}

/// The fields of proc_pid_stat(5) that matter here.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    threads: f64,
    /// After boot.
    start_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The program's name stands in parentheses and may itself hold some.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        // `rest` begins with field 3 of the manual's count.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn open_fds() -> Option<f64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the directory being read.
    Some(entries.count().saturating_sub(1) as f64)
}

fn start_time(stat: &Stat) -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat.start_ticks / ticks_per_second())
}

fn ticks_per_second() -> f64 {
    sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64
}

fn page_size() -> f64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_line_whatever_the_program_is_called() {
        let line =
            "77 (a) b (c) S 1 77 77 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 5 0 1234 4096000 321 18446744073709551615";
        let stat = Stat::parse(line).unwrap();
        let expected = Stat {
            cpu_ticks: 300.0,
            threads: 5.0,
            start_ticks: 1234.0,
            virtual_bytes: 4_096_000.0,
            resident_pages: 321.0,
        };
        assert_eq!(stat, expected);
        assert_eq!(Stat::parse("77 (short) S 1"), None);
    }

    #[test]
    fn this_process_has_all_of_them() {
        let names: Vec<_> = families().iter().map(|f| f.name().to_owned()).collect();
        assert_eq!(names, METRICS.iter().map(|m| m.name.to_owned()).collect::<Vec<_>>());
    }
}
