//! What a person wrote: every key of the file, with its meaning, unit, default and range. This is the
//! one place that knows them; decoder, JSON Schema and defaults come from here.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{Address, BackendAddress, Listen, MetricsListen, Network, VirtualAddress};
use super::decode::{List, Named, OneOrMore};
use super::forms::{
    Access, AccessPath, BackendEntry, Checksum, ClientAuthMode, Every, Header, Metrics, Mode, PathMatch, Persistence,
    PreemptDelay, Priority, Redirect, Respond, Snat, TcpProbe,
};
use super::http_words::{HeaderName, Method, Status, StatusRange};
use super::keys::keys;
use super::model::{
    AccessFormat, AdminState, Alpn, Attach, DEFAULT_PRIORITY, HostPattern, InitialHealth, LogFormat, LogLevel,
    OnBackendDown, Protocol, Scheduler, TlsVersion, VrrpPeers,
};
use super::scalar::{Hex, Percent, PortRange, Size, hours, kib, mib, ms, secs};

keys! {
    /// The configuration of lb.
    Root "the configuration" {
        /// Version of the language of this file.
        version: u32, 1..=1;
        /// Worker threads; one per core where absent.
        workers: usize, 1..=1024;
        /// Addresses that clients connect to, by name.
        frontends: Named<Frontend>;
        /// Sets of backends, by name.
        pools: Named<Pool>;
        /// What all frontends of layer 4 share.
        l4: L4;
        /// How a changed file and a stop are carried out.
        reload: Reload;
        /// The Prometheus endpoint, or `off`.
        metrics: Metrics;
        /// Where `lb status` and the other verbs reach a running lb.
        admin: Admin;
        /// What is logged, and where.
        log: Log;
        /// The machines that share this file, by host name. Each of them finds itself in it.
        nodes: Named<Node>;
        /// Virtual routers, by name: addresses that one node holds, and the others take over.
        vrrp: Named<VirtualRouter>;
        /// What the nodes tell each other besides VRRP.
        sync: Sync;
    }

    /// An address that clients connect to, and how it is served.
    Frontend "a frontend" {
        /// `http`: layer 7; `nat`, `dr`, `tunnel`: layer 4, in the kernel.
        mode: Mode = Mode::Http;
        /// Address and port; in layer 4 with `/udp` for datagrams, and `*` for every port.
        listen: Listen;
        /// The pool that serves everything; in layer 7 instead of `routes`.
        pool: String;
        /// Layer 7. Present: clients speak TLS.
        tls: FrontendTls;
        /// Layer 7. Where requests go; the first match wins.
        routes: List<Route>;
        /// Layer 7. How long clients may take.
        timeouts: FrontendTimeouts;
        /// Layer 7. How much clients may send and open.
        limits: Limits;
        /// Layer 7. Addresses or networks whose X-Forwarded-* fields are believed.
        trusted_proxies: List<Network>;
        /// Mode nat. The address that backends see: the client's (`off`), this node's (`auto`), or one of a list.
        snat: Snat;
        /// Layer 4. An established flow without packets is forgotten after this; as `l4.timeouts` says where absent.
        idle_timeout: Duration, ms(100)..=hours(168);
        /// Layer 4. What becomes of the flows of a backend that is down or removed.
        on_backend_down: OnBackendDown = OnBackendDown::Rebind;
        /// Layer 4. For so long new flows of a client go where its last one went; a mapping for more.
        persistence: Persistence;
    }

    /// New flows of a client go where its last one went.
    PersistenceKeys "persistence" {
        /// Since the client's last new flow.
        timeout: Duration, secs(1)..=hours(168);
        /// IPv4 clients that agree in so many bits are one.
        netmask: u8 = 32, 1..=32;
        /// IPv6 clients that agree in so many bits are one.
        netmask6: u8 = 128, 1..=128;
    }

    /// TLS towards clients.
    FrontendTls "tls of a frontend" {
        /// Chosen by the name that the client asks for; the first one answers the others.
        certificates: List<Certificate>;
        /// The oldest version of TLS that is accepted.
        min_version: TlsVersion = TlsVersion::V1_2;
        /// Protocols offered, the preferred one first; `[h2, http/1.1]` where absent.
        alpn: List<Alpn>;
        /// Ask clients for a certificate.
        client_auth: ClientAuth;
    }

    /// A certificate with its private key.
    Certificate "a certificate" {
        /// PEM file: the certificate, then its chain.
        cert: PathBuf;
        /// PEM file: the private key.
        key: PathBuf;
    }

    /// Certificates of clients.
    ClientAuth "client_auth" {
        /// PEM file: the authorities that they must chain to.
        ca: PathBuf;
        /// `optional`: a client may also come without one.
        mode: ClientAuthMode = ClientAuthMode::Required;
    }

    /// One rule: all conditions that are present must hold. Exactly one of pool, redirect, respond.
    Route "a route" {
        /// `www.example.com`, or `*.example.com` for every name below it.
        host: HostPattern;
        /// `/static/`: this path and all below it; `{ exact: /x }`: only this one.
        path: PathMatch;
        /// Method, or a list of methods.
        method: OneOrMore<Method>;
        /// Field that must be there, or a list; `{ name, value }` compares its value too.
        header: OneOrMore<Header>;
        /// The pool that serves the request.
        pool: String;
        /// Send the client elsewhere.
        redirect: Redirect;
        /// Answer without a backend.
        respond: Respond;
    }

    /// How a path is compared. One of exact, prefix.
    PathKeys "a path condition" {
        /// This path only.
        exact: String;
        /// This path and all below it.
        prefix: String;
    }

    /// A condition on a header field.
    HeaderMatch "a header condition" {
        /// Name of the field, in any case.
        name: HeaderName;
        /// The whole value; any value where absent.
        value: String;
    }

    /// A redirect; a text alone is its location.
    RedirectKeys "a redirect" {
        /// 301, 302, 303, 307 or 308.
        status: Status = Status(302);
        /// May hold `{host}`, `{path}` and `{query}`.
        location: String;
    }

    /// A fixed answer; a number alone is its status.
    RespondKeys "a fixed answer" {
        /// 200 to 599.
        status: Status = Status(200);
        /// Media type of the body.
        content_type: String = "text/plain; charset=utf-8".to_owned();
        /// Sent as it stands.
        body: String = String::new();
    }

    /// How long clients may take.
    FrontendTimeouts "timeouts of a frontend" {
        /// From the first byte of a request to the end of its header, TLS handshake included; then 408.
        header: Duration = secs(10), ms(10)..=hours(1);
        /// Longest silence of the client within a request body; then 408.
        request: Duration = secs(60), ms(10)..=hours(24);
        /// A connection without a request; a client that takes no bytes of its response.
        idle: Duration = secs(90), ms(10)..=hours(24);
        /// Silence in both directions of an upgraded connection.
        tunnel: Duration = hours(1), ms(10)..=hours(168);
    }

    /// How much clients may send and open.
    Limits "limits" {
        /// Request line and header section of one request; then 431.
        header_bytes: Size = kib(16), kib(1)..=mib(1);
        /// Header fields of one request; then 431.
        header_count: usize = 100, 1..=10_000;
        /// Request target, `8KiB` where absent and never above header_bytes; then 414.
        uri_length: Size, Size(64)..=mib(1);
        /// Request body; any where absent; then 413.
        body_bytes: Size;
        /// Concurrent client connections; any where absent; further ones wait.
        connections: u32, 1..;
        /// Concurrent connections of one client address; any where absent; further ones are closed.
        connections_per_client: u32, 1..;
        /// HTTP/2: concurrent streams of a connection.
        h2_streams: u32 = 128, 1..=10_000;
        /// HTTP/2: streams reset before they were answered, pending at once, before the connection ends.
        h2_resets: u32 = 50, 1..=10_000;
    }

    /// A set of backends with a scheduler and a health check.
    Pool "a pool" {
        /// How a backend is chosen; `random` is of layer 7.
        scheduler: Scheduler = Scheduler::RoundRobin;
        /// `h2` is HTTP/2 over TLS, `h2c` is HTTP/2 in clear text.
        protocol: Protocol = Protocol::Http1;
        /// Present: backends speak TLS.
        tls: PoolTls;
        /// How backends are checked; not at all where absent.
        check: Check;
        /// How long backends may take.
        timeouts: PoolTimeouts;
        /// When a failed request is tried again.
        retry: Retry;
        /// Requests that may wait for a free slot of a backend; then 503.
        max_queue: usize = 1024, 0..=1_000_000;
        /// Idle connections kept per backend and worker.
        max_idle: usize = 1024, 0..=100_000;
        /// Name lb in the Via field of requests. Some backends compress nothing where they see one.
        via: bool = true;
        /// `address:port`, or a mapping for more; in layer 4 the port may be left to the frontend.
        backends: List<BackendEntry>;
        /// Used when no backend of `backends` is available.
        backup: List<BackendEntry>;
    }

    /// TLS towards backends.
    PoolTls "tls of a pool" {
        /// PEM file: authorities to trust; the system's where absent.
        ca: PathBuf;
        /// Name that is asked for and verified; the backend's address where absent.
        server_name: String;
        /// `false` accepts any certificate.
        verify: bool = true;
        /// Shown to backends that ask for a certificate.
        client: Certificate;
    }

    /// How long backends may take.
    PoolTimeouts "timeouts of a pool" {
        /// TCP and TLS handshake.
        connect: Duration = secs(5), ms(1)..=hours(1);
        /// Longest silence of a backend that owes a response; 504 before its header.
        response: Duration = secs(60), ms(1)..=hours(24);
        /// Wait for a slot when every backend is at max_connections; then 503.
        queue: Duration = secs(10), ms(1)..=hours(1);
        /// An unused connection is closed after this.
        idle: Duration = secs(60), ms(1)..=hours(24);
    }

    /// When a failed request is tried again.
    Retry "retry" {
        /// Further tries of one request.
        attempts: u32 = 2, 0..=10;
        /// Retries at most, of all requests of the pool.
        budget: Percent = Percent(20), Percent(0)..=Percent(100);
    }

    /// One server of a pool.
    Backend "a backend" {
        /// IP address and port; without port, in layer 4, the frontend's.
        address: BackendAddress;
        /// Name in metrics and on the command line; the address where absent.
        name: String;
        /// Share of new requests and flows; 0 takes none.
        weight: u16 = 1;
        /// Concurrent requests; any where absent.
        max_connections: u32, 1..;
        /// `drain`: no new requests and flows; `maint`: not checked either.
        state: AdminState = AdminState::Ready;
    }

    /// A health check. Exactly one of tcp, http, https, udp, script.
    Check "a check" {
        /// Connect.
        tcp: TcpProbe;
        /// Ask for a page.
        http: HttpProbe;
        /// Ask for a page over TLS.
        https: HttpProbe;
        /// Send a datagram and wait for one.
        udp: UdpProbe;
        /// Program and arguments, no shell; exit code 0 is success.
        script: OneOrMore<String>;
        /// Instead of the backend's own port.
        port: u16, 1..;
        /// Between two checks of a backend.
        interval: Duration = secs(2), ms(10)..=hours(1);
        /// A check that takes longer has failed; where absent `1s`, or half the interval if that is shorter.
        timeout: Duration, ms(1)..=hours(1);
        /// Successes in a row that turn Down into Up.
        rise: u32 = 2, 1..=100;
        /// Failures in a row that turn Up into Down.
        fall: u32 = 3, 1..=100;
        /// Before the first results; `unknown` takes requests.
        initial: InitialHealth = InitialHealth::Unknown;
    }

    /// A request and what makes its answer good.
    HttpProbe "an http probe" {
        /// Method of the request.
        method: Method = Method("GET".to_owned());
        /// Target of the request.
        path: String = "/".to_owned();
        /// Host field; the backend's address where absent.
        host: String;
        /// Good status codes: `200`, `200-299`, or a list; `200-399` where absent.
        expect: OneOrMore<StatusRange>;
        /// Looked for in the first 64 KiB of the body.
        body_contains: String;
    }

    /// A datagram and what makes its answer good. One of send, send_hex.
    UdpProbe "a udp probe" {
        /// Text to send.
        send: String;
        /// Bytes to send.
        send_hex: Hex;
        /// Text that the answer must hold; `any` takes every answer, as does nothing.
        expect: String;
        /// Bytes that the answer must hold.
        expect_hex: Hex;
    }

    /// What all frontends of layer 4 share.
    L4 "l4" {
        /// Where in the kernel packets are taken; `auto`: XDP where driver and peers allow it and it loses no speed, else tc.
        attach: Attach = Attach::Auto;
        /// Network interfaces that packets arrive on, of clients and of backends; found out where absent.
        interfaces: List<String>;
        /// Entries of the flow table, about 150 bytes each and for each direction; allocated at the start.
        flows: u32 = 1_000_000, 1024..=100_000_000;
        /// For each core; above it flows are forwarded by hash without an entry, where the mode allows.
        new_flows_per_second: u32 = 500_000, 1..;
        /// Local ports of flows whose client address is replaced.
        snat_ports: PortRange = PortRange(1024..=32767);
        /// When a flow without packets is forgotten.
        timeouts: FlowTimeouts;
    }

    /// A flow without packets is forgotten after these, by its state, or up to an eighth later.
    FlowTimeouts "timeouts of flows" {
        /// TCP, established.
        established: Duration = secs(15 * 60), ms(100)..=hours(168);
        /// TCP, not established yet.
        syn: Duration = secs(60), ms(100)..=hours(1);
        /// TCP, closed by one side or by both.
        fin: Duration = secs(120), ms(100)..=hours(24);
        /// TCP, reset.
        close: Duration = secs(10), ms(100)..=hours(1);
        /// UDP.
        udp: Duration = secs(300), ms(100)..=hours(168);
    }

    /// How a changed file and a stop are carried out.
    Reload "reload" {
        /// How long old connections may take to finish.
        drain_timeout: Duration = secs(60), ms(1)..=hours(24);
        /// Reload by itself when the file changes.
        watch: bool = false;
    }

    /// The Prometheus endpoint.
    MetricsKeys "metrics" {
        /// Address and port.
        listen: MetricsListen = MetricsListen::LOOPBACK;
    }

    /// Where `lb status` and the other verbs reach a running lb.
    Admin "admin" {
        /// Unix socket, mode 0660.
        socket: PathBuf = PathBuf::from("/run/lb/admin.sock");
    }

    /// What is logged, and where.
    Log "log" {
        /// The least important messages that are logged.
        level: LogLevel = LogLevel::Info;
        /// Of the messages; the access log has its own.
        format: LogFormat = LogFormat::Text;
        /// A file, `stdout` or `none`; a mapping for more.
        access: Access;
    }

    /// The access log.
    AccessKeys "access log" {
        /// A file, or `stdout`.
        path: AccessPath;
        /// One line for each request.
        format: AccessFormat = AccessFormat::Json;
    }

    /// A machine that shares this file.
    Node "a node" {
        /// Its own address, by which the other nodes reach it; never one that moves between them.
        address: Address;
        /// A second one, where `address` is IPv4.
        address6: Address;
        /// The highest one is active; 255 owns the addresses.
        priority: u8 = DEFAULT_PRIORITY, 1..;
    }

    /// Addresses that one node holds and the others take over (VRRP, RFC 9568).
    VirtualRouter "a virtual router" {
        /// Network interface of the addresses.
        interface: String;
        /// Number of the virtual router; nobody else in its network may have it.
        vrid: u8, 1..;
        /// 3, or 2 for peers that know nothing newer (RFC 3768).
        version: u8 = 3, 2..=3;
        /// Between two adverts. Version 3: from 10ms to 40950ms in steps of 10ms, `100ms` where absent. Version 2: whole seconds, `1s` where absent. Others take over after a little more than three.
        interval: Duration;
        /// A number, or a mapping from names of nodes: instead of the priority that `nodes` gives them.
        priority: Priority;
        /// How long to wait before taking over from a lower priority, or `never`.
        preempt_delay: PreemptDelay = PreemptDelay::After(Duration::ZERO);
        /// `unicast` to every other node, or `multicast`. Unicast where absent and all nodes have an address of the family.
        peers: VrrpPeers;
        /// All of one family; `203.0.113.10/24` brings the route to its network along, without prefix length it is a single address.
        addresses: List<VirtualAddress>;
        /// How the addresses are announced.
        garp: Garp;
        /// What lowers the priority, or makes the node unfit.
        track: List<Track>;
        /// Virtual routers of one group are active together, or not at all.
        group: String;
        /// Who may speak: nobody is asked where absent.
        auth: Auth;
        /// The addresses stand on an interface of their own (macvlan), with the MAC address of the virtual router.
        virtual_mac: bool = false;
        /// `false`: what is sent to the addresses themselves is dropped, as RFC 9568 has it for routers. Layer 4 takes its packets before.
        accept: bool = true;
        /// Version 3 over IPv4. What a checksum covers that is sent: keepalived and FRR want a pseudo-header, RFC 9568 has none. Both are accepted.
        checksum: Checksum = Checksum::PseudoHeader;
        /// Program and arguments, no shell: run on each change of role.
        notify: OneOrMore<String>;
    }

    /// Gratuitous ARP, and for IPv6 unsolicited neighbour advertisements.
    Garp "garp" {
        /// For each address at once.
        repeat: u8 = 5, 1..=100;
        /// As many again after this, or `off`.
        again: Every = Every::Time(secs(5)), Every::Time(ms(100))..=Every::Off;
        /// Between two of them, of whichever address; for switches and neighbours that a thousand at once are too many for.
        spacing: Duration = Duration::ZERO, Duration::ZERO..=secs(1);
        /// One for each address ever so often, or `off`.
        refresh: Every = Every::Time(secs(60)), Every::Time(secs(1))..=Every::Off;
    }

    /// What lowers the priority of a virtual router. One of interface, pool, script.
    Track "a tracker" {
        /// Down while this network interface is.
        interface: String;
        /// Down while this pool has fewer available backends than `below`.
        pool: String;
        /// With pool. Available backends, those of `backup` included.
        below: usize = 1, 1..;
        /// Program and arguments, no shell; exit code 0 is up.
        script: OneOrMore<String>;
        /// With script. Between two runs.
        interval: Duration = secs(5), ms(100)..=hours(1);
        /// With script. A run that takes longer has failed; half the interval where absent.
        timeout: Duration, ms(10)..=hours(1);
        /// With script. Successes in a row that turn down into up.
        rise: u32 = 2, 1..=100;
        /// With script. Failures in a row that turn up into down.
        fall: u32 = 2, 1..=100;
        /// Below zero: added to the priority while down. Above zero: added while up. Where absent, down is a fault: the node cannot be active.
        weight: i16, -254..=254;
    }

    /// Who may speak. One of password, hmac.
    Auth "auth" {
        /// Version 2. Up to 8 characters, in clear in every advert: it tells networks apart, and protects nothing.
        password: String;
        /// Version 3. Adverts are signed, as keepalived 2.4 does with `auth_hmac`.
        hmac: Hmac;
    }

    /// Signed adverts.
    Hmac "hmac" {
        /// More than one while they are being replaced.
        keys: List<HmacKey>;
        /// The id of the key that signs; the first one where absent.
        active: u8;
        /// How far the clocks of two nodes may be apart.
        window: Duration = secs(30), secs(1)..=hours(1);
        /// `false` also takes adverts that are not signed, while nodes are being converted.
        required: bool = true;
    }

    /// A key that the nodes share.
    HmacKey "a key" {
        /// Tells keys apart.
        id: u8;
        /// File with 32 to 64 bytes; line breaks at its end do not count.
        secret_file: PathBuf;
    }

    /// What the nodes tell each other besides VRRP.
    Sync "sync" {
        /// UDP, on the nodes' own addresses.
        port: u16 = 9619, 1..;
        /// File with something that only the nodes know: datagrams are signed. Without one, they are believed from the nodes' addresses on the same network.
        secret_file: PathBuf;
        /// Flows of layer 4 are known to all nodes, and go on when another one takes over.
        flows: bool = true;
    }
}
