"""Customers of a file in transactions of 1,000.

Laws: lines are carried out in the file's order; a line that is refused stops no other one, and its number is told.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from stigg_local.calls import CUSTOMER_FIELDS, IMPORT_MAX, import_commands
from stigg_local.client import Stigg
from stigg_local.core.command import fields
from stigg_local.core.ids import told
from stigg_local.database import Imported, Problem
from stigg_local.errors import InvalidInput, StiggError, StoreError
from stigg_local.store.exchange import Line

METADATA_COLUMN = "metadata."

Row = dict[str, Any]


def import_customers(
    client: Stigg,
    lines: Iterable[Line],
    *,
    file: str,
    on_problem: Callable[[Problem], None],
    on_sent: Callable[[], object] = lambda: None,
) -> Imported:
    """Make or patch a customer for each line.

    Args:
        client: Where to; an embedded one.
        lines: From `stigg_local.store.exchange.read`.
        file: What problems call the file.
        on_problem: Told of each line that is refused.
        on_sent: Told when lines before the place of reading are stored.

    Raises:
        StoreError: The directory failed; the same import can be repeated.
    """
    counts = Imported()
    batch: dict[str, tuple[Line, Row]] = {}
    refused: list[tuple[Line, StiggError]] = []

    def send() -> None:
        refused.extend(_sent(client, list(batch.values())))
        for line, error in sorted(refused, key=lambda item: item[0].number):
            counts.failed += 1
            on_problem(Problem(file, line.number, error.code, error.message, error.hint))
        refused.clear()
        batch.clear()
        on_sent()

    for line in lines:
        counts.read += 1
        try:
            row = _row(line)
        except StiggError as error:
            refused.append((line, error))
        else:
            if row["customer_id"] in batch:
                # One transaction takes a customer once, and the later line comes later.
                send()
            batch[row["customer_id"]] = line, row
        if len(batch) + len(refused) >= IMPORT_MAX:
            send()
    send()
    counts.done = counts.read - counts.failed
    return counts


def _row(line: Line) -> Row:
    """A line as an item of the call.

    Raises:
        InvalidInput: It is none.
    """
    if line.fields is None:
        raise line.error or InvalidInput("the line cannot be read")
    columns = {name: value for name, value in line.fields.items() if name.startswith(METADATA_COLUMN)}
    rest = {name: value for name, value in line.fields.items() if name not in columns}
    row = fields(rest, CUSTOMER_FIELDS, "the line", ("customer_id",))
    if isinstance(row.get("metadata"), str):
        try:
            row["metadata"] = json.loads(row["metadata"])
        except (ValueError, RecursionError) as error:
            raise InvalidInput(
                f"metadata is `{told(row['metadata'])}`, not JSON", code="InvalidMetadataError"
            ) from error
    if columns:
        own = {name.removeprefix(METADATA_COLUMN): value for name, value in columns.items()}
        row["metadata"] = {**(row.get("metadata") or {}), **own}
    # Said of the one line here; of a thousand in a transaction nobody would know which it was.
    import_commands([row])
    return row


def _sent(client: Stigg, batch: list[tuple[Line, Row]]) -> list[tuple[Line, StiggError]]:
    """Store what the rules let in; returns the lines that they refuse."""
    if not batch:
        return []
    try:
        client.import_customer_bulk([row for _, row in batch])
    except StoreError:
        # Of the disk, not of a line: every other one would fail alike.
        raise
    except StiggError as error:
        if len(batch) == 1:
            return [(batch[0][0], error)]
        middle = len(batch) // 2
        return _sent(client, batch[:middle]) + _sent(client, batch[middle:])
    return []
