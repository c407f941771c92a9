"""Cases, their weight, and the table at the end."""

import dataclasses
import enum
import traceback

from .known import KNOWN


class Level(enum.Enum):
    MUST = "MUST"
    """The RFC demands it (or demands one of the outcomes that the case accepts)."""
    SHOULD = "SHOULD"
    """The RFC recommends it."""
    POLICY = "policy"
    """The RFC leaves it open; lb takes the strict way, because two parsers could differ."""


MUST, SHOULD, POLICY = Level


@dataclasses.dataclass
class Case:
    section: str
    name: str
    level: Level
    run: object
    """Called with the frontend under test; returns a list of what was wrong."""

    @property
    def key(self):
        return f"{self.section}: {self.name}"


class Failed(Exception):
    """What the peer did that it must not do."""


def run_all(cases, subject, options):
    """Runs the cases; returns how many did not end as they had to."""
    known = KNOWN if options.against == "lb" else {}
    outcomes = []
    for case in cases:
        problems = run_one(case, subject, options.verbose)
        subject.check_alive()
        outcome = judge(problems, case.key in known)
        outcomes.append((case, outcome))
        if outcome is not Outcome.PASSED or options.verbose:
            show(case, outcome, problems or [known.get(case.key, "")])
    summary(outcomes)
    return sum(outcome in (Outcome.FAILED, Outcome.UNEXPECTED) for _, outcome in outcomes)


class Outcome(enum.Enum):
    PASSED = "ok"
    FAILED = "FAIL"
    KNOWN = "known"
    UNEXPECTED = "PASS?"
    """A known failure that passes."""


def judge(problems, known):
    if problems:
        return Outcome.KNOWN if known else Outcome.FAILED
    return Outcome.UNEXPECTED if known else Outcome.PASSED


def run_one(case, subject, verbose):
    try:
        return case.run(subject) or []
    except Failed as failed:
        return [str(failed)]
    except (OSError, ValueError, EOFError, IndexError) as error:
        if verbose:
            traceback.print_exc()
        return [f"{type(error).__name__}: {error}"]


def show(case, outcome, remarks):
    print(f"{outcome.value:<6}{case.level.value:<7} {case.section:<32} {case.name}")
    for remark in filter(None, remarks):
        print(f"      {remark}")


def summary(outcomes):
    print()
    for level in [*Level, None]:
        chosen = [outcome for case, outcome in outcomes if level in (None, case.level)]
        counts = {outcome: chosen.count(outcome) for outcome in Outcome}
        known = f", {counts[Outcome.KNOWN]} known to fail" if counts[Outcome.KNOWN] else ""
        print(f"{level.value if level else 'all':<7} {counts[Outcome.PASSED]:>4} of {len(chosen)} passed{known}")


def choose(cases, options):
    """By `--only TEXT` in section or name, and by `--level`."""
    levels = {level for level in Level if options.level in ("all", level.value.lower())}
    text = options.only.lower()
    return [c for c in cases if c.level in levels and text in f"{c.section} {c.name}".lower()]
