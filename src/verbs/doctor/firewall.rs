//! Would the rules of nftables let a packet in? Read as far as they can be: what a rule asks that cannot be told makes
//! the answer doubtful, not wrong.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// Jumps that lead deeper than this lead in a circle.
const DEEPEST: usize = 16;

/// The first one that another node sends.
#[derive(Debug, Clone)]
pub struct Packet<'a> {
    pub source: IpAddr,
    /// 17 is UDP, 112 VRRP.
    pub protocol: u8,
    pub port: Option<u16>,
    pub interface: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Accepted,
    /// By this chain: family, table, name.
    Dropped(String),
    /// By this chain, unless a rule says otherwise that could not be read.
    Doubtful(String),
}

/// What `nft -j list ruleset` says.
pub struct Ruleset(Vec<Value>);

/// Of one chain; `None`: it has nothing to say.
struct Verdict {
    accepts: Option<bool>,
    /// A rule that could not be read might have accepted it.
    doubt: bool,
}

impl Ruleset {
    pub fn parse(json: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(json).ok()?;
        Some(Self(value["nftables"].as_array()?.clone()))
    }

    /// Every base chain has to let it through.
    pub fn fate(&self, packet: &Packet<'_>) -> Fate {
        let is_input = |chain: &&Value| chain["hook"] == "input" && concerns(chain, packet);
        let mut fate = Fate::Accepted;
        for chain in self.0.iter().map(|item| &item["chain"]).filter(is_input) {
            let verdict = self.walk(chain, text(&chain["name"]), packet, 0);
            if verdict.accepts.unwrap_or(chain["policy"] != "drop") {
                continue;
            }
            let name = format!("{} {} {}", text(&chain["family"]), text(&chain["table"]), text(&chain["name"]));
            if !verdict.doubt {
                return Fate::Dropped(name);
            }
            fate = Fate::Doubtful(name);
        }
        fate
    }

    fn walk(&self, base: &Value, name: &str, packet: &Packet<'_>, depth: usize) -> Verdict {
        let mut doubt = depth > DEEPEST;
        let is_its =
            |rule: &&Value| ["family", "table"].iter().all(|key| rule[*key] == base[*key]) && rule["chain"] == name;
        for rule in self.0.iter().map(|item| &item["rule"]).filter(is_its).take_while(|_| depth <= DEEPEST) {
            let Some((certain, action)) = applies(rule, packet) else { continue };
            let accepts = match action {
                Action::Accept => Some(true),
                Action::Drop => Some(false),
                Action::Return if certain => return Verdict { accepts: None, doubt },
                Action::Return => None,
                Action::Chain(name) => {
                    let below = self.walk(base, name, packet, depth + 1);
                    doubt |= below.doubt;
                    below.accepts
                }
            };
            match accepts {
                Some(_) if certain => return Verdict { accepts, doubt },
                Some(true) => doubt = true,
                _ => {}
            }
        }
        Verdict { accepts: None, doubt }
    }
}

enum Action<'r> {
    Accept,
    Drop,
    Return,
    Chain(&'r str),
}

fn concerns(chain: &Value, packet: &Packet<'_>) -> bool {
    match text(&chain["family"]) {
        "inet" => true,
        "ip" => packet.source.is_ipv4(),
        "ip6" => packet.source.is_ipv6(),
        _ => false,
    }
}

/// What a rule does with the packet, and whether that is certain; `None`: nothing.
fn applies<'r>(rule: &'r Value, packet: &Packet<'_>) -> Option<(bool, Action<'r>)> {
    let mut certain = true;
    for part in rule["expr"].as_array()? {
        let (key, value) = part.as_object()?.iter().next()?;
        match key.as_str() {
            "match" => match matches(value, packet) {
                Some(true) => {}
                Some(false) => return None,
                None => certain = false,
            },
            "accept" => return Some((certain, Action::Accept)),
            "drop" | "reject" => return Some((certain, Action::Drop)),
            "return" => return Some((certain, Action::Return)),
            "jump" | "goto" => return Some((certain, Action::Chain(text(&value["target"])))),
            "counter" | "log" | "comment" => {}
            _ => certain = false,
        }
    }
    None
}

/// `None`: it cannot be told.
fn matches(condition: &Value, packet: &Packet<'_>) -> Option<bool> {
    let (left, right) = (&condition["left"], &condition["right"]);
    let found = holds(left, right, packet)?;
    Some(if condition["op"] == "!=" { !found } else { found })
}

fn holds(left: &Value, right: &Value, packet: &Packet<'_>) -> Option<bool> {
    let (protocol, field) = (text(&left["payload"]["protocol"]), text(&left["payload"]["field"]));
    match (protocol, field) {
        ("ip", "protocol") | ("ip6", "nexthdr") => any(right, |value| is_protocol(value, packet.protocol)),
        ("ip", "saddr") => any(right, |value| is_source(value, packet.source)).map(|is| is && packet.source.is_ipv4()),
        ("ip6", "saddr") => any(right, |value| is_source(value, packet.source)).map(|is| is && packet.source.is_ipv6()),
        ("udp" | "th", "dport") if packet.protocol == 17 => any(right, |value| is_port(value, packet.port?)),
        ("udp" | "th", _) if packet.protocol == 17 => None,
        // Of another protocol.
        ("tcp" | "udp" | "sctp" | "dccp" | "icmp" | "icmpv6", _) => Some(false),
        _ => match text(&left["meta"]["key"]) {
            "l4proto" => any(right, |value| is_protocol(value, packet.protocol)),
            "iifname" | "iif" => any(right, |value| Some(is_interface(text(value), packet.interface))),
            "nfproto" => any(right, |value| Some((text(value) == "ipv4") == packet.source.is_ipv4())),
            // The first packet of a peer is nobody's answer.
            _ if left["ct"]["key"] == "state" => any(right, |value| Some(text(value) == "new")),
            _ => None,
        },
    }
}

/// Of a set, one has to fit.
fn any(right: &Value, fits: impl Fn(&Value) -> Option<bool>) -> Option<bool> {
    match right.as_array().or(right["set"].as_array()) {
        Some(values) => values.iter().try_fold(false, |found, value| Some(found || fits(value)?)),
        None if text(right).starts_with('@') => None,
        None => fits(right),
    }
}

fn is_protocol(value: &Value, protocol: u8) -> Option<bool> {
    match (value.as_u64(), text(value)) {
        (Some(number), _) => Some(number == u64::from(protocol)),
        (None, "vrrp") => Some(protocol == 112),
        (None, "udp") => Some(protocol == 17),
        (None, "") => None,
        (None, _) => Some(false),
    }
}

fn is_source(value: &Value, source: IpAddr) -> Option<bool> {
    if let Some(address) = value.as_str() {
        return address.parse::<IpAddr>().ok().map(|address| address == source);
    }
    if let Some(prefix) = value["prefix"].as_object() {
        let net = format!("{}/{}", text(&prefix["addr"]), prefix["len"]);
        return net.parse::<IpNet>().ok().map(|net| net.contains(&source));
    }
    if let [low, high] = value["range"].as_array()?.as_slice() {
        let ends: [IpAddr; 2] = [text(low).parse().ok()?, text(high).parse().ok()?];
        return Some((ends[0]..=ends[1]).contains(&source));
    }
    None
}

fn is_port(value: &Value, port: u16) -> Option<bool> {
    match value["range"].as_array().map(Vec::as_slice) {
        Some([low, high]) => Some((low.as_u64()?..=high.as_u64()?).contains(&port.into())),
        _ => value.as_u64().map(|number| number == u64::from(port)),
    }
}

/// `eth*` stands for all that begin so.
fn is_interface(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(protocol: u8, port: Option<u16>) -> Packet<'static> {
        Packet { source: "10.0.0.3".parse().unwrap(), protocol, port, interface: "eth0" }
    }

    /// A chain `inet filter input` with these rules, as nft writes them.
    fn fate(policy: &str, rules: &[&str], packet: &Packet<'_>) -> Fate {
        let rule = |expr: &&str| {
            format!(r#",{{"rule":{{"family":"inet","table":"filter","chain":"input","handle":1,"expr":[{expr}]}}}}"#)
        };
        let json = format!(
            r#"{{"nftables":[{{"metainfo":{{}}}},{{"table":{{"family":"inet","name":"filter"}}}},
            {{"chain":{{"family":"inet","table":"filter","name":"out","hook":"output","policy":"drop"}}}},
            {{"chain":{{"family":"inet","table":"filter","name":"input","type":"filter","hook":"input","prio":0,"policy":"{policy}"}}}},
            {{"chain":{{"family":"inet","table":"filter","name":"peers"}}}},
            {{"rule":{{"family":"inet","table":"filter","chain":"peers","expr":[{FROM_PEERS},{{"accept":null}}]}}}}{}]}}"#,
            rules.iter().map(rule).collect::<String>()
        );
        Ruleset::parse(&json).unwrap().fate(packet)
    }

    const FROM_PEERS: &str = r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":{"prefix":{"addr":"10.0.0.0","len":24}}}}"#;
    const ESTABLISHED: &str =
        r#"{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}},{"accept":null}"#;
    const LOOPBACK: &str = r#"{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"lo"}},{"accept":null}"#;
    const SSH: &str = r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"set":[22,443]}}},{"counter":{"packets":1,"bytes":2}},{"accept":null}"#;
    const VRRP: &str = r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"protocol"}},"right":"vrrp"}},{"accept":null}"#;
    const SYNC: &str = r#"{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":{"range":[9600,9700]}}},{"accept":null}"#;
    const NAMED_SET: &str = r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@friends"}},{"accept":null}"#;

    fn dropped() -> Fate {
        Fate::Dropped("inet filter input".to_owned())
    }

    #[test]
    fn an_open_host_takes_everything() {
        assert_eq!(fate("accept", &[ESTABLISHED, SSH], &packet(112, None)), Fate::Accepted);
    }

    #[test]
    fn what_no_rule_names_falls_to_the_policy() {
        let usual = [ESTABLISHED, LOOPBACK, SSH];
        assert_eq!(fate("drop", &usual, &packet(112, None)), dropped());
        assert_eq!(fate("drop", &[&usual[..], &[VRRP]].concat(), &packet(112, None)), Fate::Accepted);
        assert_eq!(fate("drop", &[&usual[..], &[VRRP]].concat(), &packet(17, Some(9619))), dropped());
        assert_eq!(fate("drop", &[SYNC], &packet(17, Some(9619))), Fate::Accepted);
        assert_eq!(fate("drop", &[SYNC], &packet(17, Some(9701))), dropped());
    }

    #[test]
    fn a_last_rule_that_drops_is_as_good_as_a_policy() {
        assert_eq!(fate("accept", &[SSH, r#"{"reject":{"type":"icmpx"}}"#], &packet(112, None)), dropped());
        assert_eq!(fate("accept", &[VRRP, r#"{"drop":null}"#], &packet(112, None)), Fate::Accepted);
    }

    #[test]
    fn a_chain_that_is_jumped_to_decides() {
        assert_eq!(fate("drop", &[r#"{"jump":{"target":"peers"}}"#], &packet(112, None)), Fate::Accepted);
        let stranger = Packet { source: "192.0.2.1".parse().unwrap(), ..packet(112, None) };
        assert_eq!(fate("drop", &[r#"{"jump":{"target":"peers"}}"#], &stranger), dropped());
        assert_eq!(
            fate("drop", &[r#"{"jump":{"target":"input"}}"#], &stranger),
            Fate::Doubtful("inet filter input".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_read_makes_it_doubtful() {
        assert_eq!(fate("drop", &[NAMED_SET], &packet(112, None)), Fate::Doubtful("inet filter input".to_owned()));
        assert_eq!(
            fate("drop", &[r#"{"xt":null},{"accept":null}"#], &packet(112, None)),
            Fate::Doubtful("inet filter input".to_owned())
        );
        assert_eq!(fate("accept", &[NAMED_SET], &packet(112, None)), Fate::Accepted);
    }
}
