//! Nodes, virtual routers, and what nodes tell each other.

use serde_yaml::{Mapping, Value};

use super::{Keys, list, number, scalar, text};
use crate::config::forms::{Checksum, Every, PreemptDelay};
use crate::config::model::{
    Config, HmacKey, Node, Secret, Sync, Track, Tracked, VirtualRouter, VrrpAuth, VrrpGarp, VrrpHmac, VrrpPreempt,
    VrrpPriority, VrrpVersion,
};

pub(super) fn nodes(config: &Config) -> Option<Value> {
    let nodes: Mapping = config.nodes.iter().map(|n| (text(&n.name), node(n))).collect();
    (!nodes.is_empty()).then_some(Value::Mapping(nodes))
}

fn node(node: &Node) -> Value {
    Keys::new()
        .set("address", text(&node.address.to_string()))
        .some("address6", node.address6.map(|address| text(&address.to_string())))
        .set("priority", node.priority)
        .value()
}

pub(super) fn vrrp(config: &Config) -> Option<Value> {
    let routers: Mapping = config.vrrp.iter().map(|r| (text(&r.name), Value::Mapping(virtual_router(r)))).collect();
    (!routers.is_empty()).then_some(Value::Mapping(routers))
}

pub(in crate::config) fn virtual_router(router: &VirtualRouter) -> Mapping {
    let version: u8 = if router.version == VrrpVersion::V2 { 2 } else { 3 };
    let checksum = if router.pseudo_header { Checksum::PseudoHeader } else { Checksum::Rfc9568 };
    Keys::new()
        .set("interface", text(&router.interface))
        .set("vrid", router.vrid)
        .set("version", version)
        .scalar("interval", &router.interval)
        .some("priority", priority(&router.priority))
        .scalar("preempt_delay", &preempt_delay(router.preempt))
        .scalar("peers", &router.peers)
        .set("addresses", list(&router.addresses, |address| text(&address.to_string())))
        .set("garp", garp(&router.garp))
        .set("track", list(&router.track, track))
        .some("group", router.group.as_deref().map(text))
        .some("auth", auth(&router.auth))
        .set("virtual_mac", router.virtual_mac)
        .set("accept", router.accept)
        .scalar("checksum", &checksum)
        .some("notify", (!router.notify.is_empty()).then(|| words(&router.notify)))
        .0
}

fn priority(priority: &VrrpPriority) -> Option<Value> {
    match priority {
        VrrpPriority::One(priority) => Some(Value::from(*priority)),
        VrrpPriority::ByNode(of) if of.is_empty() => None,
        VrrpPriority::ByNode(of) => {
            let of = of.iter().map(|(name, priority)| (text(name), Value::from(*priority)));
            Some(Value::Mapping(of.collect()))
        }
    }
}

fn preempt_delay(preempt: VrrpPreempt) -> PreemptDelay {
    match preempt {
        VrrpPreempt::After(delay) => PreemptDelay::After(delay),
        VrrpPreempt::Never => PreemptDelay::Never,
    }
}

fn garp(garp: &VrrpGarp) -> Value {
    let every = |time: Option<_>| time.map_or(Every::Off, Every::Time);
    Keys::new()
        .set("repeat", garp.repeat)
        .scalar("again", &every(garp.again))
        .scalar("spacing", &garp.spacing)
        .scalar("refresh", &every(garp.refresh))
        .value()
}

fn track(track: &Track) -> Value {
    let keys = match &track.what {
        Tracked::Interface(name) => Keys::new().set("interface", text(name)),
        Tracked::Pool { pool, below } => Keys::new().set("pool", text(pool)).set("below", number(*below)),
        Tracked::Script(script) => Keys::new()
            .set("script", words(&script.command))
            .scalar("interval", &script.interval)
            .scalar("timeout", &script.timeout)
            .set("rise", script.rise)
            .set("fall", script.fall),
    };
    keys.some("weight", track.weight.map(i64::from)).value()
}

fn auth(auth: &VrrpAuth) -> Option<Value> {
    match auth {
        VrrpAuth::None => None,
        VrrpAuth::Password(password) => {
            let password = String::from_utf8_lossy(password);
            Some(Keys::new().set("password", text(password.trim_end_matches('\0'))).value())
        }
        VrrpAuth::Hmac(settings) => Some(Keys::new().set("hmac", hmac(settings)).value()),
    }
}

fn hmac(hmac: &VrrpHmac) -> Value {
    Keys::new()
        .set("keys", list(&hmac.keys, key))
        .set("active", hmac.active)
        .scalar("window", &hmac.window)
        .set("required", hmac.required)
        .value()
}

fn key(key: &HmacKey) -> Value {
    Keys::new().set("id", key.id).set("secret_file", secret(&key.secret)).value()
}

pub(super) fn sync(sync: &Sync) -> Value {
    Keys::new()
        .set("port", sync.port)
        .some("secret_file", sync.secret.as_ref().map(secret))
        .set("flows", sync.flows)
        .value()
}

fn secret(secret: &Secret) -> Value {
    scalar(&secret.0)
}

fn words(command: &[String]) -> Value {
    list(command, |word| text(word))
}
