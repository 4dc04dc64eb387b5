"""The number of the last transaction, the time mark stored with it, and the epoch of the file.

Laws: a number is never used twice, not even after an older copy was restored: a new epoch goes on above every
number that any side file remembers. Numbers are shared by all environments of a file.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from stigg_local.store.digest import META, SEQUENCE, row_digest
from stigg_local.store.generation import Generation
from stigg_local.store.mark import Mark
from stigg_local.store.schema import RECORD_TABLE

# Texts are read as bytes here: a damaged one must be skipped, not stop the file from being opened.
_ROWS = "SELECT CAST(environment AS BLOB), seq, high_water_ms, digest FROM sequence"
_PUT = (
    "INSERT INTO sequence (environment, seq, high_water_ms, digest) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET seq = excluded.seq, high_water_ms = excluded.high_water_ms,"
    " digest = excluded.digest"
)
_HIGHEST = "SELECT max(coalesce((SELECT max(seq) FROM customer), 0), coalesce((SELECT max(seq) FROM catalog_item), 0))"
_META_ROWS = "SELECT CAST(key AS BLOB), CAST(value AS BLOB), digest FROM meta"

RECORD_SEAL = "migrations"

Run = Callable[[str, tuple[Any, ...]], list[Any]]


class Position(NamedTuple):
    """Where the file is: the last transaction's number over all environments, and the stored time mark."""

    seq: int
    high_water_ms: int


def read_position(run: Run) -> Position | None:
    """The stored position; None where a row of it is damaged."""
    seq = high_water_ms = 0
    for environment, row_seq, row_ms, digest in run(_ROWS, ()):
        if digest != row_digest(_text(environment), "", (SEQUENCE, row_seq, row_ms)):
            return None
        seq, high_water_ms = max(seq, row_seq), max(high_water_ms, row_ms)
    return Position(seq, high_water_ms)


def read_or_rebuild_position(run: Run, generation: Generation, mark: Mark, *, may_write: bool = True) -> Position:
    """The position; where its row is damaged, the highest number that anything else remembers."""
    position = read_position(run)
    if position is None:
        highest = run(_HIGHEST, ())[0][0]
        position = Position(max(highest, generation.seq_max(), mark.seq), 0)
        if may_write:
            # The damaged rows go, so that the next write is not stopped by another environment's.
            run("DELETE FROM sequence", ())
    return position


def put_position(run: Run, environment: str, position: Position) -> None:
    """Store the position reached by the environment's transaction."""
    digest = row_digest(environment, "", (SEQUENCE, *position))
    run(_PUT, (environment, *position, digest))


def put_record_seal(run: Run) -> None:
    """Keep a digest of the table that records migrations, whose rows have none of their own."""
    put_meta(run, RECORD_SEAL, record_seal(run))


def record_seal(run: Run) -> str:
    """The digest of that table's rows as they are."""
    rows = run(f"SELECT rowid, CAST(name AS BLOB), CAST(applied_at AS BLOB) FROM {RECORD_TABLE} ORDER BY rowid", ())
    return row_digest("", RECORD_SEAL, (META, *(tuple(row) for row in rows))).hex()


def read_meta(run: Run) -> dict[str, str]:
    """Every undamaged value about the file."""
    rows = [(_text(key), _text(value), digest) for key, value, digest in run(_META_ROWS, ())]
    return {key: value for key, value, digest in rows if digest == row_digest("", key, (META, value))}


def _text(stored: bytes | None) -> str:
    return (stored or b"").decode(errors="replace")


def put_meta(run: Run, key: str, value: str) -> None:
    """Set a value about the file."""
    run(
        "INSERT OR REPLACE INTO meta (key, value, digest) VALUES (?, ?, ?)",
        (key, value, row_digest("", key, (META, value))),
    )
