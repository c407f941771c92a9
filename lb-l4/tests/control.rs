//! The control plane against a real kernel: what is pinned, attached and written, in a network namespace of
//! each test's own. Needs root.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::programs::SchedClassifier;
use aya::programs::tc::TcAttachType;
use lb_core::config;
use lb_core::pool::Health;
use lb_core::snapshot::Snapshot;
use lb_l4::abi::{Dest, LAYOUT, Settings, VipKey, dest_state};
use lb_l4::flows::Query;
use lb_l4::links::{self, Attachment, How};
use lb_l4::loader::{self, Hook, Sizes, Variant};
use lb_l4::maps::Maps;
use lb_l4::plan::Capacity;
use lb_l4::{Error, Options, Tier, detach};
use nix::sched::{CloneFlags, unshare};

/// Two interfaces, `in` and `out`, whose peers are here as well: 10.1.0.1/24 and 10.2.0.1/16.
fn host() -> Option<Options> {
    let root = nix::unistd::geteuid().is_root();
    assert!(root || std::env::var_os("LB_TEST_REQUIRE").is_none(), "this test needs root");
    if !root {
        eprintln!("skipped: it takes root to load programs");
        return None;
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    ip("link set lo up");
    for (name, address) in [("in", "10.1.0.1/24"), ("out", "10.2.0.1/16")] {
        ip(&format!("link add {name} type veth peer name {name}-peer"));
        ip(&format!("addr add {address} dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("link set {name}-peer up"));
    }
    ip("addr add 10.1.0.100/32 dev in");
    let directory = PathBuf::from("/sys/fs/bpf").join(format!("lb-test-{}", std::process::id()));
    Some(Options { directory })
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(done.success(), "ip {arguments}");
}

fn snapshot(text: &str, previous: Option<&Snapshot>) -> Arc<Snapshot> {
    let loaded = config::load(text, Path::new("test.yaml"), &|_| None).unwrap_or_else(|why| panic!("{why}"));
    Arc::new(Snapshot::build(Arc::new(loaded.config), "sha".to_owned(), 1, previous))
}

/// One NAT frontend at 10.1.0.100:80.
fn web(backends: &str) -> String {
    format!(
        "frontends: {{ web: {{ mode: nat, listen: 10.1.0.100:80, pool: web }} }}
pools: {{ web: {{ backends: [{backends}] }} }}
l4: {{ flows: 1024 }}
"
    )
}

fn attached(options: &Options) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(options.directory.join("links")) else { return vec![] };
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn maps_directory(options: &Options) -> PathBuf {
    options.directory.join(format!("maps-v{LAYOUT}"))
}

fn maps(options: &Options) -> Maps {
    Maps::open(&maps_directory(options)).unwrap()
}

fn dests(options: &Options) -> Vec<(u32, Dest)> {
    maps(options).found().unwrap().dests
}

fn start(options: &Options, snapshot: Arc<Snapshot>) -> Result<Tier, Error> {
    let tier = Tier::new(options.clone());
    tier.start(snapshot)?;
    Ok(tier)
}

fn reload(tier: &Tier, text: &str, previous: &Snapshot) -> Arc<Snapshot> {
    let new = snapshot(text, Some(previous));
    tier.commit(tier.prepare(new.clone()).unwrap());
    new
}

fn eventually(what: impl Fn() -> bool) {
    let deadline = now() + Duration::from_secs(20);
    while !what() {
        assert!(now() < deadline, "it does not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const TWO: &str = "10.2.0.2:80, 10.2.0.3:80";

#[test]
fn what_was_left_is_gone_on_with() {
    let Some(options) = host() else { return };
    let tier = start(&options, snapshot(&web(TWO), None)).unwrap();
    let (links, before) = (attached(&options), dests(&options));
    assert_eq!(links.len(), 2, "{links:?}");
    assert_eq!(before.len(), 2);
    let seed = maps(&options).settings().flow_seed;
    let other = start(&options, snapshot(&web(TWO), None));
    assert!(matches!(other, Err(Error::Locked(_))), "two drive one data plane");

    tier.leave();
    assert_eq!(attached(&options), links, "packets go on");
    let of_an_older_lb = Settings { answers: 0, ..maps(&options).settings() };
    maps(&options).initialise(&of_an_older_lb);
    let tier = start(&options, snapshot(&web("10.2.0.3:80, 10.2.0.2:80"), None)).unwrap();
    assert_eq!(attached(&options), links);
    assert_eq!(dests(&options), before, "places do not depend on the order of the file");
    assert_eq!(maps(&options).settings().flow_seed, seed, "flows are found again");
    assert_eq!(maps(&options).settings().answers, 10_000);

    tier.leave();
    assert_eq!(detach(&options).unwrap(), Some(2));
    assert_eq!(attached(&options), Vec::<String>::new());
    assert!(!options.directory.exists());
    assert_eq!(detach(&options).unwrap(), None);
}

#[test]
fn one_at_a_time_takes_samples() {
    let Some(options) = host() else { return };
    let tier = start(&options, snapshot(&web(TWO), None)).unwrap();
    let mask = || maps(&options).settings().sample_mask;
    std::thread::scope(|scope| {
        let first = scope.spawn(|| tier.sample(1, None).unwrap());
        eventually(|| mask() == 0);
        assert!(matches!(tier.sample(1, None).unwrap(), Err(Error::Sampling)));
        assert_eq!(mask(), 0, "the first goes on");
        assert_eq!(first.join().unwrap().unwrap(), [], "there are no packets");
    });
    assert_eq!(mask(), u32::MAX);
    tier.leave();
    detach(&options).unwrap();
}

#[test]
fn an_interface_that_comes_back_is_attached_again() {
    let Some(options) = host() else { return };
    let tier = start(&options, snapshot(&web(TWO), None)).unwrap();
    let [kept, lost] = ["in", "out"].map(index_of);
    let is_on = |interfaces: &[u32]| {
        let how = if links::has_tcx() { "tcx" } else { "tc" };
        let mut pins: Vec<_> = interfaces.iter().map(|index| format!("{how}-{index}")).collect();
        pins.sort();
        attached(&options) == pins
    };
    // Under another index, and then under the same one.
    for index in [lost + 100, lost + 100] {
        ip("link del out");
        ip(&format!("link add out index {index} type veth peer name out-peer"));
        ip("addr add 10.2.0.1/16 dev out");
        ip("link set out up");
        eventually(|| is_on(&[kept, index]) && runs_on("out"));
    }
    ip("link del out");
    eventually(|| is_on(&[kept]));
    tier.leave();
    detach(&options).unwrap();
}

fn index_of(interface: &str) -> u32 {
    nix::net::if_::if_nametoindex(interface).unwrap()
}

/// In tcx, or in a filter where the kernel has none.
fn runs_on(interface: &str) -> bool {
    if !links::has_tcx() {
        let filters = Command::new("tc").args(["filter", "show", "dev", interface, "ingress"]).output().unwrap();
        return String::from_utf8(filters.stdout).unwrap().contains("direct-action");
    }
    let (_, programs) = SchedClassifier::query_tcx(interface, TcAttachType::Ingress).unwrap();
    programs.len() == 1
}

#[test]
fn a_table_of_another_size_starts_afresh() {
    let Some(options) = host() else { return };
    start(&options, snapshot(&web(TWO), None)).unwrap().leave();
    let (links, count) = (attached(&options), maps(&options).flows.count());
    let larger = web(TWO).replace("flows: 1024", "flows: 100000");
    let tier = start(&options, snapshot(&larger, None)).unwrap();
    assert!(maps(&options).flows.count() > count);
    assert_eq!(attached(&options), links, "the program was replaced in place");
    assert_eq!(dests(&options).len(), 2);
    tier.leave();
    detach(&options).unwrap();
}

#[test]
fn a_reload_is_a_difference() {
    let Some(options) = host() else { return };
    let first = snapshot(&web(TWO), None);
    let tier = start(&options, first.clone()).unwrap();
    let before = dests(&options);
    let second = reload(&tier, &web("10.2.0.3:80, 10.2.0.4:80"), &first);
    let after = dests(&options);
    assert_eq!(after[1], before[1], "who stays keeps its place");
    assert_eq!(after[0].1.state, dest_state::UNUSED);
    assert_eq!((after[2].0, after[2].1.state), (2, dest_state::READY));
    let third = reload(&tier, &web(TWO), &second);
    assert_eq!(dests(&options)[0], before[0], "who comes back is the same");
    assert_eq!(tier.explain(&question("10.1.0.100:80")).unwrap().unwrap().frontend, "web");
    assert!(tier.explain(&question("10.1.0.100:81")).unwrap().is_err());
    assert_eq!(tier.flows(&Query { limit: 10, ..Query::default() }).unwrap().unwrap().total, 0);

    let none = "frontends: { web: { mode: http, listen: 10.1.0.100:80, pool: web } }
pools: { web: { backends: [10.2.0.2:80] } }";
    reload(&tier, none, &third);
    assert!(!options.directory.exists(), "the last layer-4 frontend takes all with it");
    assert!(tier.report().is_none());
    reload(&tier, &web(TWO), &third);
    assert_eq!(attached(&options).len(), 2, "and the first one brings it back");
    tier.leave();
    detach(&options).unwrap();
}

#[test]
fn interfaces_come_and_go_with_the_configuration() {
    let Some(options) = host() else { return };
    let on = |interfaces: &str, attach: &str| {
        web(TWO).replace("flows: 1024", &format!("flows: 1024, attach: {attach}, interfaces: [{interfaces}]"))
    };
    let first = snapshot(&on("in", "tc"), None);
    let tier = start(&options, first.clone()).unwrap();
    assert_eq!(attached(&options).len(), 1);
    let second = reload(&tier, &on("in, out", "tc"), &first);
    assert_eq!(attached(&options).len(), 2);
    let third = reload(&tier, &on("out", "tc"), &second);
    assert_eq!(attached(&options).len(), 1);
    let unsafe_peer = tier.prepare(snapshot(&on("out", "xdp"), Some(&third)));
    let Err(Error::Attach { reason, .. }) = unsafe_peer else { panic!("XDP would lose packets there") };
    assert!(reason.contains("ethtool -K"), "{reason}");
    assert!(matches!(tier.prepare(snapshot(&on("nothing", "tc"), Some(&third))), Err(Error::NoInterface(_))));
    assert_eq!(attached(&options).len(), 1, "what was refused changes nothing");
    tier.leave();
    detach(&options).unwrap();
}

#[test]
fn health_moves_the_ring() {
    let Some(options) = host() else { return };
    let now = snapshot(&web(TWO), None);
    let tier = start(&options, now.clone()).unwrap();
    let ring = || {
        let found = maps(&options).found().unwrap();
        let mut dests = found.rings[0].1.clone();
        dests.sort_unstable();
        dests
    };
    assert_eq!(ring(), [0, 1]);
    now.pools[0].backends[0].live.set_health(Health::Down);
    tier.health_changed();
    assert_eq!(ring(), [1]);
    assert_eq!(dests(&options)[0].1.state, dest_state::DOWN);
    now.pools[0].backends[0].live.set_health(Health::Up);
    tier.health_changed();
    assert_eq!(ring(), [0, 1]);
    tier.leave();
    detach(&options).unwrap();
}

/// No time is asserted; a person may look.
#[test]
fn a_thousand_frontends_of_ten_backends() {
    let Some(options) = host() else { return };
    let text = |last: u32| {
        let mut text = "l4: { flows: 1024 }\nfrontends:\n".to_owned();
        for n in 1..=1000 {
            writeln!(text, "  f{n}: {{ mode: nat, listen: 10.1.0.100:{n}, pool: p{n} }}").unwrap();
        }
        text.push_str("pools:\n");
        for n in 0..1000 {
            let backends: Vec<_> =
                (0..10).map(|i| format!("10.2.{}.{}:80", 1 + n / 25, 1 + n % 25 * 10 + (i + last) % 10)).collect();
            writeln!(text, "  p{}: {{ backends: [{}] }}", n + 1, backends[..9].join(", ")).unwrap();
        }
        text
    };
    let first = snapshot(&text(0), None);
    let tier = start(&options, first.clone()).unwrap();
    let second = snapshot(&text(1), Some(&first));
    let begin = now();
    let prepared = tier.prepare(second).unwrap();
    let middle = now();
    tier.commit(prepared);
    eprintln!("prepared in {:?}, committed in {:?}", middle - begin, middle.elapsed());
    let found = maps(&options).found().unwrap();
    assert_eq!(found.vips.len(), 1001);
    assert_eq!(found.dests.iter().filter(|(_, d)| d.state == dest_state::READY).count(), 9000);
    let key = VipKey { addr: ip_of("10.1.0.100"), port: 1000.into(), proto: 6, zero: [0; 5] };
    assert!(maps(&options).vip(&key).is_some());
    tier.leave();
    detach(&options).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "shown to a person")]
fn now() -> Instant {
    Instant::now()
}

fn ip_of(text: &str) -> lb_l4::abi::Addr {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

fn question(destination: &str) -> lb_l4::explain::Question {
    let client = "10.1.0.2:1234".parse().unwrap();
    lb_l4::explain::Question { client, destination: destination.parse().unwrap(), udp: false }
}

/// What tc has before Linux 6.6: no links, but filters, which outlive their maker.
#[test]
fn a_filter_is_replaced_in_place_and_removed() {
    let Some(options) = host() else { return };
    start(&options, snapshot(&web(TWO), None)).unwrap().leave();
    let (maps, links) = (maps_directory(&options), options.directory.join("links"));
    let sizes = Sizes::new(1024, Capacity::default());
    let program = || loader::load(Variant { hook: Hook::Tc, redirect_only: false }, &maps, sizes).unwrap();
    let interface = index_of("in-peer");
    let attachment = Attachment { how: How::Filter, interface };
    let filters = || {
        let shown = Command::new("tc").args(["filter", "show", "dev", "in-peer", "ingress"]).output().unwrap();
        let text = String::from_utf8(shown.stdout).unwrap();
        text.lines().filter(|line| line.contains("direct-action")).map(id_of).collect::<Vec<_>>()
    };
    links::attach(&links, &mut program(), attachment, "in-peer").unwrap();
    let first = filters();
    assert_eq!(first.len(), 1, "and it outlives the program's handle");
    links::attach(&links, &mut program(), attachment, "in-peer").unwrap();
    let second = filters();
    assert!(second.len() == 1 && second != first, "{first:?} {second:?}");
    let gone = Command::new("tc").args(["qdisc", "del", "dev", "in-peer", "clsact"]).status().unwrap();
    assert!(gone.success());
    links::attach(&links, &mut program(), attachment, "in-peer").unwrap();
    assert_eq!(filters().len(), 1, "somebody had removed it");
    links::detach(&links, attachment, Some("in-peer")).unwrap();
    assert_eq!(filters(), Vec::<String>::new());
    assert!(!links::existing(&links).contains(&attachment));
    detach(&options).unwrap();
}

/// `... id 42 ...` of a line of tc(8).
fn id_of(line: &str) -> String {
    line.split_whitespace().skip_while(|word| *word != "id").nth(1).unwrap().to_owned()
}
