//! Flows of another node.

use lb_l4::abi::{FlowKey, Import, dest_state, flow_flag, flow_state, imported, mode};

use super::flow::{is_active, recount, timeout};
use super::{Entry, Model};

const FINS: u8 = flow_flag::FIN_FWD | flow_flag::FIN_BACK;
/// Jiffies that may get lost between two nodes.
const ROUNDING: i32 = 2;

impl Model {
    /// What becomes of it: `enum imported`.
    pub fn enter(&mut self, import: &Import) -> u8 {
        let dest = self.config.dests[import.dest as usize];
        if dest.state == dest_state::UNUSED || dest.incarnation != import.incarnation {
            return imported::GONE;
        }
        if import.age >= timeout(&self.config.frontends[dest.frontend as usize], import.state) {
            return imported::OVER;
        }
        if let Some(known) = self.find(&import.key) {
            if known.flags & flow_flag::REPLY != 0 {
                return imported::TAKEN;
            }
            if !self.is_newer(&known, import) {
                return imported::OLDER;
            }
            if goes_same_way(&known, import) {
                self.settle(&import.key, import);
                return imported::CHANGED;
            }
        }
        self.forget(&import.key);
        self.make(import)
    }

    fn is_newer(&self, known: &Entry, import: &Import) -> bool {
        let hz = self.config.settings.hz as i32;
        let needed = match (known.flags & flow_flag::SYNCED != 0, import.flags & flow_flag::SYNCED != 0) {
            (true, true) => -ROUNDING,
            (true, false) => -hz / 10,
            (false, true) => hz + 1,
            (false, false) => ROUNDING + 1,
        };
        let touched = match known.flags & flow_flag::SYNCED {
            0 => known.renew.wrapping_sub(known.expires.wrapping_sub(known.renew) / 8),
            _ => known.renew,
        };
        self.now.wrapping_sub(import.age).wrapping_sub(touched) as i32 >= needed
    }

    fn make(&mut self, import: &Import) -> u8 {
        if matches!(import.state, flow_state::TIME_WAIT | flow_state::CLOSED) {
            return imported::OVER;
        }
        let key = import.key;
        let dest = self.config.dests[import.dest as usize];
        let frontend = self.config.frontends[dest.frontend as usize];
        let forward = self.forward_entry(import.dest, &dest, &frontend, &key, import.state);
        let pair = match dest.mode {
            mode::NAT => self.entered_pair(forward, import),
            _ => Some((forward, None)),
        };
        let Some((forward, reply)) = pair else { return imported::TAKEN };
        self.insert(key, forward, reply);
        self.settle(&key, import);
        self.persist(dest.frontend, &key, import.dest);
        imported::MADE
    }

    fn entered_pair(&self, forward: Entry, import: &Import) -> Option<(Entry, Option<(FlowKey, Entry)>)> {
        let key = import.key;
        let is_snat = import.snat.0 != [0; 16];
        let (addr, port) = if is_snat { (import.snat, import.snat_port) } else { (key.src, key.sport) };
        let reply_key = FlowKey { src: forward.new_dst, dst: addr, sport: forward.new_dport, dport: port, ..key };
        if self.find(&reply_key).is_some_and(|other| is_snat || is_active(other.state)) {
            return None;
        }
        let snat = if is_snat { flow_flag::SNAT } else { 0 };
        let reply = Entry {
            flags: forward.flags & !flow_flag::COUNTED | flow_flag::REPLY | snat,
            peer: Some(key),
            new_src: key.dst,
            new_dst: key.src,
            new_sport: key.dport,
            new_dport: key.sport,
            ..forward
        };
        let forward =
            Entry { flags: forward.flags | snat, peer: Some(reply_key), new_src: addr, new_sport: port, ..forward };
        Some((forward, Some((reply_key, reply))))
    }

    /// Both directions become what the other node says, and nobody has seen a packet of them here.
    fn settle(&mut self, key: &FlowKey, import: &Import) {
        let dest = self.config.dests[import.dest as usize];
        let timeout = timeout(&self.config.frontends[dest.frontend as usize], import.state);
        let touched = self.now.wrapping_sub(import.age);
        let peer = self.state.flows[key].peer;
        for key in [Some(*key), peer].into_iter().flatten() {
            let Some(entry) = self.state.flows.get_mut(&key) else { continue };
            entry.state = import.state;
            entry.flags = entry.flags & !FINS | import.flags & FINS | flow_flag::SYNCED;
            entry.renew = touched;
            entry.expires = touched.wrapping_add(timeout).wrapping_add(timeout / 8);
            if entry.flags & flow_flag::REPLY == 0 {
                recount(entry, &mut self.state.loads);
            }
        }
    }
}

fn goes_same_way(known: &Entry, import: &Import) -> bool {
    let is_snat = known.flags & flow_flag::SNAT != 0;
    let same_client = match import.snat.0 == [0; 16] {
        true => !is_snat,
        false => is_snat && (known.new_src, known.new_sport) == (import.snat, import.snat_port),
    };
    (known.dest, known.incarnation) == (import.dest, import.incarnation) && same_client
}
