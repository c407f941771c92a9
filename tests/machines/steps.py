"""A table of steps, and the lines that a run prints: one for each step, with what was measured."""

import textwrap
import time
import traceback
from dataclasses import dataclass
from typing import Callable


WIDTH = 80
INDENT = " " * 8


class Failed(Exception):
    """What was seen, where something else should have been."""


@dataclass(frozen=True)
class Step:
    name: str
    # Takes the pair; returns what was measured, in a few words.
    run: Callable


@dataclass
class Result:
    subject: str
    step: str
    passed: bool
    measured: str
    seconds: float

    def __str__(self) -> str:
        word = "passed" if self.passed else "FAILED"
        head = f"{word}  {self.subject:<10} {self.step:<54} {self.seconds:>4.0f} s"
        return "\n".join([head, *wrapped(self.measured)])


def wrapped(text: str) -> list[str]:
    """What was measured, below the step, in a terminal of 80 columns."""
    return [piece for line in text.splitlines() for piece in textwrap.wrap(line, WIDTH, initial_indent=INDENT,
                                                                          subsequent_indent=INDENT)]


def carry_out(subject: str, step: Step, pair) -> Result:
    began = time.monotonic()
    try:
        measured, passed = step.run(pair) or "", True
    except Failed as failure:
        measured, passed = str(failure), False
    except Exception as error:  # a step that breaks has failed; the others are still worth a try
        where = traceback.extract_tb(error.__traceback__)[1:][:2]
        place = " <- ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(where))
        measured, passed = f"{type(error).__name__}: {error} ({place})", False
    return Result(subject, step.name, passed, measured, time.monotonic() - began)


def require(condition, message: str) -> None:
    if not condition:
        raise Failed(message)


def wait_for(condition: Callable, seconds: float, message: str | Callable[[], str]):
    """The first true value of the condition; `message`, or what it returns then, says what is seen instead."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise Failed(f"{message() if callable(message) else message} (waited {seconds:.0f} s)")
        time.sleep(0.5)  # each look costs an emulated guest some of its CPU
