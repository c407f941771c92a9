//! Who else configures the interface of a virtual router, and whether it leaves addresses alone that are not its own.
//!
//! lb puts back what is taken away, and an active node waits for its own address for a moment; better is not to have to.

use super::machine::Machine;
use crate::verbs::finding::{Finding, finding, warning};

/// systemd.network(5): where `.network` files and their drop-ins stand. Later ones here are stronger.
const NETWORKD: [&str; 4] =
    ["usr/lib/systemd/network", "usr/local/lib/systemd/network", "run/systemd/network", "etc/systemd/network"];
/// NetworkManager.conf(5): read in this order.
const NETWORK_MANAGER: [&str; 4] = [
    "usr/lib/NetworkManager/conf.d",
    "run/NetworkManager/conf.d",
    "etc/NetworkManager/NetworkManager.conf",
    "etc/NetworkManager/conf.d",
];

/// One line for each program that says it configures the interface.
pub fn examine(machine: &Machine, what: &str, interface: &str) -> Vec<Finding> {
    let Some(index) = machine.read(&format!("sys/class/net/{interface}/ifindex")) else { return Vec::new() };
    let all = [
        networkd(machine, what, interface, &index),
        network_manager(machine, what, interface, &index),
        ifupdown(machine, what, interface),
    ];
    all.into_iter().flatten().collect()
}

/// Its own notes on the interface (below /run) say by which file it configures it.
fn networkd(machine: &Machine, what: &str, interface: &str, index: &str) -> Option<Finding> {
    let notes = machine.read(&format!("run/systemd/netif/links/{index}"))?;
    let note = |key: &str| notes.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let file = note("NETWORK_FILE").filter(|_| note("ADMIN_STATE") != Some("unmanaged"))?;
    let name = file.rsplit('/').next().unwrap_or(file);
    let files = [file.trim_start_matches('/').to_owned()];
    let mut drop_ins: Vec<String> =
        NETWORKD.iter().flat_map(|folder| machine.list(&format!("{folder}/{name}.d"), ".conf")).collect();
    // Of whichever folder, by their names.
    drop_ins.sort_by(|a, b| a.rsplit('/').next().cmp(&b.rsplit('/').next()));
    let settings = Settings::read(machine, files.into_iter().chain(drop_ins));
    let keep = settings.last("Network", "KeepConfiguration").unwrap_or("no");
    // A lease is given back when networkd stops, and the node's own address with it.
    let dynamic = settings.last("Network", "DHCP").is_some_and(|dhcp| is_true(dhcp) || dhcp == "ipv4");
    let wanted = if dynamic { "yes" } else { "static" };
    let by = format!("systemd-networkd configures {interface} by {file}");
    let result = match keep == "static" || is_true(keep) {
        true => Ok(format!("{by}, with KeepConfiguration={keep}")),
        false => Err(warning(format!(
            "{by}, with KeepConfiguration={keep}: it takes the virtual addresses away when it is restarted or told to \
             reconfigure, and lb has to put them back"
        ))),
    };
    Some(finding(what, result).or_fix(format!(
        "mkdir -p /etc/systemd/network/{name}.d && printf '[Network]\\nKeepConfiguration={wanted}\\n' \
         > /etc/systemd/network/{name}.d/keep.conf && networkctl reload"
    )))
}

/// The same of NetworkManager. By itself it adopts what it finds; only a profile that is activated anew takes it away.
fn network_manager(machine: &Machine, what: &str, interface: &str, index: &str) -> Option<Finding> {
    let state = Settings::read(machine, [format!("run/NetworkManager/devices/{index}")]);
    if !state.last("device", "managed").is_some_and(is_true) {
        return None;
    }
    let files = NETWORK_MANAGER.iter().flat_map(|path| match path.ends_with(".conf") {
        true => vec![(*path).to_owned()],
        false => machine.list(path, ".conf"),
    });
    let settings = Settings::read(machine, files);
    let drops =
        settings.of("keep-configuration").any(|(section, value)| section.starts_with("device") && !is_true(value));
    let result = match drops {
        false => Ok(format!(
            "NetworkManager configures {interface} and leaves addresses alone that it finds; `nmcli connection up` takes \
             them away for a moment, so `lb vrrp yield` first"
        )),
        true => Err(warning(format!(
            "NetworkManager configures {interface}, with keep-configuration=no for some devices: where this is one of \
             them, it takes the virtual addresses away when it starts, and lb has to put them back"
        ))),
    };
    Some(finding(what, result).or_fix("keep-configuration=yes under [device] in /etc/NetworkManager/conf.d"))
}

/// interfaces(5). It takes the interface down, which no address survives.
fn ifupdown(machine: &Machine, what: &str, interface: &str) -> Option<Finding> {
    let files = machine.list("etc/network/interfaces.d", "").into_iter().chain(["etc/network/interfaces".to_owned()]);
    let is_named = |line: &str| {
        let mut words = line.split_whitespace();
        words.next() == Some("iface") && words.next() == Some(interface)
    };
    let file = files.into_iter().find(|file| machine.read(file).is_some_and(|text| text.lines().any(is_named)))?;
    Some(finding(
        what,
        Ok(format!(
            "ifupdown configures {interface} by /{file}: ifdown and `systemctl restart networking` take it down, which is \
             a failover, so `lb vrrp yield` first"
        )),
    ))
}

/// systemd.syntax(7), and NetworkManager's.
fn is_true(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].contains(&value.to_lowercase().as_str())
}

/// What stands in some files of `[section]` and `key=value`, in their order.
struct Settings(Vec<(String, String, String)>);

impl Settings {
    fn read(machine: &Machine, files: impl IntoIterator<Item = String>) -> Self {
        let mut settings = Vec::new();
        for text in files.into_iter().filter_map(|file| machine.read(&file)) {
            let mut section = "";
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
                if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                    section = name;
                } else if let Some((key, value)) = line.split_once('=') {
                    settings.push((section.to_owned(), key.trim().to_owned(), value.trim().to_owned()));
                }
            }
        }
        Self(settings)
    }

    fn of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter(move |(_, known, _)| known == key).map(|(section, _, value)| (&**section, &**value))
    }

    fn last<'a>(&'a self, section: &'a str, key: &'a str) -> Option<&'a str> {
        self.of(key).filter(|(of, _)| *of == section).last().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::doctor::fixtures::machine;

    const INDEX: (&str, &str) = ("sys/class/net/eth0/ifindex", "2");
    const FILE: &str = "etc/systemd/network/10-lan.network";
    const NOTES: (&str, &str) =
        ("run/systemd/netif/links/2", "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/10-lan.network\n");

    fn lines(files: &[(&str, &str)]) -> Vec<String> {
        let (_dir, machine) = machine(&[&[INDEX], files].concat());
        examine(&machine, "virtual router r", "eth0").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn networkd_is_asked_to_keep_what_is_not_its_own() {
        let text = "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.2/24\n";
        let said = lines(&[NOTES, (FILE, text)]);
        assert!(said.len() == 1 && said[0].starts_with("warning  virtual router r: systemd-networkd"), "{said:#?}");
        assert!(
            said[0].contains("10-lan.network.d/keep.conf") && said[0].contains("KeepConfiguration=static"),
            "{said:#?}"
        );
        let leased = lines(&[NOTES, (FILE, "[Network]\nDHCP=yes\nKeepConfiguration=dhcp-on-stop\n")]);
        assert!(
            leased[0].contains("with KeepConfiguration=dhcp-on-stop") && leased[0].contains("KeepConfiguration=yes")
        );
    }

    #[test]
    fn a_drop_in_of_whatever_folder_counts() {
        let keeps = |path: &str, value: &str| {
            let text = format!("[Network]\nKeepConfiguration={value}\n");
            lines(&[NOTES, (FILE, "[Network]\n#KeepConfiguration=yes\nKeepConfiguration=no\n"), (path, &text)])
        };
        let drop_in = "etc/systemd/network/10-lan.network.d/keep.conf";
        assert!(keeps(drop_in, "static")[0].starts_with("ok"));
        assert!(keeps("usr/lib/systemd/network/10-lan.network.d/keep.conf", "yes")[0].starts_with("ok"));
        assert!(keeps(drop_in, "dhcp")[0].starts_with("warning"));
        let elsewhere = (drop_in, "[DHCPv4]\nKeepConfiguration=static\n");
        assert!(lines(&[NOTES, (FILE, "[Network]\n"), elsewhere])[0].starts_with("warning"));
    }

    #[test]
    fn nothing_is_said_of_an_interface_that_nobody_else_configures() {
        assert!(lines(&[]).is_empty());
        assert!(lines(&[("run/systemd/netif/links/2", "ADMIN_STATE=unmanaged\n")]).is_empty());
        assert!(lines(&[("run/NetworkManager/devices/2", "[device]\nmanaged=false\n")]).is_empty());
        assert!(lines(&[("etc/network/interfaces", "auto lo\niface lo inet loopback\n")]).is_empty());
    }

    #[test]
    fn network_manager_keeps_what_it_finds_unless_it_is_told_not_to() {
        let managed = ("run/NetworkManager/devices/2", "[device]\nmanaged=true\n");
        assert!(lines(&[managed])[0].starts_with("ok"));
        let told = ("etc/NetworkManager/conf.d/x.conf", "[device-lan]\nkeep-configuration=no\n");
        let said = lines(&[managed, told]);
        assert!(said[0].starts_with("warning") && said[0].contains("fix: keep-configuration=yes"), "{said:#?}");
    }

    #[test]
    fn ifupdown_takes_the_interface_down() {
        let said = lines(&[("etc/network/interfaces.d/lan", "auto eth0\niface eth0 inet static\n")]);
        assert!(said[0].starts_with("ok") && said[0].contains("/etc/network/interfaces.d/lan"), "{said:#?}");
    }
}
