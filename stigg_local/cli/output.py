"""What a command prints: plain lines, tables and colour on a terminal that rich can serve, or one JSON object.

Law: nothing that comes from a user or a file reaches the terminal as a control character.
"""

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TextIO

from stigg_local.core.explain_text import Branch, lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

Tone = Literal["good", "bad", "dim", "title"]
_STYLES = {"good": "green", "bad": "bold red", "dim": "dim", "title": "bold cyan"}

# What is over sooner shows no bar.
BAR_AFTER_S = 0.5
COLUMN_GAP = 3
FOLDED_WIDTH_MIN = 16


class Output:
    """Where a command's words go.

    Args:
        as_json: One JSON object on standard output and nothing else there.
        plain: No colour, no boxes and no bars, on a terminal too.
    """

    def __init__(self, *, as_json: bool, plain: bool = False) -> None:
        self.as_json = as_json
        self.plain = plain

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
        # A column that folds has room for a few words; without it ids would be cut off.
        ids = [[len(name), *(len(row[place]) for row in cells)] for place, name in enumerate(header)][:-1]
        if indent + sum(max(widths) + COLUMN_GAP for widths in ids) + FOLDED_WIDTH_MIN > self._console.width:
            for line in _columns([list(header), *cells], indent):
                self.line(line)
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

    def fields(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and their texts, one a line."""
        width = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            self.line(f"  {name.ljust(width)}  {text}")

    def tree(self, branch: Branch) -> None:
        """A tree of lines; a plain one is drawn by indentation alone."""
        if self.plain and not self.as_json:
            self._indented(branch, 0)
            return
        if self._console is None:
            for line in lines(branch):
                sys.stdout.write(clean(line) + "\n")
            return
        from rich.text import Text
        from rich.tree import Tree

        def grow(branch: Branch) -> Tree:
            tree = Tree(Text(clean(branch.text), style=_STYLES[branch.tone] if branch.tone else ""), guide_style="dim")
            tree.children.extend(grow(child) for child in branch.branches)
            return tree

        self._console.print(grow(branch))

    def _indented(self, branch: Branch, depth: int) -> None:
        sys.stdout.write(f"{'  ' * depth}{clean(branch.text)}\n")
        for child in branch.branches:
            self._indented(child, depth + 1)

    @contextmanager
    def progress(self, description: str, total: int | None = None) -> "Iterator[Bar]":
        """A bar on standard error while something takes long; nothing where that is no terminal.

        Args:
            description: What is being done, for example `reading customers`.
            total: How many steps there are; None where nobody knows, which shows a bar that swings.
        """
        shown = None if self.as_json or self.plain else terminal(sys.stderr)
        if shown is None:
            yield Bar()
            return
        from threading import Timer

        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        counts = () if total is None else (MofNCompleteColumn(),)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), *counts, TimeElapsedColumn())
        # What goes to standard output stays there, for it may be a file.
        progress = Progress(*columns, console=shown, transient=True, redirect_stdout=False)
        task = progress.add_task(clean(description), total=total)
        timer = Timer(BAR_AFTER_S, progress.start)
        timer.daemon = True
        timer.start()
        try:
            yield Bar(progress, task)
        finally:
            timer.cancel()
            timer.join()
            progress.stop()

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
        """Standard output as rich sees it; None where words go out as they are."""
        return None if self.as_json or self.plain else terminal(sys.stdout)


class Bar:
    """How far a command has come; without a terminal it counts for nobody."""

    def __init__(self, progress: "Progress | None" = None, task: "TaskID | None" = None) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: int = 1) -> None:
        """Some more steps are done."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, steps)

    def reach(self, done: int, total: int | None = None) -> None:
        """So many steps are done, of so many where that became known on the way."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)


def terminal(stream: TextIO) -> "Console | None":
    """A stream as rich sees it; None where it is no terminal or no rich. `NO_COLOR` is kept."""
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    # Without colours rich would still print bold.
    is_bare = bool(os.environ.get("NO_COLOR"))
    return Console(file=stream, color_system=None if is_bare else "auto", highlight=False, markup=False, emoji=False)


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
