//! What the start of lb by its systemd unit would refuse, though root at a shell may do it.

use std::path::Path;

use lb_core::config::Config;

use super::eyes::{Eyes, is_root};
use super::files::{self, Named};
use super::unit::Unit;
use crate::supervisor::{host, layer4_options};
use crate::verbs::finding::{Finding, finding, problem, warning};

const SYSCTLS: &str = "/proc/sys/net";

/// Nothing on a machine without the unit, or where an ordinary user looks at a file that the unit does not serve.
pub fn examine(config: &Config, file: &Path, unit: &Unit) -> Vec<Finding> {
    if !is_root() && !unit.serves(file) {
        return Vec::new();
    }
    let mut named = files::named(config);
    named.extend(unit.serves(file).then(|| Named::configuration(file)));
    let mut findings = of_files(&named, unit);
    findings.extend(capabilities(config, unit));
    findings.extend(layer4(config, unit));
    findings.extend(sysctls(config, unit));
    if findings.is_empty() {
        let well = format!("runs lb as the user {}, who can use what the file names", unit.user());
        findings.push(finding("lb.service", Ok(well)));
    }
    findings
}

/// Rights are judged where they can be tried; the user of the unit itself tries them elsewhere, as its own.
fn of_files(named: &[Named], unit: &Unit) -> Vec<Finding> {
    let mut findings: Vec<_> = named.iter().filter_map(files::relative).collect();
    let named: Vec<_> = named.iter().filter(|file| files::relative(file).is_none()).collect();
    findings.extend(named.iter().filter_map(|file| files::hidden(file, unit)));
    if let Some(eyes) = is_root().then(|| Eyes::of(unit.user())).flatten() {
        findings.extend(eyes.see(|| named.iter().filter_map(|file| files::refused(file, unit)).collect::<Vec<_>>()));
    }
    findings
}

fn capabilities(config: &Config, unit: &Unit) -> Option<Finding> {
    let needed = host::needed(config).into_iter().map(|capability| capability.to_string());
    // That for low ports is missed only where the file has such a port, which a look at the ports finds.
    let mut lacking: Vec<_> = needed.filter(|name| name != "CAP_NET_BIND_SERVICE" && !unit.gives(name)).collect();
    lacking.sort();
    let why = format!("does not give {}, which the file calls for", lacking.join(", "));
    let fix = format!("AmbientCapabilities={0} and CapabilityBoundingSet={0} by systemctl edit lb", lacking.join(" "));
    (!lacking.is_empty()).then(|| finding("lb.service", Err(problem(why))).or_fix(fix))
}

fn layer4(config: &Config, unit: &Unit) -> Option<Finding> {
    config.frontends.iter().find(|frontend| frontend.forward().is_some())?;
    let options = layer4_options();
    let home = options.directory.parent().filter(|home| !unit.lets_write(home))?.display();
    let why = format!("makes {home} read-only, where layer 4 keeps its programs: it cannot start");
    Some(finding("lb.service", Err(problem(why))).or_fix(format!("ReadWritePaths=-{home} by systemctl edit lb")))
}

fn sysctls(config: &Config, unit: &Unit) -> Option<Finding> {
    config.vrrp.iter().find(|router| router.virtual_mac || !router.is_v6())?;
    let why = format!(
        "makes {SYSCTLS} read-only: the interfaces of virtual routers keep their own sysctls (promote_secondaries, and \
         those of virtual MAC addresses)"
    );
    let fix = format!("ReadWritePaths=-{SYSCTLS} by systemctl edit lb");
    (!unit.lets_write(Path::new(SYSCTLS))).then(|| finding("lb.service", Err(warning(why))).or_fix(fix))
}

#[cfg(test)]
mod tests {
    use lb_core::config::{Identity, load_as};

    use super::super::unit::tests::{SHOWN, unit};
    use super::*;

    const LAYER_4: &str = "frontends: { f: { mode: nat, listen: '203.0.113.10:53', pool: p } }\n\
                           pools: { p: { backends: ['10.0.0.1:53'] } }\n";
    const ROUTER: &str = "nodes: { a: { address: 203.0.113.2 }, b: { address: 203.0.113.3 } }\n\
                          vrrp: { v: { interface: eth0, vrid: 1, addresses: [203.0.113.10/24], virtual_mac: true } }\n\
                          frontends: { f: { listen: '203.0.113.10:80', routes: [{ respond: 200 }] } }\n";

    fn config(text: &str) -> Config {
        let loaded = load_as(text, Path::new("lb.yaml"), &|_| None, &Identity::Named("a".to_owned()));
        loaded.unwrap_or_else(|problems| panic!("{problems}")).config
    }

    #[test]
    fn the_unit_of_the_package_has_what_every_part_needs() {
        for text in [LAYER_4, ROUTER] {
            let (config, unit) = (config(text), unit(SHOWN));
            assert_eq!(capabilities(&config, &unit), None);
            assert_eq!(layer4(&config, &unit), None);
            assert_eq!(sysctls(&config, &unit), None);
        }
    }

    #[test]
    fn a_unit_that_layer_4_cannot_start_under_is_told() {
        let old = unit(&SHOWN.replace("-/sys/fs/bpf/lb ", "-/sys/fs/bpf ").replace("cap_bpf", ""));
        let said = |found: Option<Finding>| found.map(|found| found.to_string()).unwrap_or_default();
        assert!(said(layer4(&config(LAYER_4), &old)).contains("fix: ReadWritePaths=-/sys/fs/bpf/lb "));
        assert!(said(capabilities(&config(LAYER_4), &old)).contains("does not give CAP_BPF, which"));
        assert_eq!((layer4(&config(ROUTER), &old), capabilities(&config(ROUTER), &old)), (None, None));
    }

    #[test]
    fn sysctls_that_virtual_routers_cannot_set_are_told() {
        let closed = unit(&SHOWN.replace(" -/proc/sys/net", ""));
        assert!(sysctls(&config(ROUTER), &closed).is_some_and(|found| !found.is_problem()));
    }
}
