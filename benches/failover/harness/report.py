"""Medians, targets and tables."""

import statistics

from common.report import NO_VERDICT, table, verdict

from . import cases

PEER, OWN = "keepalived", "lb"
RESOLUTION = 1.0
"""ms: a question more or less."""
LIMITS = {("power-off", 10): 40, ("stopped", 10): 5}
"""ms at most, whatever the peer does."""


def gaps(rounds):
    return [measured["gap"] for measured in rounds]


def median(rounds):
    return statistics.median(gaps(rounds))


def failover_table(interval, chosen, results):
    """`results` by case and contender."""
    contenders = names(results)
    head = ["longest gap, ms", *[f"{name}, {word}" for name in contenders for word in ("median", "worst")]]
    rows = []
    for case in chosen:
        found = results.get((case.name, interval), {})
        if not any(found.values()):
            continue
        cells = []
        for name in contenders:
            rounds = found.get(name)
            cells += [f"{median(rounds):.1f}", f"{max(gaps(rounds)):.1f}"] if rounds else ["", ""]
        rows.append([case.title, *cells, *target(case, interval, found)])
    return table([*head, "target", ""], rows)


def names(results):
    seen = {name: None for found in results.values() for name in found}
    return list(seen)


def target(case, interval, found):
    own, peer = found.get(OWN), found.get(PEER)
    if case.only:
        lost = sum(measured["lost"] for measured in own or [])
        return verdict("no probe lost", not lost, f"{lost} lost") if own else NO_VERDICT
    limits = [LIMITS[case.name, interval]] if (case.name, interval) in LIMITS else []
    if peer:
        limits.append(median(peer) + RESOLUTION)
    if not own or not limits:
        return "", ""
    return verdict(f"≤ {min(limits):.1f}", median(own) <= min(limits))


def after_table(interval, chosen, results):
    """What comes after it was over: black holes, role changes."""
    contenders = names(results)
    rows = []
    for case in chosen:
        found = results.get((case.name, interval), {})
        if case.name not in cases.MARKED or not any(found.values()):
            continue
        cells = [after_cell(case, found.get(name)) for name in contenders]
        rows.append([case.title, *cells, *after_target(case, interval, found.get(OWN))])
    if not rows:
        return ""
    return table(["the second after (frozen: two)", *contenders, "target", ""], rows)


def after_cell(case, rounds):
    if not rounds:
        return ""
    worst = max(measured["after"]["gap"] for measured in rounds)
    changes = [measured["changes"] for measured in rounds]
    moved = f"addresses set or removed {statistics.median(changes):.0f} times, at most {max(changes)}"
    holes = "" if case.name == "frozen" else f"{black_holes(rounds)} black holes of {len(rounds)}; "
    return f"{holes}longest gap {worst:.1f} ms; {moved}"


def black_holes(rounds):
    return sum(measured["after"]["gap"] >= cases.BLACK_HOLE for measured in rounds)


def after_target(case, interval, own):
    if not own:
        return "", ""
    if case.name != "frozen":
        return verdict("no black hole", not black_holes(own))
    if interval != 10:
        return "", ""
    # The node that wakes lets go of it, or the other one does and it takes it: not both.
    return verdict("one role change", max(measured["changes"] for measured in own) <= 1)


def start_table(results):
    """1,000 addresses at once on both nodes."""
    rows = []
    for (interval, name), found in results.items():
        complete = [measured["complete"] for measured in found if measured["complete"] is not None]
        times = [f"{statistics.median(complete):.0f}", f"{max(complete):.0f}"] if complete else ["", ""]
        once = sum(was_calm(measured) for measured in found)
        both = sum(measured["held"]["b"] > 0 for measured in found)
        met = verdict("all on one node only", once == len(found)) if name == OWN else NO_VERDICT
        rows.append([f"{interval} ms", name, *times, f"{once} of {len(found)}", f"{both} of {len(found)}", *met])
    head = ["interval", "", "last address after, ms", "worst", "one node only, once", "both hold them after 10 s"]
    return table([*head, "target", ""], rows)


def was_calm(measured):
    """The first and the last address came to the one node, once, and stayed."""
    return measured["complete"] is not None and measured["changes"] == {"a": 2, "b": 0}


def calm_table(loads, results, seconds):
    contenders = names(results)
    rows = []
    for load in loads:
        found = results[load.name]
        met = verdict("0", found[OWN] == 0) if OWN in found else NO_VERDICT
        rows.append([load.title, *[str(found.get(name, "never came to rest")) for name in contenders], *met])
    return table([f"{seconds} s, interval 100 ms: addresses set or removed", *contenders, "target", ""], rows)


def pauses(results):
    """How far the prober itself can be trusted."""
    worst = [measured["pause"] for found in results.values() for rounds in found.values() for measured in rounds]
    if not worst:
        return ""
    late = sum(one > RESOLUTION for one in worst)
    return (
        f"The prober itself paused for {statistics.median(worst):.2f} ms at most in half of the {len(worst)} "
        f"measurements, for more than {RESOLUTION:.0f} ms in {late}, and for {max(worst):.1f} ms in the worst."
    )


def early(results):
    """What happened before anything was done."""
    counts = {}
    for found in results.values():
        for name, rounds in found.items():
            counts[name] = counts.get(name, 0) + sum(measured.get("early", 0) > 0 for measured in rounds)
    listed = ", ".join(f"{name} in {count}" for name, count in counts.items())
    return f"Rounds in which an address moved before anything was done: {listed}."
