//! `lb_l4::abi`, field by field and constant by constant, under the names that C has.

use std::mem::offset_of;

use lb_l4::abi::{
    Bucket, Counter, Dest, DestHop, Flow, FlowKey, Frag, FragKey, Frontend, Hop, Import, Load, MacKey, Neighbour,
    Persist, PersistKey, Sample, Settings, Shortcut, ShortcutLine, Stats, VipKey, Vlan, dest_state, flow_flag,
    flow_state, frontend_flag, imported, mac_state, mode, on_down, scheduler,
};

pub struct Layout {
    pub name: &'static str,
    pub size: usize,
    pub fields: Vec<(String, usize, usize)>,
}

/// Naming every field in a pattern makes the compiler complain about one that is missing here.
macro_rules! layout {
    ($name:literal, $type:ident { $($field:ident),+ $(,)? }) => {{
        #[expect(dead_code, reason = "only compiled")]
        fn names_every_field($type { $($field: _),+ }: $type) {}
        Layout {
            name: $name,
            size: size_of::<$type>(),
            fields: vec![$((stringify!($field).to_owned(), offset_of!($type, $field), size_of_field(|it: &$type| &it.$field))),+],
        }
    }};
}

fn size_of_field<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

pub fn structs() -> Vec<Layout> {
    vec![
        layout!("flow_key", FlowKey { src, dst, sport, dport, proto, zero }),
        layout!("hop", Hop { ifindex, dmac, smac, vlan, mtu }),
        layout!(
            "flow",
            Flow {
                key,
                expires,
                dest,
                incarnation,
                state,
                flags,
                peer,
                renew,
                created,
                new_src,
                new_dst,
                new_sport,
                new_dport,
                hop,
                epoch,
                addr_delta,
                total_delta,
            }
        ),
        layout!("bucket", Bucket { lock, overflow, tags, zero, ways }),
        layout!("shortcut", Shortcut { addrs, rest }),
        layout!("shortcut_line", ShortcutLine { ways }),
        layout!("dest", Dest { addr, tunnel_src, frontend, weight, port, incarnation, state, on_down, mode, zero }),
        layout!(
            "frontend",
            Frontend {
                ring,
                mode,
                scheduler,
                flags,
                on_down,
                prefix4,
                prefix6,
                proto,
                used,
                established,
                syn,
                fin,
                close,
                udp,
                persist,
                snat_base,
                snat_count,
                addr,
                port,
                zero,
            }
        ),
        layout!("vip_key", VipKey { addr, port, proto, zero }),
        layout!("load", Load { active, inactive }),
        layout!("dest_hop", DestHop { hops, current, checked, epoch, path_mtu, zero, path_mtu_until, none }),
        layout!("stats", Stats { packets_in, bytes_in, packets_out, bytes_out, flows }),
        layout!(
            "settings",
            Settings {
                flow_seed,
                ring_seed,
                hz,
                tick_shift,
                epoch,
                new_flows,
                sample_mask,
                sample_frontend,
                snat_first,
                snat_last,
                answers,
                mac_factor,
                macs,
                vip_bits,
            }
        ),
        layout!("mac_key", MacKey { ifindex, mac, zero }),
        layout!("neighbour", Neighbour { addr, ifindex, zero }),
        layout!("persist_key", PersistKey { client, frontend, zero }),
        layout!("persist", Persist { dest, expires, incarnation, zero }),
        layout!("frag_key", FragKey { src, dst, id, proto, zero }),
        layout!("frag", Frag { sport, dport }),
        layout!("vlan", Vlan { parent, tci, zero }),
        layout!("sample", Sample { time_ns, ifindex, dest, length, verdict, reason, reply, captured, bytes }),
    ]
}

/// That only the import of flows has.
pub fn import() -> Layout {
    layout!("import", Import { key, snat, snat_port, incarnation, dest, age, lived, state, flags, result, zero })
}

type Constants = Vec<(String, u32)>;

macro_rules! constants {
    ($prefix:literal, $module:ident: $($name:ident),+) => {
        (stringify!($module), vec![$((concat!($prefix, stringify!($name)).to_owned(), u32::from($module::$name))),+])
    };
}

pub fn enums() -> Vec<(&'static str, Constants)> {
    vec![
        constants!("FLOW_", flow_state: NONE, SYN, SYN_RECV, ESTABLISHED, FIN, TIME_WAIT, CLOSED, UDP_NEW, UDP),
        constants!("FLOW_", flow_flag: REPLY, SNAT, FIN_FWD, FIN_BACK, COUNTED, SYNCED),
        constants!("MODE_", mode: NAT, DR, TUNNEL),
        constants!("SCHED_", scheduler: ROUND_ROBIN, LEAST, SOURCE, FLOW),
        constants!("DEST_", dest_state: UNUSED, READY, DRAIN, DOWN),
        constants!("DOWN_", on_down: REBIND, RESET, KEEP),
        constants!("FRONTEND_", frontend_flag: PERSIST, SNAT),
        constants!("IMPORT_", imported: NONE, MADE, CHANGED, OLDER, OVER, GONE, TAKEN, FULL),
        constants!("MAC_", mac_state: NONE, OURS, STANDBY),
        ("counter", counters()),
    ]
}

/// `NoBackend` is DROP_NO_BACKEND, `EvictExpired` is COUNT_EVICT_EXPIRED.
pub fn counters() -> Constants {
    let all = [&Counter::DROPS[..], &Counter::EVICTIONS, &Counter::EVENTS].concat();
    let name = |counter: Counter| {
        let prefix = if (counter as u32) < Counter::EvictExpired as u32 { "DROP" } else { "COUNT" };
        let upper = |c: char| if c.is_uppercase() { format!("_{c}") } else { c.to_uppercase().to_string() };
        prefix.to_owned() + &format!("{counter:?}").chars().map(upper).collect::<String>()
    };
    all.into_iter().map(|counter| (name(counter), counter as u32)).collect()
}
