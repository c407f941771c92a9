//! What the thread of the virtual routers needs to be in time.

use caps::Capability;

use super::machine::Machine;
use crate::supervisor::host::VRRP;
use crate::verbs::finding::{Finding, Result, finding, problem, warning};

/// Per cent of ten seconds in which somebody waited for a CPU (Documentation/accounting/psi.rst).
const STARVED: f64 = 40.0;

pub fn examine(machine: &Machine) -> Vec<Finding> {
    vec![
        finding("VRRP: capabilities", machine.has_all(&VRRP)).or_fix("run lb as root, or by its systemd unit"),
        finding("VRRP: real time", real_time(machine))
            .or_fix("LimitRTPRIO=50 in the unit, and sysctl -w kernel.sched_rt_runtime_us=950000"),
        finding("VRRP: memory", locked_memory(machine)).or_fix("LimitMEMLOCK=infinity in the unit"),
        finding("VRRP: CPU", starvation(machine))
            .or_fix("fewer or lighter programs beside lb: adverts that are late are a failover"),
    ]
}

fn real_time(machine: &Machine) -> Result {
    if machine.sysctl("kernel.sched_rt_runtime_us").as_deref() == Some("0") {
        return Err(problem("kernel.sched_rt_runtime_us = 0: no thread may run in real time"));
    }
    let may = machine.may(Capability::CAP_SYS_NICE) || machine.limit("Max realtime priority") != Some(0);
    match may {
        true => Ok("its thread may run before others".to_owned()),
        false => Err(warning("its thread has to wait its turn: a busy host may delay adverts")),
    }
}

fn locked_memory(machine: &Machine) -> Result {
    match machine.may(Capability::CAP_IPC_LOCK) || machine.limit("Max locked memory").is_none() {
        true => Ok("can be locked".to_owned()),
        false => Err(warning("cannot be locked: a host short of memory may delay adverts")),
    }
}

fn starvation(machine: &Machine) -> Result {
    let pressure = machine.read("proc/pressure/cpu").unwrap_or_default();
    let average = pressure.split_whitespace().find_map(|word| word.strip_prefix("avg10=")?.parse::<f64>().ok());
    match average {
        Some(percent) if percent > STARVED => {
            Err(warning(format!("in {percent:.0} % of the last ten seconds, somebody waited for a CPU")))
        }
        Some(percent) => Ok(format!("waited for in {percent:.0} % of the last ten seconds")),
        None => Ok("the kernel does not say how much it is waited for".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::doctor::fixtures::{assert_one, machine};

    #[test]
    fn a_thread_that_could_be_late_is_told() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max locked memory         8388608              8388608              bytes\n\
                      Max realtime priority     0                    0\n";
        let lines = |files: &[(&str, &str)]| {
            let (_dir, machine) = machine(files);
            examine(&machine).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let all = lines(&[("proc/self/limits", limits), ("proc/pressure/cpu", "some avg10=77.31 avg60=1.00")]);
        assert!(all.iter().all(|line| line.starts_with("warning")), "{all:#?}");
        assert!(all[0].contains("lacks CAP_NET_ADMIN, CAP_NET_RAW") && all[3].contains("77 %"), "{all:#?}");
        let root = [
            ("proc/self/limits", limits),
            ("proc/self/status", "CapEff:\t000001ffffffffff\n"),
            ("proc/pressure/cpu", "some avg10=0.31 avg60=1.00"),
        ];
        assert!(lines(&root).iter().all(|line| line.starts_with("ok")), "{:#?}", lines(&root));
        let never = [&root[..], &[("proc/sys/kernel/sched_rt_runtime_us", "0")]].concat();
        assert_one(&lines(&never), "PROBLEM", "no thread may run in real time");
    }
}
