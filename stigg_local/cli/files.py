"""Files that commands read: opening one, a directory to try it on, and what an import tells of its lines."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stigg_local.cli.options import command_clock, stored_directory
from stigg_local.cli.output import Output
from stigg_local.client import Stigg
from stigg_local.errors import InvalidInput

if TYPE_CHECKING:
    from stigg_local.database import Imported, Problem
    from stigg_local.store.exchange import Line

FAILED_LINES = 2

# Imports the lines through a client; tells of each that is refused, and whenever some more are stored.
Run = Callable[[Stigg, "Iterator[Line]", "Callable[[Problem], None]", Callable[[], None]], "Imported"]


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """A file that is read line by line; `-` is standard input."""
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        source = open(file, "rb")  # noqa: SIM115 - what the caller raises is not about opening
    except OSError as error:
        raise InvalidInput(f"`{file}` cannot be read: {error.strerror}") from error
    with source:
        yield source


def import_file(
    out: Output,
    file: str,
    kind: str,
    run: Run,
    *,
    text: str | None,
    data_dir: str | None,
    dry_run: bool,
    may_skip: bool = False,
) -> int:
    """Import the lines of a file, each refused one told with its place; returns the exit code.

    Args:
        out: Where to tell.
        file: Its name; `-` is standard input.
        kind: What the lines are.
        run: What imports them.
        text: Its format; None for that of its ending.
        data_dir: The directory that was named.
        dry_run: Try it on a private copy.
        may_skip: Whether lines may be left aside on purpose.
    """
    from stigg_local.store import exchange

    lines_as = text or exchange.kind_of_file(file)
    directory = stored_directory(data_dir)
    problems: list[Problem] = []

    def refuse(problem: "Problem") -> None:
        if out.as_json:
            problems.append(problem)
        else:
            out.note(str(problem))

    with (
        opened(file) as source,
        _tried_on(directory, out, is_trial=dry_run) as where,
        Stigg(data_dir=where, clock=command_clock()) as client,
        out.progress(f"importing {kind}", _size_of(source)) as bar,
    ):
        lines = exchange.read(lines_as, source)
        counts = run(client, lines, refuse, lambda: bar.reach(_place_in(source), _size_of(source)))
    if out.as_json:
        told = {"read": counts.read, "done": counts.done}
        told |= {"skipped": counts.skipped, "failed": counts.failed} if may_skip else {"failed": counts.failed}
        out.json(told | {"dryRun": dry_run, "problems": [problem.to_dict() for problem in problems]})
    else:
        aside = f" {counts.skipped:,} left aside," if may_skip else ""
        trial = ", on a copy that is gone" if dry_run else ""
        words = f"{counts.done:,} imported,{aside} {counts.failed:,} refused{trial}"
        out.line(f"{counts.read:,} lines: {words}", "bad" if counts.failed else "good")
    return FAILED_LINES if counts.failed else 0


def _size_of(source: BinaryIO) -> int | None:
    """How long a file is; None for a pipe."""
    return os.fstat(source.fileno()).st_size if source.seekable() else None


def _place_in(source: BinaryIO) -> int:
    """How much of a file was read; 0 for a pipe."""
    return source.tell() if source.seekable() else 0


@contextmanager
def _tried_on(directory: Path, out: Output, *, is_trial: bool) -> Iterator[str]:
    """The directory, or a private copy of it that goes away."""
    if not is_trial:
        yield str(directory)
        return
    from tempfile import TemporaryDirectory

    from stigg_local.store.backup import disk_errors, private_copy

    with disk_errors("the directory of temporary files"), TemporaryDirectory(prefix="stigg-local-trial-") as where:
        with out.progress("copying") as bar:
            private_copy(str(directory), where, progress=lambda _, done, total: bar.reach(done, total or None))
        yield where
