"""Medians, ratios to the better peer, and the table."""

import statistics

from common.report import NO_VERDICT, spread, table, verdict

METRICS = ["cpu_per_100k", "requests_per_second", "p50_us", "p99_us", "pss"]
IDLE_METRICS = ["rss_per_connection", "pss_per_connection", "rss"]
HIGHER_IS_BETTER = {"requests_per_second"}


def summarise(case, rows, peers):
    """`rows`: proxy -> list of measurements, or a string that says why the row is void."""
    metrics = IDLE_METRICS if case.idle else METRICS
    measured = {proxy: row for proxy, row in rows.items() if isinstance(row, list)}
    medians = {proxy: {m: median(row, m) for m in metrics} for proxy, row in measured.items()}
    return {
        "case": case.name,
        "title": case.title,
        "target": case.target,
        "medians": medians,
        "spread": {proxy: spread([one[metrics[0]] for one in row]) for proxy, row in measured.items()},
        "ratios": {proxy: ratios(rows, medians, proxy, peers, metrics) for proxy in medians},
        "void": {proxy: row for proxy, row in rows.items() if proxy not in measured},
        "rounds": measured,
    }


def median(rows, metric):
    return statistics.median(row[metric] for row in rows)


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


def versions(environment):
    return "; ".join(value for value in environment["versions"].values() if value)


def tables(summaries):
    busy = [s for s in summaries if "idle" not in s["case"]]
    idle = [s for s in summaries if "idle" in s["case"]]
    return [
        f"{LEGEND}\n\n{table(BUSY_HEAD, rows(busy, busy_cells))}" if busy else "",
        table(IDLE_HEAD, rows(idle, idle_cells)) if idle else "",
    ]


def rows(summaries, cells):
    found = []
    for summary in summaries:
        measured = summary["medians"]
        found += [[summary["title"], proxy, *cells(summary, proxy)] for proxy in measured]
        found += [[summary["title"], proxy, f"void: {why}"] for proxy, why in summary["void"].items()]
    return found


LEGEND = "Each cell: the median, and in brackets the ratio to the better of the two peers (median of the rounds)."
BUSY_HEAD = ["case", "proxy", "CPU s / 100k requests", "±", "requests/s", "p50 ms", "p99 ms", "PSS MiB", "target", ""]
IDLE_HEAD = ["case", "proxy", "RSS KiB / connection", "PSS KiB / connection", "RSS MiB", "target", ""]


def busy_cells(summary, proxy):
    values, ratio = summary["medians"][proxy], summary["ratios"][proxy]
    return [
        cell(values["cpu_per_100k"], ratio["cpu_per_100k"], 3),
        f"{summary['spread'][proxy]:.1%}",
        cell(values["requests_per_second"], ratio["requests_per_second"], 0),
        cell(values["p50_us"] / 1000, ratio["p50_us"], 2),
        cell(values["p99_us"] / 1000, ratio["p99_us"], 2),
        cell(values["pss"] / (1 << 20), ratio["pss"], 1),
        *judged(summary, proxy, ratio["cpu_per_100k"]),
    ]


def idle_cells(summary, proxy):
    values, ratio = summary["medians"][proxy], summary["ratios"][proxy]
    each = values["rss_per_connection"] / 1024
    return [
        cell(each, ratio["rss_per_connection"], 2),
        cell(values["pss_per_connection"] / 1024, ratio["pss_per_connection"], 2),
        cell(values["rss"] / (1 << 20), ratio["rss"], 1),
        *judged(summary, proxy, each),
    ]


def cell(value, ratio, digits):
    return f"{value:,.{digits}f}" + ("" if ratio is None else f" ({ratio:.2f})")


def judged(summary, proxy, value):
    if proxy != "lb" or summary["target"] is None or value is None:
        return NO_VERDICT
    return verdict(f"≤ {summary['target']}", value <= summary["target"])
