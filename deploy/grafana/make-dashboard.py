#!/usr/bin/python3
"""Writes lb.json, the dashboard: python3 make-dashboard.py >lb.json"""

import json
import re

# Title, unit, and expressions with their legends.
ROWS = {
    "Pair": [
        ("Active node", "short", [("lb_vrrp_active", "{{virtual_router}} {{instance}}")]),
        ("Effective priority", "short", [("lb_vrrp_effective_priority", "{{virtual_router}} {{instance}}")]),
        ("Changes of role per hour", "short", [("sum by (virtual_router, to) (increase(lb_vrrp_transitions_total[1h]))", "{{virtual_router}} to {{to}}")]),
        ("Adverts received", "pps", [("rate(lb_vrrp_adverts_received_total[$__rate_interval])", "{{virtual_router}} {{instance}}")]),
        ("Dropped adverts", "pps", [("sum by (instance, virtual_router, reason) (rate(lb_vrrp_advert_errors_total[$__rate_interval]))", "{{virtual_router}} {{reason}} {{instance}}")]),
        ("Nodes heard", "short", [("lb_peer_up", "{{node}} by {{instance}}"), ("lb_peer_config_matches", "same file: {{node}}, {{instance}}"), ("lb_peer_split_brain", "active beside {{instance}}: {{node}}")]),
        ("Lateness of the VRRP thread", "s", [("histogram_quantile(0.999, sum by (instance, le) (rate(lb_vrrp_lateness_seconds_bucket[$__rate_interval])))", "99.9 % {{instance}}")]),
    ],
    "Frontends": [
        ("Requests", "reqps", [("sum by (frontend, code) (rate(lb_frontend_http_requests_total[$__rate_interval]))", "{{frontend}} {{code}}")]),
        ("Request duration", "s", [
            ("histogram_quantile(0.5, sum by (frontend, le) (rate(lb_frontend_http_request_duration_seconds_bucket[$__rate_interval])))", "50 % {{frontend}}"),
            ("histogram_quantile(0.99, sum by (frontend, le) (rate(lb_frontend_http_request_duration_seconds_bucket[$__rate_interval])))", "99 % {{frontend}}"),
        ]),
        ("Connections", "short", [("sum by (frontend) (lb_frontend_connections_active)", "{{frontend}}")]),
        ("Bytes", "Bps", [("sum by (frontend, direction) (rate(lb_frontend_bytes_total[$__rate_interval]))", "{{frontend}} {{direction}}")]),
        ("Packets of layer 4", "pps", [("sum by (frontend, direction) (rate(lb_frontend_packets_total[$__rate_interval]))", "{{frontend}} {{direction}}")]),
        ("Certificates expire in", "s", [("lb_tls_certificate_not_after_timestamp_seconds - time()", "{{certificate}} {{instance}}")]),
    ],
    "Pools": [
        ("Available backends", "short", [("sum by (instance, pool) (lb_pool_backends_available)", "{{pool}} {{instance}}")]),
        ("Requests by backend", "reqps", [("sum by (pool, backend) (rate(lb_backend_requests_total[$__rate_interval]))", "{{pool}}/{{backend}}")]),
        ("Failures by backend", "reqps", [
            ("sum by (pool, backend) (rate(lb_backend_connect_failures_total[$__rate_interval]))", "connect {{pool}}/{{backend}}"),
            ("sum by (pool, backend) (rate(lb_backend_response_failures_total[$__rate_interval]))", "response {{pool}}/{{backend}}"),
        ]),
        ("Failed checks", "cps", [("sum by (pool, backend, reason) (rate(lb_backend_check_failures_total[$__rate_interval]))", "{{pool}}/{{backend}} {{reason}}")]),
        ("Retries and waiting requests", "short", [
            ("sum by (pool) (rate(lb_pool_retries_total[$__rate_interval]))", "retries {{pool}}"),
            ("sum by (pool) (lb_pool_queued)", "waiting {{pool}}"),
        ]),
    ],
    "Layer 4 and the process": [
        ("Flow table", "percentunit", [("lb_l4_flows / lb_l4_flows_capacity", "{{instance}}")]),
        ("Dropped packets", "pps", [("sum by (instance, reason) (rate(lb_l4_drops_total[$__rate_interval]))", "{{reason}} {{instance}}")]),
        ("CPU", "percentunit", [("rate(process_cpu_seconds_total{job=~\"$job\"}[$__rate_interval])", "{{instance}}")]),
        ("Memory", "bytes", [("process_resident_memory_bytes{job=~\"$job\"}", "{{instance}}")]),
        ("Configuration", "short", [
            ("lb_config_generation", "generation {{instance}}"),
            ("lb_config_last_reload_successful", "last reload successful {{instance}}"),
        ]),
    ],
}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 8, 7


def panels():
    y = 0
    for row, graphs in ROWS.items():
        yield {"type": "row", "title": row, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []}
        y += 1
        for index, graph in enumerate(graphs):
            yield panel(*graph, x=index % 3 * WIDTH, y=y + index // 3 * HEIGHT)
        y += -(-len(graphs) // 3) * HEIGHT


def panel(title, unit, queries, x, y):
    return {
        "type": "timeseries",
        "title": title,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": DATASOURCE, "expr": of_the_pair(expr), "legendFormat": legend}
            for n, (expr, legend) in enumerate(queries)
        ],
    }


def of_the_pair(expr):
    """Restricts every metric of lb to the job that was chosen."""
    return re.sub(r"\blb_\w+", r'\g<0>{job=~"$job"}', expr)


def main():
    templating = [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        {"name": "job", "type": "query", "datasource": DATASOURCE, "query": "label_values(lb_build_info, job)", "multi": True, "includeAll": True, "refresh": 2},
    ]
    dashboard = {
        "title": "lb",
        "uid": "lb",
        "tags": ["lb"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": templating},
        "panels": [dict(panel, id=n + 1) for n, panel in enumerate(panels())],
    }
    print(json.dumps(dashboard, indent=2))


if __name__ == "__main__":
    main()
