"""Every stored row against its digest, and every sum of digests against the rows that it was made of.

Law: a row is read as it is, also where its bytes are no text any more; one damaged row is told once, as itself, and
not again by each sum that it is part of.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from stigg_local.core.ids import told
from stigg_local.store import digest as tags
from stigg_local.store.digest import MASK, row_sum, slot_of, sum_bytes
from stigg_local.store.finding import Findings
from stigg_local.store.rebuild import member_sum

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

Progress = Callable[[str, int, int], None]
"""Called now and then with what is being looked at, how much is done and how much there is."""

PROGRESS_ROWS = 2048

_RESTORE = "stigg-local db restore BACKUP --data-dir {dir} --replace"
_BY_ITSELF = (
    "stigg-local check {customer} FEATURE --data-dir {dir} rebuilds it from the logs, as any question about this"
    " customer does"
)
_AT_OPENING = "stigg-local status --data-dir {dir} makes it anew"
_NEW_EPOCH = (
    "when no process uses the directory: rm {dir}/authority.mark; then stigg-local status --data-dir {dir} begins an"
    " epoch and makes it anew"
)
_CONFIRM = "stigg-local clock confirm --data-dir {dir} makes it anew"
# Values about the file that a write puts right; the others come with an epoch.
_OF_TIME = ("boot", "clock_confirmed_ms")


class Table(NamedTuple):
    """How the rows of a table are digested.

    `environment` and `key` are the first two parts, `columns` the rest in the digest's order, of which the first
    `width` belong to the row's key. `hint` names `{dir}` and `{customer}`.
    """

    name: str
    tag: int
    environment: str
    key: str
    columns: str
    width: int
    hint: str


TABLES = (
    Table("meta", tags.META, "", "key", "value", 0, _NEW_EPOCH),
    Table("sequence", tags.SEQUENCE, "environment", "", "seq high_water_ms", 0, _AT_OPENING),
    Table("catalog_item", tags.CATALOG_ITEM, "environment", "", "kind id version body seq", 3, _RESTORE),
    Table("catalog_file", tags.CATALOG_FILE, "environment", "", "hash applied_ms name seq", 1, _RESTORE),
    Table("catalog_root", tags.CATALOG_ROOT, "environment", "", "root seq", 0, _RESTORE),
    Table("customer", tags.CUSTOMER, "environment", "customer_id", "seq snapshot numbers log", 0, _BY_ITSELF),
    Table("customer_slot", tags.SLOT, "environment", "", "slot count root", 1, _RESTORE),
    Table("customer_record", tags.RECORD, "environment", "customer_id", "seq body", 0, _RESTORE),
    Table(
        "usage_counter",
        tags.COUNTER,
        "environment",
        "customer_id",
        "resource_id feature_id from_ms to_ms value seq",
        4,
        _BY_ITSELF,
    ),
    Table("credit_grant", tags.GRANT, "environment", "customer_id", "grant_id body seq", 1, _BY_ITSELF),
    Table(
        "measurement",
        tags.MEASUREMENT,
        "environment",
        "customer_id",
        "resource_id feature_id seq ord measurement_id behavior value created_ms at_ms body",
        4,
        _RESTORE,
    ),
    Table("ledger", tags.LEDGER, "environment", "customer_id", "seq ord body", 2, _RESTORE),
    Table(
        "idempotency",
        tags.IDEMPOTENCY,
        "environment",
        "operation",
        "key customer_id fingerprint reply at_ms",
        1,
        f"use another idempotency key, or {_RESTORE}",
    ),
    Table("subscription_owner", tags.OWNER, "environment", "subscription_id", "customer_id", 0, _RESTORE),
)
_TEXTS = frozenset(
    "environment key value kind id hash name customer_id resource_id feature_id grant_id measurement_id behavior"
    " operation subscription_id".split()
)
_TEXT_BODIES = frozenset({"catalog_item", "customer_record"})
_SUMMED = frozenset({"catalog_item", "usage_counter", "credit_grant", "measurement", "ledger", "customer_record"})

Owner = tuple[str, str]
"""(environment, customer id)."""


class Scan:
    """What one pass over one table gave."""

    def __init__(self) -> None:
        self.damaged: list[tuple[str, str, list[Any]]] = []
        self.sums: dict[Owner, int] = {}
        self.kept: dict[Owner, list[Any]] = {}
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
                hint=self._way_out(_RESTORE),
            )
            return None

    def _scan(self, table: Table, done: int, total: int, *, is_raw: bool) -> Scan:
        scan = Scan()
        columns = table.columns.split()
        seq_at = columns.index("seq") if "seq" in columns else -1
        is_customer, is_summed = table.name == "customer", table.name in _SUMMED
        is_kept = table.name in ("customer", "customer_slot", "catalog_root")
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
            elif is_kept:
                # Of a customer without the snapshot, which is most of him.
                scan.kept[environment, key or str(row[0])] = [*(row[2:] if is_customer else row), slot]
            if count % PROGRESS_ROWS == 0:
                self._progress(table.name, done + count, total)
        return scan

    def _rows(self, table: Table, columns: list[str], is_raw: bool) -> Iterator[Any]:
        names = [table.environment or "''", table.key or "''", *columns]
        names.append("slot" if table.name == "customer" else "0")
        are_texts = [name in _TEXTS or (name == "body" and table.name in _TEXT_BODIES) for name in names]
        shown = [
            f"CAST({name} AS BLOB)" if is_raw and is_text else name
            for name, is_text in zip(names, are_texts, strict=True)
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
            hint=self._way_out(_CONFIRM if table.name == "meta" and key in _OF_TIME else table.hint, key),
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
        for column, names, what, hint in (
            (0, ("usage_counter", "credit_grant"), "the usage counters and credit grants", _BY_ITSELF),
            (1, ("measurement", "ledger", "customer_record"), "the rows of the log", _RESTORE),
        ):
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
                    self._differ(owner, f"{what} are there, the customer's row is not", ("customer",), _RESTORE)

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
                    hint=self._way_out(_RESTORE),
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
                    hint=self._way_out(_RESTORE),
                )


def _decoded(row: tuple[Any, ...], are_texts: list[bool]) -> list[Any]:
    *values, digest = row
    return [
        value.decode(errors="backslashreplace") if is_text and isinstance(value, bytes) else value
        for value, is_text in zip(values, are_texts, strict=True)
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
