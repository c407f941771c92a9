"""Medians, ratios and tables."""

import statistics

from common.report import NO_VERDICT, spread, table, verdict

ESTABLISHED, NEW = "established", "new"
TARGETS = {ESTABLISHED: 3.5, NEW: 2.2}
"""How many times nftables' rate lb must reach, with the contender that is judged."""
JUDGED, REFERENCE = "lb-xdp-nat", "nftables"


def net(price):
    return price["gross"] - price["harness"]


def prices_table(cases, prices):
    rows = []
    for case, rounds in zip(cases, prices, strict=True):
        values = [net(price) for price in rounds]
        middle = statistics.median(values)
        harness = statistics.median(price["harness"] for price in rounds)
        numbers = [f"{middle:.1f}", f"{min(values):.1f}", f"{spread(values):.0%}", f"{harness:.1f}"]
        met = verdict(f"≤ {case.target}", middle <= case.target) if case.target else NO_VERDICT
        rows.append([case.title, *numbers, *met])
    return table(["case", "ns / packet", "best round", "±", "harness, ns", "target", ""], rows)


def rates(rounds):
    """Packets per second that arrived, round by round."""
    return [measured["right"] / measured["seconds"] for measured in rounds]


def ratio(results, contender, kind):
    """To the reference, within each round, because what disturbs a round disturbs everybody in it."""
    own, other = (rates(results[name][kind]) for name in (contender, REFERENCE))
    return statistics.median(a / b for a, b in zip(own, other, strict=True))


def throughput_table(contenders, results):
    head = ["", "established, packets/s", "±", "new flows/s", "±", "lost", "target", ""]
    rows = []
    for contender in contenders:
        cells, targets, met = [], [], True
        for kind in (ESTABLISHED, NEW):
            values = rates(results[contender.name][kind])
            times = ratio(results, contender.name, kind) if REFERENCE in results else None
            cells += [f"{statistics.median(values):,.0f}" + (f" ({times:.2f})" if times else ""), f"{spread(values):.0%}"]
            if contender.name == JUDGED and times:
                targets.append(str(TARGETS[kind]))
                met &= times >= TARGETS[kind]
        target = verdict("≥ " + " and ".join(targets), met) if targets else NO_VERDICT
        rows.append([contender.title, *cells, f"{lost(results[contender.name]):.1%}", *target])
    return table(head, rows)


def control_table(steps):
    rows = []
    for step in steps:
        values = step["milliseconds"]
        rows.append([step["title"], f"{statistics.median(values):.2f}", f"{spread(values):.0%}"])
    return table(["step", "ms", "±"], rows)


def lost(kinds):
    sent = sum(measured["sent"] for rounds in kinds.values() for measured in rounds)
    return 1 - sum(measured["right"] for rounds in kinds.values() for measured in rounds) / sent
