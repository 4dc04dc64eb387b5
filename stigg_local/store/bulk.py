"""Many measurements of one customer in few statements; the rows and digests are those of single ones.

A statement takes as many rows as it can while its text is still kept prepared, and runs without Python's lock.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from stigg_local.store.digest import MEASUREMENT, row_digest
from stigg_local.store.tx import Tx

# The largest keeps the statement's text below the 16 KiB up to which it is kept prepared.
_SIZES = (400, 80, 16, 4, 1)
_HEAD = (
    "INSERT INTO measurement (environment, customer_id, resource_id, feature_id, seq, at_ms, ord, measurement_id,"
    " behavior, value, created_ms, body, digest) VALUES "
)
_STATEMENTS = {size: _HEAD + ",".join(["(?1,?2,?3,?4,?5,?6,?,?,?,?,?,?,?)"] * size) for size in _SIZES}
_COLUMNS = 7


class NewMeasurement(Protocol):
    """A measurement to append; `body` holds its dimensions."""

    id: str
    behavior: str
    value: int
    created_ms: int
    body: bytes


def append_measurements(
    tx: Tx, customer_id: str, resource_id: str, feature_id: str, rows: Sequence[NewMeasurement]
) -> None:
    """Append measurements of one feature to the customer's log.

    Args:
        tx: The transaction.
        customer_id, resource_id, feature_id: Whose they are.
        rows: In order of arrival.
    """
    environment, seq, at_ms, from_bytes = tx.environment, tx.seq, tx.now_ms, int.from_bytes
    ord_ = tx.take_ords(len(rows))
    total = 0
    values: list[Any] = []
    for new in rows:
        measurement_id, behavior, value, created_ms, body = new.id, new.behavior, new.value, new.created_ms, new.body
        row = (
            MEASUREMENT,
            resource_id,
            feature_id,
            seq,
            ord_,
            measurement_id,
            behavior,
            value,
            created_ms,
            at_ms,
            body,
        )
        digest = row_digest(environment, customer_id, row)
        total += from_bytes(digest, "little")
        values += (ord_, measurement_id, behavior, value, created_ms, body, digest)
        ord_ += 1
    head = [environment, customer_id, resource_id, feature_id, seq, at_ms]
    place, end = 0, len(rows)
    for size in _SIZES:
        while end - place >= size:
            part = head + values[place * _COLUMNS : (place + size) * _COLUMNS]
            tx.append_to_log(customer_id, _STATEMENTS[size], part)
            place += size
    tx.add_to_log(customer_id, total)
