"""Every stored row against its digest, and every sum of digests against the rows that it was made of.

Law: a row is read as it is, also where its bytes are no text any more; one damaged row is told once, as itself, and
not again by each sum that it is part of.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from stigg_local.core.ids import told
from stigg_local.store.digest import MASK, MEMBER_OF_METER, row_sum, slot_of, sum_bytes
from stigg_local.store.event_log_rows import DEAD_MS
from stigg_local.store.examine_tables import (
    AT_EVENT,
    BY_ITSELF,
    CONFIRM,
    KEPT,
    OF_TIME,
    RESTORE,
    SUMMED,
    TABLES,
    Table,
    is_text,
)
from stigg_local.store.finding import Findings
from stigg_local.store.rebuild import member_sum
from stigg_local.store.schema import ADDED

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

Progress = Callable[[str, int, int], None]
"""Called now and then with what is being looked at, how much is done and how much there is."""

PROGRESS_ROWS = 2048

_MEMBERS = "SELECT environment, customer_id, number, value FROM meter_member"
_MEMBER_TOTALS = "SELECT environment, customer_id, number, members, from_ms FROM meter_value"

# What a customer's log is made of.
_LOG = ("measurement", "measurement_pack", "usage_event", "ledger", "customer_record")

Owner = tuple[str, str]
"""(environment, customer id)."""


class Scan:
    """What one pass over one table gave."""

    def __init__(self) -> None:
        self.damaged: list[tuple[str, str, list[Any]]] = []
        self.sums: dict[Owner, int] = {}
        self.kept: dict[Owner, list[Any]] = {}
        # Of the event log, by environment.
        self.rows: dict[str, int] = {}
        self.seq_max = 0


class Rows:
    """One pass over all tables.

    Args:
        data_dir: The directory that the ways out are for.

    Attributes:
        counts: Rows by table.
        seq_max: The highest transaction number of any row.
        damaged: Customers of whom a row is damaged or missing: what follows from that is not told again.
    """

    def __init__(
        self, connection: apsw.Connection, findings: Findings, progress: Progress, data_dir: str = "DIR"
    ) -> None:
        self._connection = connection
        self._findings = findings
        self._progress = progress
        self._directory = shlex.quote(data_dir) if data_dir != "DIR" else data_dir
        self.counts: dict[str, int] = {}
        self.seq_max = 0
        self.damaged: set[Owner] = set()
        self._scans: dict[str, Scan] = {}

    def run(self) -> None:
        """Look at everything."""
        present = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        tables = [table for table in TABLES if table.name in present]
        for table in tables:
            self.counts[table.name] = self._count(table)
        total, done = sum(self.counts.values()), 0
        for table in tables:
            self._progress(table.name, done, total)
            scan = self._whole(table, done, total)
            done += self.counts[table.name]
            if scan is None:
                continue
            self._scans[table.name] = scan
            self.seq_max = max(self.seq_max, scan.seq_max)
            for environment, key, row in scan.damaged:
                self._tell(table, environment, key, row)
        self._compare_customers()
        self._compare_slots()
        self._compare_catalog()
        self._compare_events()
        self._compare_members()

    def _count(self, table: Table) -> int:
        try:
            rows: list[Any] = self._connection.execute(f"SELECT count(*) FROM {table.name}").fetchall()
            return int(rows[0][0])
        except apsw.Error:
            # Told by the scan, with its place.
            return 0

    def _whole(self, table: Table, done: int, total: int) -> Scan | None:
        """The scan of a table; None where SQLite cannot read all of it."""
        try:
            try:
                return self._scan(table, done, total, is_raw=False)
            except UnicodeDecodeError:
                # A text is none any more: once more, with every text as bytes.
                return self._scan(table, done, total, is_raw=True)
        except apsw.Error as error:
            self._findings.add(
                "TableUnreadable",
                "error",
                f"SQLite cannot read all of it: {error}",
                where=table.name,
                hint=self._way_out(RESTORE),
            )
            return None

    def _scan(self, table: Table, done: int, total: int, *, is_raw: bool) -> Scan:
        scan = Scan()
        columns = table.columns.split()
        seq_at = columns.index("seq") if "seq" in columns else -1
        is_customer, is_summed = table.name == "customer", table.name in SUMMED
        is_kept = table.name in KEPT
        is_counted = table.name == "audit"
        sums, tag = scan.sums, table.tag
        for count, (environment, key, *row, slot, digest) in enumerate(self._rows(table, columns, is_raw)):
            row_total = _sum(environment, key, (tag, *row))
            if digest != sum_bytes(row_total) or (is_customer and slot != _slot(key)):
                scan.damaged.append((environment, key, [*row, slot]))
            elif seq_at >= 0 and row[seq_at] > scan.seq_max:
                scan.seq_max = row[seq_at]
            if is_summed:
                owner = environment, key
                sums[owner] = sums.get(owner, 0) + row_total
                if is_counted:
                    scan.rows[environment] = scan.rows.get(environment, 0) + 1
            elif is_kept:
                # Of a customer without the snapshot, which is most of him.
                scan.kept[environment, key or str(row[0])] = [*(row[2:] if is_customer else row), slot]
            if count % PROGRESS_ROWS == 0:
                self._progress(table.name, done + count, total)
        return scan

    def _rows(self, table: Table, columns: list[str], is_raw: bool) -> Iterator[Any]:
        names = [table.environment or "''", table.key or "''", *columns]
        names.append("slot" if table.name == "customer" else "0")
        are_texts = [is_text(table, name) for name in names]
        shown = [
            f"CAST({name} AS BLOB)" if is_raw and text else name for name, text in zip(names, are_texts, strict=True)
        ]
        rows = self._connection.execute(f"SELECT {', '.join(shown)}, digest FROM {table.name}")
        return (_decoded(row, are_texts) for row in rows) if is_raw else rows

    def _tell(self, table: Table, environment: str, key: str, row: list[Any]) -> None:
        parts = [environment] if table.environment else []
        parts += [key] if table.key else []
        parts += [str(value) for value in row[: table.width]]
        self._findings.add(
            "RowDamaged",
            "error",
            f"a row of `{table.name}` does not match its digest",
            where=f"{table.name}: {', '.join(told(part) for part in parts)}",
            hint=self._way_out(CONFIRM if table.name == "meta" and key in OF_TIME else table.hint, key),
            of=table.name,
        )
        if table.key == "customer_id":
            self.damaged.add((environment, key))

    # ------------------------------------------------------------------ sums

    def _compare_customers(self) -> None:
        """Each customer's numbers and log against what his row says of them."""
        customers = self._scans.get("customer")
        if customers is None:
            return
        for column, names_of, what, hint in (
            (0, ("usage_counter", "credit_grant", "hold"), "the usage counters, grants and reservations", BY_ITSELF),
            (1, _LOG, "the rows of the log", RESTORE),
        ):
            # A file of an older version has not all of them.
            names = tuple(name for name in names_of if name in self.counts or name not in ADDED)
            if any(name not in self._scans for name in names):
                continue
            sums: dict[Owner, int] = {}
            for name in names:
                for owner, total in self._scans[name].sums.items():
                    sums[owner] = sums.get(owner, 0) + total
            for owner, row in customers.kept.items():
                if row[column] != sum_bytes(sums.pop(owner, 0)) and owner not in self.damaged:
                    self._differ(owner, f"{what} are not those that the customer's row was made of", names, hint)
            for owner in sums:
                if owner not in self.damaged:
                    self._differ(owner, f"{what} are there, the customer's row is not", ("customer",), RESTORE)

    def _differ(self, owner: Owner, what: str, names: tuple[str, ...], hint: str) -> None:
        self.damaged.add(owner)
        self._findings.add(
            "SumDiffers",
            "error",
            what,
            where=f"{', '.join(names)}: {', '.join(map(told, owner))}",
            hint=self._way_out(hint, owner[1]),
        )

    def _way_out(self, hint: str, customer_id: object = "") -> str:
        return hint.format(dir=self._directory, customer=shlex.quote(told(customer_id)))

    def _compare_slots(self) -> None:
        """The index of customers against the customers."""
        customers, slots = self._scans.get("customer"), self._scans.get("customer_slot")
        if customers is None or slots is None:
            return
        found: dict[tuple[str, int], list[int]] = {}
        for (environment, customer_id), row in customers.kept.items():
            members = found.setdefault((environment, row[-1]), [])
            members.append(_member_sum(environment, row[-1], customer_id))
        # A customer whose own row is damaged was told already, and may stand in a wrong slot.
        told_of = {(environment, _slot(key)) for environment, key, _ in customers.damaged}
        told_of |= {(environment, row[-1]) for environment, _, row in customers.damaged}
        told_of |= {(environment, row[0]) for environment, _, row in slots.damaged}
        stored = {(environment, row[0]): row for (environment, _), row in slots.kept.items()}
        for place in sorted((found.keys() | stored.keys()) - told_of):
            members = found.get(place, [])
            _, count, root, _ = stored.get(place, (place[1], 0, bytes(8), 0))
            if (len(members), sum_bytes(sum(members) & MASK)) != (count, root):
                self._findings.add(
                    "SumDiffers",
                    "error",
                    f"the index of customers has {count} in slot {place[1]}, the table has {len(members)}",
                    where=f"customer_slot: {told(place[0])}, {place[1]}",
                    hint=self._way_out(RESTORE),
                )

    def _compare_catalog(self) -> None:
        """The catalog's items against the root."""
        items, roots = self._scans.get("catalog_item"), self._scans.get("catalog_root")
        if items is None or roots is None or items.damaged or roots.damaged:
            return
        sums = {environment: total & MASK for (environment, _), total in items.sums.items()}
        stored = {environment: row[0] & MASK for (environment, _), row in roots.kept.items()}
        for environment in sorted(sums.keys() | stored.keys()):
            if sums.get(environment, 0) != stored.get(environment, 0):
                self._findings.add(
                    "SumDiffers",
                    "error",
                    "the catalog's items are not those that its root was made of",
                    where=f"catalog_item: {told(environment)}",
                    hint=self._way_out(RESTORE),
                )

    def _compare_events(self) -> None:
        """The event log against the row that sums it up."""
        events, roots = self._scans.get("audit"), self._scans.get("audit_root")
        if events is None or roots is None or events.damaged or roots.damaged:
            return
        found = {
            environment: (events.rows[environment], sum_bytes(total))
            for (environment, _), total in events.sums.items()
        }
        stored = {environment: (row[0], row[1]) for (environment, _), row in roots.kept.items()}
        nothing = 0, bytes(8)
        for environment in sorted(found.keys() | stored.keys()):
            count, root = stored.get(environment, nothing)
            if found.get(environment, nothing) != (count, root):
                self._findings.add(
                    "SumDiffers",
                    "error",
                    f"the event log is to have {count} events, and does not have those",
                    where=f"audit: {told(environment)}",
                    hint=self._way_out(RESTORE),
                )

    def _compare_members(self) -> None:
        """The sets of meters against the sums in the meters' rows."""
        meters = self._scans.get("meter_value")
        if meters is None:
            return
        try:
            found: dict[tuple[str, str, int], int] = {}
            for environment, customer_id, number, value in self._connection.execute(_MEMBERS):
                total = _sum(environment, customer_id, (MEMBER_OF_METER, number, value))
                place = environment, customer_id, number
                found[place] = found.get(place, 0) + total
            for environment, customer_id, number, members, from_ms in self._connection.execute(_MEMBER_TOTALS):
                total = found.pop((environment, customer_id, number), 0)
                # Of one that nothing counts in any more, members are on their way out.
                if from_ms != DEAD_MS and sum_bytes(total) != members:
                    found[environment, customer_id, number] = total
        except (apsw.Error, UnicodeDecodeError) as error:
            self._findings.add(
                "TableUnreadable",
                "error",
                f"SQLite cannot read all of it: {error}",
                where="meter_member",
                hint=self._way_out(RESTORE),
            )
            return
        for owner in sorted({(environment, customer_id) for environment, customer_id, _ in found} - self.damaged):
            self._differ(owner, "a meter's set is not the one that was counted", ("meter_member",), AT_EVENT)


def _decoded(row: tuple[Any, ...], are_texts: list[bool]) -> list[Any]:
    *values, digest = row
    return [
        value.decode(errors="backslashreplace") if text and isinstance(value, bytes) else value
        for value, text in zip(values, are_texts, strict=True)
    ] + [digest]


def _sum(environment: Any, key: Any, row: tuple[Any, ...]) -> int:
    """The digest of a row as a number; of one that cannot be digested any more, a number that none is."""
    try:
        return row_sum(environment, key, row)
    except (TypeError, ValueError):
        return -1


def _member_sum(environment: str, slot: int, customer_id: str) -> int:
    try:
        return member_sum(environment, slot, customer_id)
    except (TypeError, ValueError):
        return -1


def _slot(customer_id: Any) -> int:
    try:
        return slot_of(customer_id)
    except (AttributeError, UnicodeError):
        return -1
