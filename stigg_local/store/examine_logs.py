"""Counters against a fold of the measurements, and credit grants against the ledger: what digests cannot show.

Law: a counter in an interval that is counted now is the fold of the log over it; one that no source counts any more
stays as it was, and nothing is answered from it. A grant is its last ledger entry. Customers of whom a row is damaged
are left out: they were told already.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from stigg_local.core.catalog import ITEM_KINDS, Feature
from stigg_local.core.credit import Grant
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.entitlement import counting_windows
from stigg_local.core.ids import told
from stigg_local.core.ledger import LedgerEntry
from stigg_local.core.meter import compile_meters
from stigg_local.core.meter import fold as fold_events
from stigg_local.core.sources import Catalog
from stigg_local.core.usage import fold
from stigg_local.errors import StoreCorrupt
from stigg_local.store.catalog import ORDER_KIND, decode_item
from stigg_local.store.digest import slot_of
from stigg_local.store.examine_keys import examine_keys
from stigg_local.store.examine_rows import PROGRESS_ROWS, Owner, Progress
from stigg_local.store.finding import Findings, restoring
from stigg_local.store.pack import Measurement, measurements
from stigg_local.store.schema import stand_in_for_missing
from stigg_local.store.seals import catalog_items, catalog_root
from stigg_local.store.sequence import read_position
from stigg_local.store.statements import MEASUREMENTS

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

_COUNTERS = (
    "SELECT environment, customer_id, resource_id, feature_id, from_ms, to_ms, value FROM usage_counter"
    " ORDER BY environment, customer_id, resource_id, feature_id"
)
_EVENTS = (
    "SELECT event_name, body FROM usage_event WHERE environment = ? AND customer_id = ? AND resource_id = ?"
    " AND created_ms >= ? AND created_ms < ? ORDER BY created_ms, seq, ord"
)
# What a compaction made of a feature's events; it names the feature in place of the key.
_FOLDED = (
    "SELECT 1 FROM usage_event WHERE environment = ? AND customer_id = ? AND resource_id = ? AND created_ms < 0"
    " AND idempotency_key = ? LIMIT 1"
)
_SNAPSHOT = "SELECT snapshot FROM customer WHERE environment = ? AND slot = ? AND customer_id = ?"
_GRANTS = "SELECT grant_id, body FROM credit_grant WHERE environment = ? AND customer_id = ?"
_UNLEDGERED = (
    "SELECT environment, customer_id, grant_id FROM credit_grant AS g WHERE NOT EXISTS (SELECT 1 FROM ledger AS l"
    " WHERE l.environment = g.environment AND l.customer_id = g.customer_id)"
)
_LEDGER = "SELECT environment, customer_id, body FROM ledger ORDER BY environment, customer_id, seq, ord"


def examine_logs(
    connection: apsw.Connection,
    findings: Findings,
    damaged: set[Owner],
    counts: dict[str, int],
    progress: Progress,
    data_dir: str = "DIR",
) -> None:
    """Compare everything that is derived from a log with the log.

    Args:
        counts: Rows by table, for the progress.
        data_dir: The directory that the ways out are for.
    """
    hint = (
        f"keep a copy of the directory, then {restoring(data_dir)}; and report it: the engine never lets them differ"
    )
    if {"usage_counter", "measurement", "credit_grant", "ledger"} - counts.keys():
        return
    try:
        stand_in_for_missing(connection)
        _counters(connection, findings, damaged, hint, _Steps("counters", counts["usage_counter"], progress))
        _grants(connection, findings, damaged, hint, _Steps("credits", counts["ledger"], progress))
        if "usage_event" in counts:
            examine_keys(connection, findings, damaged, hint)
    except (apsw.Error, UnicodeDecodeError):
        # The pass over the rows told what cannot be read, and where.
        return


class _Steps:
    def __init__(self, what: str, total: int, progress: Progress) -> None:
        self._what, self._total, self._progress = what, total, progress
        self._done = 0

    def each(self, rows: Any) -> Iterator[Any]:
        for row in rows:
            if self._done % PROGRESS_ROWS == 0:
                self._progress(self._what, self._done, self._total)
            self._done += 1
            yield row


class _Windows:
    """The intervals that are counted now, by customer, resource and feature."""

    def __init__(self, connection: apsw.Connection, now_ms: int) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._catalogs: dict[str, Catalog | None] = {}
        self._owner: Owner | None = None
        self._snapshot: CustomerSnapshot | None = None
        self._decode = msgspec.msgpack.Decoder(CustomerSnapshot).decode

    def of(self, environment: str, customer_id: str, resource_id: str, feature_id: str) -> set[tuple[int, int]]:
        """Empty where the catalog or the customer cannot be read."""
        if environment not in self._catalogs:
            self._catalogs[environment] = self._catalog(environment)
        catalog = self._catalogs[environment]
        if self._owner != (environment, customer_id):
            self._owner = environment, customer_id
            self._snapshot = self._load(environment, customer_id)
        if catalog is None or self._snapshot is None or feature_id not in catalog.features:
            return set()
        return set(
            counting_windows(
                catalog,
                self._snapshot,
                catalog.features[feature_id],
                resource_id=resource_id,
                at_ms=self._now_ms,
                now_ms=self._now_ms,
            )
        )

    def feature(self, environment: str, feature_id: str) -> Feature:
        """The catalog's feature, of which `of` knows an interval."""
        catalog = self._catalogs[environment]
        assert catalog is not None, "there is no interval without a catalog"
        return catalog.features[feature_id]

    def _load(self, environment: str, customer_id: str) -> CustomerSnapshot | None:
        bindings = environment, slot_of(customer_id), customer_id
        rows: list[Any] = self._connection.execute(_SNAPSHOT, bindings).fetchall()
        try:
            return self._decode(rows[0][0]) if rows else None
        except msgspec.MsgspecError:
            return None

    def _catalog(self, environment: str) -> Catalog | None:
        """The compiled catalog; None for a damaged one, which was told, and from which nobody is answered either."""

        def run(statement: str, bindings: tuple[Any, ...]) -> list[Any]:
            return self._connection.execute(statement, bindings).fetchall()

        kinds = list(ITEM_KINDS)
        try:
            rows = catalog_items(run, environment, catalog_root(run, environment)[0])
            listed = sorted((row for row in rows if row[0] != ORDER_KIND), key=lambda row: kinds.index(row[0]))
            return Catalog((kind, decode_item(kind, body)) for kind, _, _, body in listed)
        except (StoreCorrupt, UnicodeDecodeError):
            return None


def _counters(connection: apsw.Connection, findings: Findings, damaged: set[Owner], hint: str, steps: _Steps) -> None:
    cursor = connection.cursor()
    position = read_position(lambda statement, bindings: cursor.execute(statement, bindings).fetchall())
    if position is None:
        return
    windows = _Windows(connection, position.high_water_ms)
    for key, counters in groupby(steps.each(connection.execute(_COUNTERS)), key=lambda row: row[:4]):
        # A damaged header of a row may say of any column that it has none.
        if key[:2] in damaged or not all(isinstance(part, str) for part in key):
            continue
        counted = windows.of(*key)
        stored = [row[4:] for row in counters if row[4:6] in counted]
        if not stored:
            continue
        feature = windows.feature(key[0], key[3])
        measured = _measured(cursor, key) if feature.meter is None else []
        for from_ms, to_ms, value in stored:
            if feature.meter is None:
                inside = (row for row in measured if from_ms <= row.created_ms < to_ms)
                usage = fold(feature, ((row.behavior, row.value) for row in inside))
            else:
                counted_events = _metered(cursor, feature, key, from_ms, to_ms)
                if counted_events is None:
                    continue
                usage = counted_events
            if usage != value:
                findings.add(
                    "CounterDiffers",
                    "error",
                    f"the counter says {value}, its log gives {usage} (raw)",
                    where=f"usage_counter: {', '.join(map(told, key))}, {from_ms}, {to_ms}",
                    hint=hint,
                )


def _measured(cursor: apsw.Cursor, place: tuple[str, str, str, str]) -> list[Measurement]:
    """All measurements of one feature of a customer of whom no row is damaged, in the order of arrival."""
    rows: list[Any] = cursor.execute(MEASUREMENTS, place).fetchall()
    return list(measurements(row[:-1] for row in rows))


def _metered(
    cursor: apsw.Cursor, feature: Feature, key: tuple[str, str, str, str], from_ms: int, to_ms: int
) -> int | None:
    """What raw events give for an interval; None where a part of them is folded, or one cannot be understood."""
    meters = compile_meters((feature,))
    place = key[:3]
    if not meters or (from_ms == 0 and cursor.execute(_FOLDED, (*place, feature.id)).fetchall()):
        return None
    rows: list[Any] = cursor.execute(_EVENTS, (*place, from_ms, to_ms)).fetchall()
    try:
        events = [(name, msgspec.msgpack.decode(body) if body else {}) for name, body in rows]
    except msgspec.MsgspecError:
        return None
    return meters[0].usage(fold_events(meters[0], events))


def _grants(connection: apsw.Connection, findings: Findings, damaged: set[Owner], hint: str, steps: _Steps) -> None:
    entry_of = msgspec.msgpack.Decoder(LedgerEntry).decode
    grant_of = msgspec.msgpack.Decoder(Grant).decode
    cursor = connection.cursor()
    for owner, rows in groupby(steps.each(connection.execute(_LEDGER)), key=lambda row: row[:2]):
        if owner in damaged:
            continue
        try:
            given = {entry.grant.id: entry.grant for entry in (entry_of(row[2]) for row in rows)}
            grants: list[Any] = cursor.execute(_GRANTS, owner).fetchall()
            stored = {grant_id: grant_of(body) for grant_id, body in grants}
        except msgspec.MsgspecError as error:
            findings.add(
                "GrantDiffers",
                "error",
                f"a credit grant or ledger row is whole but cannot be understood: {error}",
                where=f"ledger: {', '.join(map(told, owner))}",
                hint="use the version of this package that wrote it, or a later one",
            )
            continue
        for grant_id in sorted(given.keys() | stored.keys()):
            if given.get(grant_id) != stored.get(grant_id):
                _differs(findings, (*owner, grant_id), hint)
    unledgered: list[Any] = cursor.execute(_UNLEDGERED).fetchall()
    for environment, customer_id, grant_id in unledgered:
        if (environment, customer_id) not in damaged:
            _differs(findings, (environment, customer_id, grant_id), hint)


def _differs(findings: Findings, key: tuple[str, str, str], hint: str) -> None:
    findings.add(
        "GrantDiffers",
        "error",
        "the credit grant is not what its ledger gives",
        where=f"credit_grant: {', '.join(map(told, key))}",
        hint=hint,
    )
