"""Measurements of one feature that were stored together: one row, whose body is a JSON array of them.

Laws: what comes out is what went in, to the last bit; the text is part of the file format and pinned by a test, and
SQLite's own functions read it. The reports of a pack have consecutive numbers.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import json

from stigg_local.core.meter import Dimension, Dimensions
from stigg_local.core.queued import DimensionedReport, QueuedReport
from stigg_local.store.digest import MEASUREMENT
from stigg_local.store.event_body import dimensions_body

# A damaged pack loses so many reports, and a look at one of them unpacks so many; larger ones are stored no faster.
REPORTS_MAX = 500
# With much in their dimensions there are fewer in a pack.
BYTES_MAX = 1 << 16
# The body of a pack of which nothing is left.
NOTHING = "[]"


class _Packed(QueuedReport, gc=False, array_like=True):
    """A report as it is read, with dimensions or without."""

    dimensions: dict[str, Dimension] | None = None


_encode = json.Encoder().encode
_decode = json.Decoder(list[_Packed]).decode


class Measurement(NamedTuple):
    """One recorded measurement; `at_ms` is when it was stored, `created_ms` when it happened."""

    seq: int
    ord: int
    measurement_id: str
    behavior: str
    value: int
    created_ms: int
    at_ms: int
    body: bytes


class Pack(NamedTuple):
    """What a pack's row says: when its reports happened, from the first to the last in time, how many, and they."""

    first_ms: int
    last_ms: int
    size: int
    body: str


def packs(reports: Sequence[QueuedReport]) -> Iterator[Pack]:
    """Reports in packs of bounded size, in their order; one that is alone gets a pack of its own."""
    for start in range(0, len(reports), REPORTS_MAX):
        yield from _bounded(reports[start : start + REPORTS_MAX])


def _bounded(reports: Sequence[QueuedReport]) -> Iterator[Pack]:
    body = _encode(reports)
    if len(body) > BYTES_MAX and len(reports) > 1:
        half = len(reports) // 2
        yield from _bounded(reports[:half])
        yield from _bounded(reports[half:])
    else:
        times = [report.created_ms for report in reports]
        yield Pack(min(times), max(times), len(times), body.decode())


def unpacked(body: str) -> list[QueuedReport]:
    """The reports of a pack, from which the same pack can be made.

    Raises:
        msgspec.MsgspecError: It is no body of a pack.
    """
    return [
        DimensionedReport(packed.id, packed.behavior, packed.value, packed.created_ms, packed.dimensions)
        if packed.dimensions
        else QueuedReport(packed.id, packed.behavior, packed.value, packed.created_ms)
        for packed in _decode(body)
    ]


def without_dimensions(body: str) -> str:
    """The same pack with nothing left of the dimensions of its reports."""
    reports = [QueuedReport(packed.id, packed.behavior, packed.value, packed.created_ms) for packed in _decode(body)]
    return _encode(reports).decode()


def beginning(measurement_id: str) -> str:
    """How the report of that id begins in a pack, and nothing else in it does."""
    return _encode([measurement_id]).decode().removesuffix("]") + ","


def alone(report: QueuedReport, seq: int, ord_: int, at_ms: int) -> Measurement:
    """A report as a row of its own has it."""
    dimensions: Dimensions | None = getattr(report, "dimensions", None)
    body = dimensions_body(dimensions) if dimensions else b""
    return Measurement(seq, ord_, report.id, report.behavior, report.value, report.created_ms, at_ms, body)


def measurements(rows: Iterable[Sequence[Any]]) -> Iterator[Measurement]:
    """Rows and packs in the order of their numbers, as `statements.MEASUREMENTS` gives them, one after another."""
    for tag, *row in rows:
        if tag == MEASUREMENT:
            yield Measurement(*row)
            continue
        seq, number, _, _, _, at_ms, body, _ = row
        for ord_, packed in enumerate(_decode(body), number):
            yield alone(packed, seq, ord_, at_ms)
