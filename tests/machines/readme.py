"""README's "A pair in five minutes", taken apart, so that what it says is what the test does."""

import pathlib
import re
from dataclasses import dataclass

README = pathlib.Path(__file__).parents[2] / "README.md"
SECTION = "A pair in five minutes"


@dataclass(frozen=True)
class Chapter:
    """One numbered step: its text, and its blocks of code, each of them a file or a shell script."""

    text: str
    blocks: tuple[str, ...]

    @property
    def block(self) -> str:
        [block] = self.blocks
        return block

    def quoted(self, command: str) -> str:
        """The command, which must stand in the text word for word."""
        if f"`{command}`" not in self.text:
            raise ValueError(f"README does not say `{command}`: {self.text.strip()[:60]}")
        return command


def chapters(readme: str | None = None) -> dict[int, Chapter]:
    readme = readme or README.read_text()
    [section] = re.findall(rf"^## {SECTION}\n(.*?)^## ", readme, re.DOTALL | re.MULTILINE)
    pieces = re.split(r"^\*\*(\d+)\. ", section, flags=re.MULTILINE)
    return {int(number): chapter(text) for number, text in zip(pieces[1::2], pieces[2::2])}


def chapter(text: str) -> Chapter:
    return Chapter(text, tuple(re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)))
