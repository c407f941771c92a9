"""From measurements to what is printed and kept."""

import json
import statistics


def in_turn(contenders, number):
    """Their order in this round: nobody always comes first, or always after the same one."""
    turn = number % len(contenders)
    return contenders[turn:] + contenders[:turn]


def spread(values):
    """Half the range between the best and the worst round, as a share of the median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0.0


def verdict(wanted, met, why=""):
    """The two last cells of a row."""
    return wanted, "met" if met else f"**missed** {why}".strip()


NO_VERDICT = ("", "")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def head(environment, *more):
    """Where, when and how it was measured."""
    machine = f"{environment['date']}, Linux {environment['kernel']}, {environment['cpu']}"
    settings = ", ".join(f"{key} {value}" for key, value in environment["settings"].items())
    return "  \n".join([machine, *more, settings])


def publish(options, environment, parts, sections, *more):
    """To the standard output, and to the files that were asked for."""
    text = "\n\n".join([head(environment, *more), *[section for section in sections if section]]) + "\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    if options.json:
        options.json.write_text(json.dumps({"environment": environment, **parts}, indent=1))
