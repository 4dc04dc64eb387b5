"""What a command prints: plain lines, tables and colour on a terminal that rich can serve, or one JSON object.

Law: nothing that comes from a user or a file reaches the terminal as a control character.
"""

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

Tone = Literal["good", "bad", "dim", "title"]
_STYLES = {"good": "green", "bad": "bold red", "dim": "dim", "title": "bold cyan"}


class Output:
    """Where a command's words go.

    Args:
        as_json: One JSON object on standard output and nothing else there.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def json(self, value: Mapping[str, Any]) -> None:
        """One JSON object on one line, in ASCII, so that any terminal and any pipe can hold it."""
        sys.stdout.write(json.dumps(value, default=_plain, allow_nan=False) + "\n")

    def line(self, text: str = "", tone: Tone | None = None) -> None:
        """One line of text, shown at once."""
        text = clean(text)
        if self._console is None:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
            return
        from rich.text import Text

        self._console.print(Text(text, style=_STYLES[tone] if tone else ""), soft_wrap=True)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]], *, indent: int = 0) -> None:
        """Rows under a header."""
        cells = [[clean(cell) for cell in row] for row in rows]
        if self._console is None:
            for line in _columns([list(header), *cells], indent):
                sys.stdout.write(line + "\n")
            return
        from rich import box
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for name in header:
            # A narrow terminal folds the last column, which holds the words; ids stay whole.
            is_last = name == header[-1]
            table.add_column(name, overflow="fold", no_wrap=not is_last)
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(Padding(table, (0, 0, 0, indent)))

    def note(self, text: str) -> None:
        """One line for the person, beside what a program reads."""
        sys.stderr.write(clean(text) + "\n")

    def failure(
        self, *, code: str, message: str, hint: str | None, problems: Sequence[Any] = (), retryable: bool = False
    ) -> None:
        """What went wrong: JSON on standard output, or lines on standard error."""
        if self.as_json:
            self.json(
                {
                    "code": code,
                    "message": message,
                    "hint": hint,
                    "retryable": retryable,
                    "problems": [problem.to_dict() for problem in problems],
                }
            )
            return
        if problems:
            # The message names the first of them, which stands here in full with the others.
            for problem in problems:
                self.note(str(problem))
            count = f"{len(problems)} mistakes" if len(problems) > 1 else "1 mistake"
            self.note(f"error: {code}: {count}, nothing was changed")
            return
        self.note(f"error: {code}: {message}" + (f" ({hint})" if hint else ""))

    @cached_property
    def _console(self) -> "Console | None":
        """The terminal as rich sees it; None where there is no terminal or no rich."""
        if self.as_json or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
            return None
        try:
            from rich.console import Console
        except ImportError:
            return None
        return Console(highlight=False, markup=False, emoji=False)


def clean(text: str) -> str:
    """Text with every character that does not print written as an escape."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def _columns(rows: Sequence[Sequence[str]], indent: int) -> Iterable[str]:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield (" " * indent + "  ".join(padded)).rstrip()


def _plain(value: object) -> object:
    """A number that JSON has no type for: a float, or its text where a float cannot hold it."""
    if isinstance(value, Decimal):
        number = float(value)
        if not math.isfinite(number):
            return str(value)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return str(value)
