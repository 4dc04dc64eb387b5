"""What the database commands share: a connection that only reads, rows on a terminal or in a file."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from stigg_local.cli.options import command_clock, number, stored_directory
from stigg_local.cli.output import Bar, Output, clean
from stigg_local.clock import SystemClock, new_short_id, wall_ms
from stigg_local.errors import InvalidInput
from stigg_local.store import exchange
from stigg_local.store.environment import stored_environment
from stigg_local.store.site import DEFAULT_FILENAME

if TYPE_CHECKING:
    from stigg_local.store.read_only import ReadOnly

# A table is for reading; whoever wants more takes a format that is for programs.
TABLE_ROWS_MAX = 1000
CELL_LENGTH_MAX = 60
PROGRESS_ROWS = 1000

_FORMATS = {"csv": "Comma-separated values.", "ndjson": "One JSON object a line.", "markdown": "A Markdown table."}
_ENDINGS = {".csv": "csv", ".json": "json", ".md": "markdown"}


def format_options(command: Callable[..., int]) -> Callable[..., int]:
    """`--format F` and, for short, `--csv`, `--ndjson` and `--markdown`, all as `kind`."""

    @wraps(command)
    def chosen(*arguments: Any, named: str | None, short: str | None, **options: Any) -> int:
        if named and short and named != short:
            raise InvalidInput(f"two formats are asked for, `{named}` and `{short}`", hint="name one")
        return command(*arguments, kind=named or short, **options)

    wrapped: Callable[..., int] = chosen
    for name, told in reversed(_FORMATS.items()):
        wrapped = click.option(f"--{name}", "short", flag_value=name, help=told)(wrapped)
    formats = click.Choice(exchange.WRITTEN)
    return click.option("--format", "named", type=formats, metavar="FORMAT", help=", ".join(exchange.WRITTEN) + ".")(
        wrapped
    )


def kind_by_ending(output: str | None) -> str:
    """The format that a file's ending names, else NDJSON."""
    return _ENDINGS.get(Path(output or "").suffix.lower(), "ndjson")


def command_now_ms() -> int:
    """The time of the command's clock."""
    return wall_ms(command_clock() or SystemClock())


def known_directory(data_dir: str | None) -> tuple[Path, str]:
    """A directory that holds a catalog, and its environment."""
    path = stored_directory(data_dir)
    return path, stored_environment(str(path)) or ""


def reading(data_dir: str | None, seconds: float | None = None) -> "ReadOnly":
    """A connection that only reads; its statements are stopped after so many seconds."""
    from stigg_local.store.read_only import ReadOnly

    path, environment = known_directory(data_dir)
    end = None if seconds is None else perf_counter() + seconds
    return ReadOnly(
        str(path / DEFAULT_FILENAME),
        environment=environment,
        now_ms=command_now_ms(),
        is_over=lambda: end is not None and perf_counter() > end,
    )


def parameter(given: tuple[str, str]) -> tuple[str, Any]:
    """A name and its value: what looks like a number is one, in double quotes it is text.

    Raises:
        InvalidInput: The name is none.
    """
    name, value = given
    name = name.removeprefix(":")
    if not name.isidentifier():
        raise InvalidInput(f"a parameter is called `{name[:60]}`", hint="-p NAME VALUE, for `:NAME` in the statement")
    if len(value) > 1 and value[0] == value[-1] == '"':
        return name, value[1:-1]
    try:
        found = number(value, name)
    except InvalidInput:
        return name, value
    is_whole = isinstance(found, int) and -(2**63) <= found < 2**63
    return name, found if is_whole else float(found)


def show(
    out: Output, kind: str | None, columns: Sequence[str], rows: Iterable[Sequence[Any]], limit: int | None = None
) -> None:
    """Rows on standard output, at most so many: in a format, or as a table."""
    most = TABLE_ROWS_MAX if kind is None and limit is None else limit
    remaining = iter(rows)
    shown = remaining if most is None else islice(remaining, most)
    if kind is not None:
        exchange.write(kind, _standard_output(), columns, shown)
    else:
        out.table(list(columns), [[_cell(value) for value in row] for row in shown])
    if most is not None and next(remaining, None) is not None:
        out.note(
            f"these are the first {most:,} rows; " + ("there are more" if limit else "--ndjson or --csv prints all")
        )


def _cell(value: Any) -> str:
    text = exchange.shown(value)
    return text if len(text) <= CELL_LENGTH_MAX else f"{text[: CELL_LENGTH_MAX - 1]}…"


def _standard_output() -> TextIO:
    return cast(TextIO, _Terminal()) if sys.stdout.isatty() else sys.stdout


class _Terminal:
    """Standard output where it is a terminal: what does not print is shown as an escape."""

    def write(self, text: str) -> int:
        """Write text of whole lines."""
        return sys.stdout.write("\n".join(map(clean, text.split("\n"))))


@contextmanager
def written(output: str) -> Iterator[TextIO]:
    """A file for the owner only that comes into its place whole; a pipe or a device is written to as it is."""
    from stigg_local.store.backup import disk_errors

    path = Path(output)
    if not path.parent.is_dir():
        raise InvalidInput(f"`{path.parent}` is not a directory", hint="make it first")
    with disk_errors(output):
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
                yield file
            return
        draft = path.with_name(f".{path.name}.{new_short_id()}.draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()


def told(rows: Iterable[Sequence[Any]], bar: Bar) -> Iterator[Sequence[Any]]:
    """The rows, while a bar says how many went by."""
    for count, row in enumerate(rows, 1):
        if count % PROGRESS_ROWS == 0:
            bar.reach(count)
        yield row
