//! The data plane's time. CONFIG_HZ is not told to programs, so it is measured.

use std::path::Path;
use std::thread;
use std::time::Duration;

use aya::Ebpf;
use aya::programs::{TestRun, TestRunOptions, Xdp};

use crate::error::Error;
use crate::object;

/// Long enough to tell 250 from 300 ticks a second.
const MEASURE: Duration = Duration::from_millis(120);
/// What kernels are configured with (kernel/Kconfig.hz); others are taken as measured.
const USUAL: [u32; 5] = [100, 250, 300, 1000, 1024];
const WHAT: &str = "the program that reads its clock";
/// The smallest packet that a program may be run with, and room for what it answers.
const PACKET: usize = 64;

/// Reads the jiffies of this kernel.
#[derive(Debug)]
pub struct JiffyClock(Ebpf);

#[derive(Debug, Clone, Copy)]
struct Reading {
    jiffies: u64,
    ns: u64,
}

impl JiffyClock {
    pub fn load() -> Result<Self, Error> {
        let mut ebpf = Ebpf::load(object::CLOCK).map_err(|error| Error::object(WHAT, Path::new(""), error))?;
        program(&mut ebpf)?.load().map_err(|error| Error::program(WHAT, &error))?;
        Ok(Self(ebpf))
    }

    /// As the program has them: the lower half.
    pub fn now(&mut self) -> Result<u32, Error> {
        self.read().map(|reading| reading.jiffies as u32)
    }

    /// Ticks a second; takes a tenth of a second.
    pub fn measure_hz(&mut self) -> Result<u32, Error> {
        let before = self.read()?;
        thread::sleep(MEASURE);
        let after = self.read()?;
        Ok(hz(before, after))
    }

    fn read(&mut self) -> Result<Reading, Error> {
        let mut answer = [0; PACKET];
        let options =
            TestRunOptions { data_in: Some(&[0; PACKET]), data_out: Some(&mut answer), ..TestRunOptions::default() };
        program(&mut self.0)?.test_run(options).map_err(|error| Error::program(WHAT, &error))?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = answer;
        Ok(Reading {
            jiffies: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            ns: u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        })
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    let program = ebpf.program_mut(object::CLOCK_PROGRAM).ok_or(Error::NoProgram(object::CLOCK_PROGRAM))?;
    program.try_into().map_err(|_| Error::NoProgram(object::CLOCK_PROGRAM))
}

/// The usual value that explains both readings; a jiffy more or less is chance.
fn hz(before: Reading, after: Reading) -> u32 {
    let seconds = (after.ns - before.ns) as f64 / 1e9;
    let jiffies = (after.jiffies - before.jiffies) as f64;
    let nearest = USUAL.into_iter().min_by(|a, b| {
        let off = |hz: u32| (f64::from(hz) * seconds - jiffies).abs();
        off(*a).total_cmp(&off(*b))
    });
    match nearest {
        Some(hz) if (f64::from(hz) * seconds - jiffies).abs() <= 2.0 => hz,
        _ => ((jiffies / seconds).round() as u32).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(jiffies: u64, ms: u64) -> u32 {
        hz(Reading { jiffies: 7, ns: 5_000_000 }, Reading { jiffies: 7 + jiffies, ns: (5 + ms) * 1_000_000 })
    }

    #[test]
    fn a_tick_more_or_less_is_chance() {
        assert_eq!([29, 30, 31].map(|j| measured(j, 120)), [250; 3]);
        assert_eq!([35, 36, 37].map(|j| measured(j, 120)), [300; 3]);
        assert_eq!([11, 12, 13].map(|j| measured(j, 120)), [100; 3]);
        assert_eq!([119, 120, 121].map(|j| measured(j, 120)), [1000; 3]);
    }

    #[test]
    fn a_late_second_reading_measures_all_the_better() {
        assert_eq!(measured(1250, 5000), 250);
        assert_eq!(measured(1500, 5000), 300);
    }

    #[test]
    fn an_unusual_kernel_is_believed() {
        assert_eq!(measured(60, 120), 500);
    }
}
