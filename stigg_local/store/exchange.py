"""Rows as text and back: CSV, NDJSON, JSON and Markdown out, CSV and NDJSON in, one row at a time.

Laws: what is written holds the value as it is stored, and a row that is read knows the line it begins on; a line that
cannot be read is one mistake, and the lines after it are read.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, BinaryIO, NamedTuple, TextIO

from stigg_local.errors import InvalidInput

WRITTEN = ("csv", "ndjson", "json", "markdown")
READ = ("csv", "ndjson")
_READ_BY_ENDING = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}

# A longer line is a file of another kind.
LINE_BYTES_MAX = 4 << 20

# Columns of the views that hold JSON; in a JSON format they are written as what they are, not as a text of it.
_JSON_COLUMNS = frozenset(
    "addons billable_features credit_rate custom_credits custom_features dimensions entitlements enum_values metadata"
    " packages reply resource_ids settings units".split()
)


class Line(NamedTuple):
    """One row of a file: the line it begins on, and its fields or why it has none."""

    number: int
    fields: dict[str, Any] | None
    error: InvalidInput | None = None


# Writing -----------------------------------------------------------------------------------------------------------


def write(kind: str, file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows while they come in.

    Args:
        kind: One of `WRITTEN`.
        file: Where to.
        columns: The names of the columns.
        rows: The values.

    Returns:
        How many rows there were.
    """
    return _WRITERS[kind](file, columns, rows)


def _write_csv(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    return _each(rows, lambda row: writer.writerow([shown(value) for value in row]))


def _write_ndjson(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    return _each(rows, lambda row: file.write(json.dumps(record(columns, row)) + "\n"))


def _write_json(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    file.write('{"columns": ' + json.dumps(list(columns)) + ', "rows": [')
    count = 0
    for row in rows:
        file.write((", " if count else "") + json.dumps(record(columns, row)))
        count += 1
    file.write("]}\n")
    return count


def _write_markdown(file: TextIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |\n"

    file.write(line(_one_line(name) for name in columns))
    file.write(line("---" for _ in columns))
    return _each(rows, lambda row: file.write(line(_one_line(shown(value)) for value in row)))


def _each(rows: Iterable[Sequence[Any]], write: Callable[[Sequence[Any]], object]) -> int:
    count = 0
    for row in rows:
        write(row)
        count += 1
    return count


_WRITERS: dict[str, Callable[[TextIO, Sequence[str], Iterable[Sequence[Any]]], int]] = {
    "csv": _write_csv,
    "ndjson": _write_ndjson,
    "json": _write_json,
    "markdown": _write_markdown,
}


def shown(value: Any) -> str:
    """A stored value as text: nothing for NULL, hexadecimal digits for bytes."""
    if value is None:
        return ""
    return value.hex() if isinstance(value, bytes) else str(value)


def record(columns: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    """A row as JSON can hold it."""
    return {name: _jsonable(name, value) for name, value in zip(columns, row, strict=True)}


def _jsonable(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, str) and name in _JSON_COLUMNS and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _one_line(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


# Reading -----------------------------------------------------------------------------------------------------------


def kind_of_file(name: str) -> str:
    """The format that a file's ending names.

    Raises:
        InvalidInput: None that can be read.
    """
    for ending, kind in _READ_BY_ENDING.items():
        if name.lower().endswith(ending):
            return kind
    raise InvalidInput(f"`{name}` does not say what it holds", hint="--format csv or --format ndjson")


def read(kind: str, file: BinaryIO) -> Iterator[Line]:
    """The rows of a file, in its order.

    Args:
        kind: One of `READ`.
        file: Open in binary mode.
    """
    return _read_csv(file) if kind == "csv" else _read_ndjson(file)


def _read_ndjson(file: BinaryIO) -> Iterator[Line]:
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            if len(line) > LINE_BYTES_MAX:
                raise _too_long(number)
            fields = json.loads(line.decode(), parse_float=Decimal, parse_constant=_no_number)
            if not isinstance(fields, dict):
                raise InvalidInput("that is no JSON object", hint="one object on each line")
            yield Line(number, fields)
        except InvalidInput as error:
            yield Line(number, None, error)
        except UnicodeDecodeError:
            yield Line(number, None, _no_text())
        except (ValueError, RecursionError) as error:
            yield Line(number, None, InvalidInput(f"that is no JSON: {error}", hint="one object on each line"))


def _read_csv(file: BinaryIO) -> Iterator[Line]:
    begun = 0

    def texts() -> Iterator[str]:
        nonlocal begun
        for begun, line in enumerate(_lines(file), 1):
            if len(line) > LINE_BYTES_MAX:
                raise _too_long(begun)
            yield line.decode(errors="surrogateescape")

    reader = csv.reader(texts(), strict=True)
    header: list[str] | None = None
    while True:
        number = begun + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except InvalidInput as error:
            yield Line(begun, None, error)
            return
        except csv.Error as error:
            yield Line(number, None, InvalidInput(f"that is no CSV: {error}"))
            if header is None:
                return
            continue
        if not row:
            continue
        if header is None:
            header = [name.strip() for name in row]
            twice = next((name for name in header if header.count(name) > 1), None)
            if twice is not None:
                yield Line(number, None, InvalidInput(f"two columns are called `{twice}`"))
                return
            continue
        if len(row) != len(header):
            text = f"the line has {len(row)} fields, the header {len(header)}"
            yield Line(number, None, InvalidInput(text, hint="put values with commas in double quotes"))
            continue
        if any("\udc80" <= character <= "\udcff" for cell in row for character in cell):
            yield Line(number, None, _no_text())
            continue
        # An empty cell is a value that is not there.
        yield Line(number, {name: value for name, value in zip(header, row, strict=True) if value != ""})


def _lines(file: BinaryIO) -> Iterator[bytes]:
    is_first = True
    while line := file.readline(LINE_BYTES_MAX + 1):
        if is_first:
            line, is_first = line.removeprefix(b"\xef\xbb\xbf"), False
        is_long = len(line) > LINE_BYTES_MAX
        yield line
        while is_long and not line.endswith(b"\n"):
            # The rest of a line that is refused as too long.
            if not (line := file.readline(LINE_BYTES_MAX)):
                return


def _too_long(number: int) -> InvalidInput:
    return InvalidInput(f"line {number} is longer than {LINE_BYTES_MAX >> 20} MB")


def _no_text() -> InvalidInput:
    return InvalidInput("that is not UTF-8", hint="save the file as UTF-8")


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")
