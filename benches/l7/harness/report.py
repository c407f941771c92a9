"""Medians, ratios to the better peer, and the table."""

import datetime
import json
import os
import statistics

METRICS = ["cpu_per_100k", "requests_per_second", "p50_us", "p99_us", "pss"]
IDLE_METRICS = ["rss_per_connection", "pss_per_connection", "rss"]
HIGHER_IS_BETTER = {"requests_per_second"}


def summarise(case, rows, peers):
    """`rows`: proxy -> list of measurements, or a string that says why the row is void."""
    metrics = IDLE_METRICS if case.idle else METRICS
    medians = {proxy: {m: median(row, m) for m in metrics} for proxy, row in rows.items() if isinstance(row, list)}
    spread = {proxy: spread_of(row, metrics[0]) for proxy, row in rows.items() if isinstance(row, list)}
    return {
        "case": case.name,
        "title": case.title,
        "target": case.target,
        "medians": medians,
        "spread": spread,
        "ratios": {proxy: ratios(rows, medians, proxy, peers, metrics) for proxy in medians},
        "void": {proxy: row for proxy, row in rows.items() if not isinstance(row, list)},
        "rounds": {proxy: row for proxy, row in rows.items() if isinstance(row, list)},
    }


def median(rows, metric):
    return statistics.median(row[metric] for row in rows)


def spread_of(rows, metric):
    """Half the range between the best and the worst round, as a share of the median."""
    values = [row[metric] for row in rows]
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0


def ratios(rows, medians, proxy, peers, metrics):
    """To the better of the peers (by medians), metric by metric: the median of the ratios within each round, because
    what disturbs a round disturbs everybody in it."""
    result = {}
    for metric in metrics:
        others = [peer for peer in peers if peer in medians]
        best = (max if metric in HIGHER_IS_BETTER else min)(others, key=lambda p: medians[p][metric], default=None)
        pairs = zip(rows[proxy], rows[best], strict=True) if best else []
        paired = [own[metric] / other[metric] for own, other in pairs if other[metric]]
        result[metric] = statistics.median(paired) if paired else None
    return result


def environment(versions, settings):
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": os.uname().release,
        "cpu": cpu_model(),
        "versions": versions,
        "settings": settings,
    }


def cpu_model():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")


def markdown(environment_, summaries):
    versions = "; ".join(value for value in environment_["versions"].values() if value)
    settings = ", ".join(f"{key} {value}" for key, value in environment_["settings"].items())
    head = [
        f"{environment_['date']}, Linux {environment_['kernel']}, {environment_['cpu']}",
        f"{versions}",
        f"{settings}",
    ]
    busy = [s for s in summaries if "idle" not in s["case"]]
    idle = [s for s in summaries if "idle" in s["case"]]
    tables = ([busy_table(busy)] if busy else []) + ([idle_table(idle)] if idle else [])
    return "\n\n".join(["  \n".join(head), *tables]) + "\n"


def busy_table(summaries):
    lines = [
        "Each cell: the median, and in brackets the ratio to the better of the two peers (median of the rounds).",
        "",
        "| case | proxy | CPU s / 100k requests | ± | requests/s | p50 ms | p99 ms | PSS MiB | target | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for summary in summaries:
        lines += [busy_row(summary, proxy) for proxy in summary["medians"]]
        lines += [f"| {summary['title']} | {proxy} | void: {why} |||||||||" for proxy, why in summary["void"].items()]
    return "\n".join(lines)


def busy_row(summary, proxy):
    values, ratio = summary["medians"][proxy], summary["ratios"][proxy]
    cells = [
        cell(values["cpu_per_100k"], ratio["cpu_per_100k"], 3),
        f"{summary['spread'][proxy]:.1%}",
        cell(values["requests_per_second"], ratio["requests_per_second"], 0),
        cell(values["p50_us"] / 1000, ratio["p50_us"], 2),
        cell(values["p99_us"] / 1000, ratio["p99_us"], 2),
        cell(values["pss"] / (1 << 20), ratio["pss"], 1),
        *verdict(summary, proxy, ratio["cpu_per_100k"]),
    ]
    return f"| {summary['title']} | {proxy} | " + " | ".join(cells) + " |"


def idle_table(summaries):
    lines = [
        "| case | proxy | RSS KiB / connection | PSS KiB / connection | RSS MiB | target | |",
        "|---|---|---|---|---|---|---|",
    ]
    for summary in summaries:
        lines += [idle_row(summary, proxy) for proxy in summary["medians"]]
        lines += [f"| {summary['title']} | {proxy} | void: {why} |||||" for proxy, why in summary["void"].items()]
    return "\n".join(lines)


def idle_row(summary, proxy):
    values, ratio = summary["medians"][proxy], summary["ratios"][proxy]
    each = values["rss_per_connection"] / 1024
    cells = [
        cell(each, ratio["rss_per_connection"], 2),
        cell(values["pss_per_connection"] / 1024, ratio["pss_per_connection"], 2),
        cell(values["rss"] / (1 << 20), ratio["rss"], 1),
        *verdict(summary, proxy, each),
    ]
    return f"| {summary['title']} | {proxy} | " + " | ".join(cells) + " |"


def cell(value, ratio, digits):
    return f"{value:,.{digits}f}" + ("" if ratio is None else f" ({ratio:.2f})")


def verdict(summary, proxy, value):
    if proxy != "lb" or summary["target"] is None or value is None:
        return "", ""
    return f"≤ {summary['target']}", "met" if value <= summary["target"] else "**missed**"


def as_json(environment_, summaries):
    return json.dumps({"environment": environment_, "cases": summaries}, indent=1)
