"""From instructions of whole runs to instructions per packet, ratios and a table."""

import statistics

from common.report import spread, table

from .contenders import BY_NAME

KINDS = {"established": "established", "new": "new flow"}


def per_packet(measurements, contender, kind):
    """Round by round, with the generator and the sink."""
    found = [one for one in measurements if (one["contender"], one["kind"]) == (contender, kind)]
    return [one["instructions"] / one["sent"] for one in found]


def net(measurements, contender, kind):
    """Round by round, without them."""
    own = per_packet(measurements, contender, kind)
    if BY_NAME[contender].alone:
        return own
    alone = statistics.median(per_packet(measurements, BY_NAME[contender].inside, kind))
    return [instructions - alone for instructions in own]


def instructions_table(measurements):
    measured = list(dict.fromkeys(one["contender"] for one in measurements))
    head = [""]
    for title in KINDS.values():
        head += [f"{title}, instructions/packet", "of IPVS", "±"]
    return table(head, [row(measurements, BY_NAME[name], measured) for name in measured])


def row(measurements, contender, measured):
    cells = [contender.title]
    for kind in KINDS:
        values = net(measurements, contender.name, kind)
        times = ratio(measurements, contender, kind, measured)
        cells += [f"{statistics.median(values):,.0f}", times, f"{spread(values):.1%}"]
    return cells


def ratio(measurements, contender, kind, measured):
    if contender.alone or contender.reference not in measured:
        return ""
    own, other = (statistics.median(net(measurements, name, kind)) for name in (contender.name, contender.reference))
    return f"{own / other:.2f}"
