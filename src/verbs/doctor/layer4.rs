//! What the kernel must be able and allowed to do for frontends with `mode: nat`, `dr` or `tunnel`.

use lb_core::config::{Config, Forward, Frontend, Method};

use super::machine::Machine;
use crate::supervisor::host::LAYER4;
use crate::verbs::finding::{Finding, Result, finding, problem, warning};

const OLDEST_KERNEL: (u32, u32) = (6, 1);
const BPF_FS: &str = "/sys/fs/bpf";

pub fn examine(machine: &Machine, config: &Config) -> Vec<Finding> {
    let frontends: Vec<_> =
        config.frontends.iter().filter_map(|frontend| Some((&**frontend, frontend.forward()?))).collect();
    if frontends.is_empty() {
        return Vec::new();
    }
    let mut findings = vec![
        finding("layer 4: kernel", kernel(machine))
            .or_fix("a newer kernel: Debian 12, Ubuntu 24.04 and later have one"),
        finding("layer 4: capabilities", machine.has_all(&LAYER4)).or_fix("run lb as root, or by its systemd unit"),
        finding("layer 4: bpffs", bpf_fs(machine)).or_fix(format!("mount -t bpf bpf {BPF_FS}")),
        finding("layer 4: JIT", jit(machine)).or_fix("sysctl -w net.core.bpf_jit_enable=1"),
    ];
    findings.extend(frontends.iter().flat_map(|(frontend, forward)| of_frontend(machine, frontend, forward)));
    findings
}

fn kernel(machine: &Machine) -> Result {
    match machine.kernel() {
        Some(version) if version >= OLDEST_KERNEL => Ok(format!("Linux {}.{}", version.0, version.1)),
        Some(version) => Err(problem(format!(
            "Linux {}.{} is older than {}.{}",
            version.0, version.1, OLDEST_KERNEL.0, OLDEST_KERNEL.1
        ))),
        None => Err(warning("the version of the kernel cannot be read")),
    }
}

fn bpf_fs(machine: &Machine) -> Result {
    match machine.mounted(BPF_FS).as_deref() {
        Some("bpf") => Ok(format!("mounted at {BPF_FS}")),
        _ => Err(problem(format!("no bpffs at {BPF_FS}: programs and flows could not outlive lb"))),
    }
}

fn jit(machine: &Machine) -> Result {
    match machine.sysctl("net.core.bpf_jit_enable").as_deref() {
        Some("0") => Err(warning("the kernel interprets BPF programs: several times slower")),
        Some(_) => Ok("on".to_owned()),
        None => Ok("always on in this kernel, or not visible".to_owned()),
    }
}

fn of_frontend(machine: &Machine, frontend: &Frontend, forward: &Forward) -> Vec<Finding> {
    let what = format!("frontend {}", frontend.name);
    let routing = if frontend.listen.is_ipv4() { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" };
    let on = format!("sysctl -w {routing}=1, and a file in /etc/sysctl.d with `{routing} = 1`");
    match forward.method {
        Method::Nat { .. } => vec![finding(what, routes(machine, routing, "nat needs this node to route")).or_fix(on)],
        Method::Dr | Method::Tunnel => {
            let why = "backends on another interface than the clients' cannot be reached";
            let mut findings = vec![finding(what.clone(), soften(routes(machine, routing, why))).or_fix(on)];
            findings.push(finding(what, Err(warning(backends_need(&forward.method)))).or_fix(format!(
                "on each backend: lb-real-server start{} {}   (see deploy/real-server)\nthen: lb doctor --real-server {}",
                if forward.method == Method::Tunnel { " --tunnel" } else { "" },
                frontend.listen.ip(),
                frontend.listen.ip(),
            )));
            findings
        }
    }
}

fn routes(machine: &Machine, sysctl: &str, why: &str) -> Result {
    match machine.sysctl(sysctl).as_deref() {
        Some("0") => Err(problem(format!("{sysctl} = 0: {why}"))),
        Some(_) => Ok(format!("{sysctl} is on")),
        None => Err(warning(format!("{sysctl} cannot be read"))),
    }
}

fn soften(result: Result) -> Result {
    result.map_err(|(_, why)| warning(why))
}

/// What cannot be seen from here.
fn backends_need(method: &Method) -> &'static str {
    match method {
        Method::Tunnel => {
            "each backend must own the address on its loopback, keep quiet about it in ARP, and unwrap the tunnel"
        }
        _ => "each backend must own the address on its loopback and keep quiet about it in ARP",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lb_core::config;

    use super::*;
    use crate::verbs::doctor::fixtures::machine;
    use crate::verbs::finding::Severity;

    fn findings(mode: &str, files: &[(&str, &str)]) -> Vec<String> {
        let (dir, machine) = machine(files);
        let text = format!(
            "frontends: {{ f: {{ mode: {mode}, listen: '203.0.113.10:443', pool: p }} }}\npools: {{ p: {{ backends: ['10.0.0.1:443'] }} }}\n"
        );
        let path = dir.path().join("lb.yaml");
        fs::write(&path, text).unwrap();
        let loaded = config::load_file(&path, &config::Identity::None).unwrap();
        examine(&machine, &loaded.config).iter().map(ToString::to_string).collect()
    }

    const FIT: [(&str, &str); 5] = [
        ("proc/sys/kernel/osrelease", "6.1.0-13-amd64\n"),
        ("proc/self/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n"),
        ("proc/self/status", "Name:\tlb\nCapEff:\t000001ffffffffff\n"),
        ("proc/sys/net/core/bpf_jit_enable", "1\n"),
        ("proc/sys/net/ipv4/ip_forward", "1\n"),
    ];

    #[test]
    fn a_fit_machine_has_no_complaints_about_nat() {
        let all = findings("nat", &FIT);
        assert!(all.iter().all(|line| line.starts_with("ok")), "{all:#?}");
    }

    #[test]
    fn what_is_missing_is_named_with_its_fix() {
        let all = findings("nat", &[("proc/sys/kernel/osrelease", "5.10.0"), ("proc/sys/net/ipv4/ip_forward", "0")]);
        let found = |what: &str| all.iter().any(|line| line.contains(what));
        assert!(found("Linux 5.10 is older than 6.1"), "{all:#?}");
        assert!(found("mount -t bpf bpf /sys/fs/bpf"), "{all:#?}");
        assert!(found("lacks CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON"), "{all:#?}");
        assert!(found("sysctl -w net.ipv4.ip_forward=1"), "{all:#?}");
    }

    #[test]
    fn direct_routing_explains_what_a_backend_needs() {
        let all = findings("dr", &FIT);
        assert!(all.iter().any(|line| line.contains("lb-real-server start 203.0.113.10")), "{all:#?}");
    }

    #[test]
    fn routing_is_no_must_for_direct_routing() {
        let result = soften(Err(problem("x")));
        assert_eq!(finding("x", result).severity(), Severity::Warning);
    }
}
