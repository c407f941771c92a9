//! `lb doctor` on a node: what it says of a pair that is well, and of one that a firewall keeps apart.

use crate::harness::Pair;
use crate::hosts::may_run;

fn firewall(pair: &Pair, rules: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rules).unwrap();
    pair.b.host.space.run(&format!("nft -f {}", file.path().display()));
}

#[test]
fn doctor_hears_the_active_node_and_names_the_firewall_that_keeps_it_out() {
    if !may_run() {
        return;
    }
    let pair = Pair::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pair.config()).unwrap();
    let arguments = ["doctor", file.path().to_str().unwrap(), "--node", "b"];

    let well = pair.b.cli_ok(&arguments);
    for line in [
        "ok       node b: 203.0.113.3 stands on eth0",
        "ok       node a: datagrams to UDP port 9619: are let in by the firewall",
        "ok       virtual router front: 203.0.113.2 is active, and is heard",
        "ok       virtual router back: 10.0.0.2 is active, and is heard",
    ] {
        assert!(well.contains(line), "no `{line}` in\n{well}");
    }

    let drop = "table inet filter {\nchain input {\ntype filter hook input priority 0; policy drop\niifname lo accept\ntcp dport { 443, 9600 } accept\n}\n}\n";
    firewall(&pair, drop);
    let apart = pair.b.cli(&arguments);
    let said = String::from_utf8(apart.stdout).unwrap();
    assert_eq!(apart.status.code(), Some(1), "{said}");
    for line in [
        "PROBLEM  node a: datagrams to UDP port 9619: the firewall drops them, in chain `inet filter input`",
        "fix: nft insert rule inet filter input ip saddr 203.0.113.2 udp dport 9619 accept",
        "PROBLEM  virtual router front: adverts of a: the firewall drops them",
        "PROBLEM  virtual router front: adverts of 203.0.113.2 arrive on eth0 and are filtered",
    ] {
        assert!(said.contains(line), "no `{line}` in\n{said}");
    }

    let vip = pair.config().replace("203.0.113.10", "203.0.113.20");
    std::fs::write(file.path(), vip).unwrap();
    firewall(&pair, "flush ruleset\n");
    pair.wait_for("a");
    let taken = String::from_utf8(pair.b.cli(&arguments).stdout).unwrap();
    assert!(taken.contains("203.0.113.2 uses vrid 51 on eth0 for other addresses"), "{taken}");
}
