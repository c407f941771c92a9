//! What Prometheus scrapes: its form, and that each metric is moved by something.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Authority, Lb, Origin, Port, Reply, Samples, eventually};

const CONFIG: &str = "
workers: 2
frontends:
  web:
    mode: http
    listen: @web
    routes:
      - { host: t, path: /slow, pool: slow }
      - { host: t, path: /gone, pool: gone }
      - { host: t, path: /none, pool: none }
      - { host: t, path: /bad, pool: bad }
      - { host: t, pool: web }
    limits: { connections_per_client: 20 }
  tls:
    mode: http
    listen: @tls
    tls: { certificates: [{ cert: @dir/site.crt, key: @dir/site.key }] }
    pool: web
pools:
  web:
    check: { http: { path: / }, interval: 200ms, timeout: 190ms, rise: 1, fall: 3 }
    backends: [{ address: @a, weight: 3 }, @b]
    backup: [@b2]
  slow: { max_queue: 1, timeouts: { queue: 100ms }, backends: [{ address: @slow, max_connections: 1 }] }
  gone: { retry: { attempts: 5, budget: 0% }, backends: [@gone] }
  none: { backends: [{ address: @gone, state: drain }] }
  bad: { retry: { attempts: 0 }, backends: [@bad] }
";

/// Cannot move while a process lives, or only for reasons that no test should cause.
const STILL: [&str; 7] = [
    "lb_build_info",
    "lb_log_dropped_total",
    "process_max_fds",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
    "lb_access_log_dropped_total", // moved by access_log::a_full_disk_costs_lines_and_no_requests
];

struct Scene {
    lb: Lb,
    origins: Vec<Origin>,
    ca: Authority,
    _gone: Port,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    ca.issue("site", &["localhost"]);
    let slow = Origin::start(|_| {
        std::thread::sleep(std::time::Duration::from_millis(500));
        Reply::ok("slow")
    });
    let bad = Origin::raw(|mut stream, _| {
        use std::io::Write;
        let _ = stream.write_all(b"nonsense\r\n\r\n");
    });
    let gone = Port::reserve();
    let origins = [
        ("a", Origin::named("a")),
        ("b", Origin::named("b")),
        ("b2", Origin::named("b2")),
        ("slow", slow),
        ("bad", bad),
    ];
    let mut names: Vec<_> = origins.iter().map(|(name, origin)| (*name, origin.addr)).collect();
    names.push(("gone", gone.addr));
    let lb = Lb::start_in(dir, CONFIG, &names);
    Scene { lb, origins: origins.into_iter().map(|(_, origin)| origin).collect(), ca, _gone: gone }
}

/// What each series was seen to be.
type Seen = BTreeMap<String, BTreeSet<String>>;

fn note(seen: &mut Seen, samples: &Samples) {
    let mut totals: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for sample in &samples.0 {
        let series = format!("{:?}={}", sample.labels, sample.value);
        totals.entry(&sample.name).or_default().push(series);
    }
    let first = seen.is_empty();
    for (name, series) in totals {
        let values = seen.entry(name.to_owned()).or_insert_with(|| {
            // A series that is new now was not there before, which is another value.
            if first { BTreeSet::new() } else { BTreeSet::from([String::new()]) }
        });
        values.insert(series.join(" "));
    }
}

#[test]
fn every_metric_is_moved_by_something() {
    let mut scene = scene();
    let mut seen = Seen::new();
    note(&mut seen, &scene.lb.metrics());
    traffic(&scene);
    note(&mut seen, &scene.lb.metrics());
    trouble(&scene, &mut seen);
    note(&mut seen, &scene.lb.metrics());
    changes(&mut scene, &mut seen);
    note(&mut seen, &scene.lb.metrics());
    let still: Vec<_> = seen.iter().filter(|(_, values)| values.len() < 2).map(|(name, _)| name.as_str()).collect();
    let unexpected: Vec<_> = still.iter().filter(|name| !STILL.contains(name)).collect();
    assert!(unexpected.is_empty(), "nothing moved {unexpected:?}\n{}", scene.lb.metrics_text());
}

fn traffic(scene: &Scene) {
    let lb = &scene.lb;
    let mut client = lb.client("web");
    for _ in 0..10 {
        assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody").status, 200);
    }
    let url = format!("https://localhost:{}/", lb.addr("tls").port());
    let ca = scene.ca.ca.display().to_string();
    assert_eq!(crate::harness::curl(&["--ipv4", "--cacert", &ca, &url]).status(), 200);
    assert_ne!(crate::harness::curl(&["--ipv4", &url]).exit, 0, "an unknown authority fails the handshake");
}

fn trouble(scene: &Scene, seen: &mut Seen) {
    let lb = &scene.lb;
    let ask = |path: &str| lb.client("web").ask(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")).status;
    assert_eq!((ask("/none"), ask("/bad")), (503, 502));
    // Until the few retries that are always allowed are used up.
    eventually("a retry is refused", || ask("/gone") == 502 && lb.metric("lb_pool_retries_refused_total", &[]) > 0.0);
    assert_eq!(lb.client("web").ask("GET / HTTP/1.1\r\nHost : t\r\n\r\n").status, 400);
    // One is served slowly, one waits in vain, one finds the queue full.
    let send = |path: &str| {
        let mut client = lb.client("web");
        client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
        client
    };
    let mut served = send("/slow");
    eventually("the slot is taken", || lb.metric("lb_backend_requests_active", &[("pool", "slow")]) == 1.0);
    let mut waiting = send("/slow");
    eventually("one waits", || lb.metric("lb_pool_queued", &[("pool", "slow")]) == 1.0);
    note(seen, &lb.metrics());
    assert_eq!(ask("/slow"), 503);
    assert_eq!((waiting.response().status, served.response().status), (503, 200));
    let crowd: Vec<_> = (0..25).map(|_| lb.client("web")).collect();
    eventually("some are refused", || lb.metric("lb_frontend_connections_refused_total", &[]) > 0.0);
    drop(crowd);
}

fn changes(scene: &mut Scene, seen: &mut Seen) {
    // Both primaries of `web` go away.
    scene.origins.drain(..2);
    let lb = &mut scene.lb;
    eventually("they are down", || {
        lb.metric("lb_pool_backends_available", &[("pool", "web"), ("role", "primary")]) == 0.0
    });
    // Asked while it is unknown that they are dead, a pool retries.
    let added = CONFIG.replace(
        "  gone: { retry: { attempts: 5, budget: 0% }, backends: [@gone] }",
        "  gone: { retry: { attempts: 2, budget: 100% }, backends: [@gone, { address: @b2, weight: 5 }] }",
    );
    assert!(!lb.try_reload(&CONFIG.replace("workers", "wrokers")).status.success());
    note(seen, &lb.metrics());
    scene.ca.issue("site", &["localhost"]);
    lb.reload(&added);
    let mut client = lb.client("web");
    eventually("a retry", || {
        client.ask("GET /gone HTTP/1.1\r\nHost: t\r\n\r\n");
        lb.metric("lb_pool_retries_total", &[]) > 0.0
    });
}

#[test]
fn the_exposition_is_well_formed() {
    let scene = scene();
    traffic(&scene);
    let text = scene.lb.metrics_text();
    let (mut types, mut helps) = (BTreeMap::new(), BTreeSet::new());
    for line in text.lines().filter_map(|l| l.strip_prefix("# ")) {
        let mut words = line.splitn(3, ' ');
        let (what, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
        match what {
            "TYPE" => assert!(types.insert(name.to_owned(), rest.to_owned()).is_none(), "{name} has two types"),
            "HELP" => assert!(!rest.is_empty() && helps.insert(name.to_owned()), "{name}: help {rest:?}"),
            _ => panic!("{line}"),
        }
    }
    let mut series = BTreeSet::new();
    for sample in Samples::parse(&text).0 {
        let family = family_of(&sample.name, &types);
        assert!(helps.contains(&family), "{family} has no help");
        assert!(sample.name.starts_with("lb_") || sample.name.starts_with("process_"), "{}", sample.name);
        assert_eq!(
            types[&family] == "counter",
            sample.name.ends_with("_total"),
            "{} is a {}",
            sample.name,
            types[&family]
        );
        assert!(
            series.insert(format!("{}{:?}", sample.name, sample.labels)),
            "{} {:?} twice",
            sample.name,
            sample.labels
        );
        assert!(sample.value.is_finite() || sample.name.ends_with("_quantile"), "{} is {}", sample.name, sample.value);
    }
    assert!(types.len() > 30, "{}", types.len());
    assert_histograms(&text, &types);
}

fn family_of(name: &str, types: &BTreeMap<String, String>) -> String {
    let bases = ["", "_bucket", "_sum", "_count"].iter().filter_map(|end| name.strip_suffix(end));
    bases.map(str::to_owned).find(|base| types.contains_key(base)).unwrap_or_else(|| panic!("{name} has no type"))
}

fn assert_histograms(text: &str, types: &BTreeMap<String, String>) {
    let samples = Samples::parse(text);
    for family in types.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
        let mut last: BTreeMap<Vec<(String, String)>, f64> = BTreeMap::new();
        for sample in samples.0.iter().filter(|s| s.name == format!("{family}_bucket")) {
            let labels: Vec<_> = sample.labels.iter().filter(|(n, _)| n != "le").cloned().collect();
            let before = last.insert(labels, sample.value).unwrap_or_default();
            assert!(sample.value >= before, "{family} is not cumulative");
        }
        for sample in samples.0.iter().filter(|s| s.name == format!("{family}_count")) {
            assert_eq!(last[&sample.labels], sample.value, "{family}: the last bucket is not the count");
        }
    }
}
