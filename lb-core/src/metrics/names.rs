//! Every metric of lb in one table. A test fails on one that nothing ever moves.

/// How a metric behaves, as Prometheus words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Sum and count only.
    Summary,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// In the order in which values are given.
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*

        /// The whole table.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    BUILD_INFO = Gauge "lb_build_info" ["version"]
        "Always 1; the label says which lb this is.";
    CONFIG_INFO = Gauge "lb_config_info" ["sha256"]
        "Always 1; the label is the SHA-256 of the configuration file that serves.";
    CONFIG_GENERATION = Gauge "lb_config_generation" []
        "Configurations applied since the start, the first one included.";
    CONFIG_RELOADS = Counter "lb_config_reloads_total" ["result"]
        "Reloads by result: applied or refused.";
    CONFIG_LAST_RELOAD_SUCCESSFUL = Gauge "lb_config_last_reload_successful" []
        "1 unless the last reload was refused.";
    CONFIG_LAST_RELOAD_DURATION = Gauge "lb_config_last_reload_duration_seconds" []
        "How long the last reload took, from reading the file to its last change; 0 before the first one.";
    CONFIG_LAST_RELOAD_TIMESTAMP = Gauge "lb_config_last_reload_timestamp_seconds" []
        "When the last reload ended, or lb started, as Unix time.";
    LOG_DROPPED = Counter "lb_log_dropped_total" []
        "Log lines dropped because standard error took no more.";
    ACCESS_LOG_DROPPED = Counter "lb_access_log_dropped_total" []
        "Access log lines dropped because the file or standard output took no more.";

    FRONTEND_CONNECTIONS_ACTIVE = Gauge "lb_frontend_connections_active" ["frontend"]
        "Client connections that are open.";
    FRONTEND_CONNECTIONS = Counter "lb_frontend_connections_total" ["frontend"]
        "Client connections accepted.";
    FRONTEND_CONNECTIONS_REFUSED = Counter "lb_frontend_connections_refused_total" ["frontend", "reason"]
        "Client connections closed before they were served: client_limit (connections_per_client) or descriptors (none left).";
    FRONTEND_BYTES = Counter "lb_frontend_bytes_total" ["frontend", "direction"]
        "Bytes received from (in) and sent to (out) clients; in layer 4 with IP headers, and without what backends answer past lb.";
    FRONTEND_HTTP_REQUESTS = Counter "lb_frontend_http_requests_total" ["frontend", "code"]
        "Requests by class of the status code they were answered with.";
    FRONTEND_HTTP_REQUEST_DURATION = Histogram "lb_frontend_http_request_duration_seconds" ["frontend"]
        "From the first byte of a request (HTTP/2: its header section) to the end of its response.";
    FRONTEND_BAD_REQUESTS = Counter "lb_frontend_bad_requests_total" ["frontend"]
        "Requests that broke the protocol.";
    FRONTEND_TLS_HANDSHAKES = Counter "lb_frontend_tls_handshakes_total" ["frontend", "resumed"]
        "TLS handshakes that succeeded, by whether they resumed an earlier session.";
    FRONTEND_TLS_FAILURES = Counter "lb_frontend_tls_failures_total" ["frontend"]
        "TLS handshakes that failed.";
    FRONTEND_FLOWS_ACTIVE = Gauge "lb_frontend_flows_active" ["frontend"]
        "Flows of layer 4 that the table holds.";
    FRONTEND_FLOWS = Counter "lb_frontend_flows_total" ["frontend"]
        "New flows of layer 4 that were given a backend.";
    FRONTEND_PACKETS = Counter "lb_frontend_packets_total" ["frontend", "direction"]
        "Packets of layer 4 from (in) and to (out) clients; what backends answer past lb is not seen.";
    TLS_CERTIFICATE_NOT_AFTER = Gauge "lb_tls_certificate_not_after_timestamp_seconds" ["frontend", "certificate"]
        "When a certificate that a frontend serves expires, as Unix time.";

    POOL_BACKENDS = Gauge "lb_pool_backends" ["pool", "role"]
        "Backends of the file, by role: primary or backup.";
    POOL_BACKENDS_AVAILABLE = Gauge "lb_pool_backends_available" ["pool", "role"]
        "Backends that may be given new requests: not Down, Ready, weight above 0.";
    POOL_REQUESTS = Counter "lb_pool_requests_total" ["pool"]
        "Requests routed to the pool.";
    POOL_RETRIES = Counter "lb_pool_retries_total" ["pool"]
        "Further tries of requests whose first backend failed.";
    POOL_RETRIES_REFUSED = Counter "lb_pool_retries_refused_total" ["pool"]
        "Retries that the budget did not allow.";
    POOL_QUEUED = Gauge "lb_pool_queued" ["pool"]
        "Requests that wait for a backend below its max_connections.";
    POOL_QUEUE_TIMEOUTS = Counter "lb_pool_queue_timeouts_total" ["pool"]
        "Requests that waited for a backend until the queue timeout.";
    POOL_QUEUE_OVERFLOWS = Counter "lb_pool_queue_overflows_total" ["pool"]
        "Requests turned away because max_queue others waited already.";
    POOL_NO_BACKEND = Counter "lb_pool_no_backend_total" ["pool"]
        "Requests for which no backend was available.";

    BACKEND_UP = Gauge "lb_backend_up" ["pool", "backend"]
        "0 when health checks found the backend Down, else 1.";
    BACKEND_AVAILABLE = Gauge "lb_backend_available" ["pool", "backend"]
        "1 when the backend may be given new requests: not Down, Ready, weight above 0.";
    BACKEND_WEIGHT = Gauge "lb_backend_weight" ["pool", "backend"]
        "The configured weight.";
    BACKEND_CONNECTIONS_ACTIVE = Gauge "lb_backend_connections_active" ["pool", "backend"]
        "Connections to the backend that are open, idle ones included.";
    BACKEND_CONNECTIONS = Counter "lb_backend_connections_total" ["pool", "backend"]
        "Connections made to the backend.";
    BACKEND_REQUESTS_ACTIVE = Gauge "lb_backend_requests_active" ["pool", "backend"]
        "Requests in flight.";
    BACKEND_REQUESTS = Counter "lb_backend_requests_total" ["pool", "backend"]
        "Requests sent to the backend, retries included.";
    BACKEND_HTTP_RESPONSES = Counter "lb_backend_http_responses_total" ["pool", "backend", "code"]
        "Responses by class of their status code; classes that never occurred are left out.";
    BACKEND_CONNECT_FAILURES = Counter "lb_backend_connect_failures_total" ["pool", "backend"]
        "Connections that could not be made, TLS included.";
    BACKEND_RESPONSE_FAILURES = Counter "lb_backend_response_failures_total" ["pool", "backend"]
        "Requests that the backend failed: connection lost, protocol broken, or too late.";
    BACKEND_BYTES = Counter "lb_backend_bytes_total" ["pool", "backend", "direction"]
        "Bytes received from (in) and sent to (out) the backend.";
    BACKEND_FLOWS_ACTIVE = Gauge "lb_backend_flows_active" ["pool", "backend"]
        "Flows of layer 4 that the table holds.";
    BACKEND_FLOWS = Counter "lb_backend_flows_total" ["pool", "backend"]
        "New flows of layer 4 that the backend was given.";
    BACKEND_PACKETS = Counter "lb_backend_packets_total" ["pool", "backend", "direction"]
        "Packets of layer 4 forwarded from (in) and to (out) the backend; what it answers past lb is not seen.";
    BACKEND_FORWARDED_BYTES = Counter "lb_backend_forwarded_bytes_total" ["pool", "backend", "direction"]
        "Bytes of layer 4 forwarded from (in) and to (out) the backend, IP headers included.";
    BACKEND_CHECK_DURATION = Summary "lb_backend_check_duration_seconds" ["pool", "backend"]
        "Health checks made and the time they took.";
    BACKEND_CHECK_FAILURES = Counter "lb_backend_check_failures_total" ["pool", "backend", "reason"]
        "Health checks that failed, by reason; reasons that never occurred are left out.";
    BACKEND_HEALTH_TRANSITIONS = Counter "lb_backend_health_transitions_total" ["pool", "backend"]
        "Changes of the observed health.";

    L4_FLOWS = Gauge "lb_l4_flows" []
        "Entries of the flow table in use; a flow with replies through lb has two.";
    L4_FLOWS_CAPACITY = Gauge "lb_l4_flows_capacity" []
        "Entries that the flow table has.";
    L4_FLOW_EVICTIONS = Counter "lb_l4_flow_evictions_total" ["reason"]
        "Flows that gave way to a new one before their time.";
    L4_DROPS = Counter "lb_l4_drops_total" ["reason"]
        "Packets of frontends of layer 4 that were dropped.";
    L4_FLOWS_BY_STATE = Gauge "lb_l4_flows_by_state" ["state"]
        "Flows by state, as the latest walk over the table found them; one walk takes five seconds.";
    L4_EVENTS = Counter "lb_l4_events_total" ["event"]
        "What else happened to packets of layer 4: forwarded without an entry, adopted in mid-stream, given to another backend, answered with a reset, ...";

    L4_SYNC_FLOWS_SENT = Counter "lb_l4_sync_flows_sent_total" []
        "Flows told to other nodes: new ones, changes, those that go on, and those of dumps.";
    L4_SYNC_FLOWS_RECEIVED = Counter "lb_l4_sync_flows_received_total" []
        "Flows of other nodes that were entered or brought up to date.";
    L4_SYNC_ERRORS = Counter "lb_l4_sync_errors_total" ["reason"]
        "What went wrong between nodes: datagrams lost (and asked for again), flows that could not be entered (unknown_backend: the configurations differ), dumps given up.";
    L4_SYNC_READY = Gauge "lb_l4_sync_ready" []
        "1 when this node knows the flows of the others, so that it may take over from them.";

    PEER_UP = Gauge "lb_peer_up" ["node"]
        "1 when another node was heard in the last three seconds.";
    PEER_CONFIG_MATCHES = Gauge "lb_peer_config_matches" ["node"]
        "1 when another node said last that it runs the configuration file of this one.";
    PEER_SPLIT_BRAIN = Gauge "lb_peer_split_brain" ["node"]
        "Virtual routers that another node has been active for, beside this one, for three seconds.";
    PEER_MESSAGES_SENT = Counter "lb_peer_messages_sent_total" ["node"]
        "Datagrams sent to another node.";
    PEER_MESSAGES_RECEIVED = Counter "lb_peer_messages_received_total" ["node"]
        "Datagrams of another node that were taken.";
    PEER_ERRORS = Counter "lb_peer_errors_total" ["reason"]
        "Datagrams on the port of the nodes that were refused.";

    VRRP_ACTIVE = Gauge "lb_vrrp_active" ["virtual_router"]
        "1 while this node holds the addresses.";
    VRRP_EFFECTIVE_PRIORITY = Gauge "lb_vrrp_effective_priority" ["virtual_router"]
        "The configured priority with the weights of what is tracked.";
    VRRP_TRANSITIONS = Counter "lb_vrrp_transitions_total" ["virtual_router", "to"]
        "Changes of role, by the role that was taken up.";
    VRRP_ADVERTS_SENT = Counter "lb_vrrp_adverts_sent_total" ["virtual_router"]
        "Adverts sent; one to several peers counts once.";
    VRRP_ADVERTS_RECEIVED = Counter "lb_vrrp_adverts_received_total" ["virtual_router"]
        "Valid adverts of other nodes.";
    VRRP_ADVERT_ERRORS = Counter "lb_vrrp_advert_errors_total" ["virtual_router", "reason"]
        "Packets that were dropped: they changed nothing.";
    VRRP_SEND_FAILURES = Counter "lb_vrrp_send_failures_total" ["virtual_router"]
        "Adverts that could not be sent to anybody.";
    VRRP_ANNOUNCEMENTS = Counter "lb_vrrp_announcements_total" ["virtual_router"]
        "Gratuitous ARP requests and unsolicited neighbour advertisements sent.";
    VRRP_NOTICES = Counter "lb_vrrp_notices_total" ["virtual_router", "notice"]
        "What was odd about the other nodes or the network.";
    VRRP_STRANGERS = Counter "lb_vrrp_strangers_total" []
        "VRRP packets of virtual routers that this node does not have.";
    VRRP_LATENESS = Histogram "lb_vrrp_lateness_seconds" []
        "How much later than its timers asked for lb's own VRRP thread could run.";

    PROCESS_CPU_SECONDS = Counter "process_cpu_seconds_total" []
        "User and system time used.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" []
        "Open file descriptors.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" []
        "Limit of open file descriptors.";
    PROCESS_RESIDENT_MEMORY = Gauge "process_resident_memory_bytes" []
        "Memory in RAM.";
    PROCESS_VIRTUAL_MEMORY = Gauge "process_virtual_memory_bytes" []
        "Address space.";
    PROCESS_THREADS = Gauge "process_threads" []
        "Threads of the process.";
    PROCESS_START_TIME = Gauge "process_start_time_seconds" []
        "When the process started, as Unix time.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_prometheus_rules() {
        let mut seen = std::collections::HashSet::new();
        for metric in ALL {
            assert!(seen.insert(metric.name), "{} is there twice", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
