"""The examination of a data directory: what is wrong in it and beside it, found on a copy, with nothing changed.

Law: it goes on as far as the directory lets it; what cannot be looked at is a finding, not an exception.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from stigg_local.clock import Clock, wall_ms
from stigg_local.core.ids import told
from stigg_local.errors import StoreError
from stigg_local.store.connection import SQLITE_VERSION_MIN, check_version
from stigg_local.store.digest import CATALOG_FILE, row_digest
from stigg_local.store.examine_directory import GENERATION, MARK, examine_directory
from stigg_local.store.examine_files import Look, look, no_room
from stigg_local.store.examine_ids import examine_ids
from stigg_local.store.examine_logs import examine_logs
from stigg_local.store.examine_owners import examine_owners
from stigg_local.store.examine_rows import Progress, Rows
from stigg_local.store.examine_schema import Schema
from stigg_local.store.finding import Finding, Findings, opening, removing, restoring
from stigg_local.store.high_water import HighWater
from stigg_local.store.schema import USER_VERSION
from stigg_local.store.sequence import RECORD_SEAL, Position, read_meta, read_position, record_seal
from stigg_local.store.site import DEFAULT_FILENAME

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

# A wall clock may be set back by this much without anybody noticing: time stands still for as long.
BEHIND_MS_MAX = 60_000

_FILES = "SELECT environment, hash, applied_ms, name, seq, digest FROM catalog_file ORDER BY seq, hash"
_ENVIRONMENTS = "SELECT CAST(environment AS BLOB) FROM sequence ORDER BY seq DESC"
_META_KEYS = frozenset({"file_id", "epoch", "created_ms"})


class Applied(Struct, frozen=True):
    """One catalog file that was applied."""

    environment: str
    hash: str
    applied_ms: int
    name: str


class Examined(Struct, frozen=True, kw_only=True):
    """What an examination gave.

    Attributes:
        facts: What was seen, by topic; plain values.
        findings: What is wrong, worst first, notes at the end.
        applied: Catalog files that were applied, oldest first; None where the database cannot be read.
        environment: The directory's environment; None where nothing names it.
    """

    facts: dict[str, dict[str, Any]]
    findings: tuple[Finding, ...]
    applied: tuple[Applied, ...] | None
    environment: str | None


def examine_store(
    data_dir: str, *, clock: Clock, progress: Progress, ignore: frozenset[str] = frozenset()
) -> Examined:
    """Look at everything in a data directory.

    Args:
        data_dir: An existing directory.
        clock: What the stored time is compared with.
        progress: Called now and then.
        ignore: Real paths of files in it that the caller knows of.

    Raises:
        StoreError: There is no room for a copy of the database, or no process to make it.
    """
    findings = Findings()
    directory = os.path.realpath(data_dir)
    facts: dict[str, dict[str, Any]] = {"versions": _versions(findings)}
    facts["directory"] = examine_directory(directory, findings, ignore)
    target = _temporary_directory(directory)
    try:
        progress("copy", 0, 0)
        seen = look(directory, target, findings, progress)
        database = _Database(seen, directory, findings, clock, progress)
        if seen.copy is not None:
            database.examine()
        facts |= database.facts()
        environment = seen.side.environment or next(iter(database.environments), None)
        return Examined(facts=facts, findings=findings.listed(), applied=database.applied, environment=environment)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _temporary_directory(directory: str) -> str:
    """A directory for the copy, of the owner alone, and not in the one that is looked at."""
    parent = os.path.realpath(tempfile.gettempdir())
    if os.path.commonpath((parent, directory)) == directory:
        raise no_room(parent, "that is in the directory itself")
    try:
        return tempfile.mkdtemp(prefix="stigg-local-doctor-")
    except OSError as error:
        raise no_room(parent, error.strerror or str(error)) from error


def _versions(findings: Findings) -> dict[str, Any]:
    version = apsw.sqlite_lib_version()
    try:
        check_version(version)
    except StoreError as error:
        findings.add("SQLiteTooOld", "error", error.message, where="apsw", hint="pip install --upgrade apsw")
    return {
        "python": platform.python_version(),
        "sqlite": version,
        "apsw": apsw.apsw_version(),
        "sqliteMin": ".".join(map(str, SQLITE_VERSION_MIN)),
        "schemaKnown": USER_VERSION,
    }


class _Database:
    """The database's copy, and what is found in it."""

    def __init__(self, seen: Look, directory: str, findings: Findings, clock: Clock, progress: Progress) -> None:
        self._seen = seen
        self._directory = directory
        self._path = os.path.join(directory, DEFAULT_FILENAME)
        self._restore = restoring(directory)
        self._findings = findings
        self._clock = clock
        self._progress = progress
        self._meta: dict[str, str] = {}
        self._position: Position | None = None
        self._schema_version: int | None = None
        self._counts: dict[str, int] = {}
        self._is_suspect = False
        self.applied: tuple[Applied, ...] | None = None
        self.environments: tuple[str, ...] = ()

    def facts(self) -> dict[str, dict[str, Any]]:
        """What was seen, by topic."""
        seen, position = self._seen, self._position
        side = seen.side
        return {
            "database": {
                "bytes": seen.database_bytes,
                "walBytes": seen.wal_bytes,
                "schemaVersion": self._schema_version,
                "fileId": self._meta.get("file_id"),
                "epoch": int(self._meta["epoch"]) if self._meta.get("epoch", "").isdecimal() else None,
                "seq": None if position is None else position.seq,
                "environment": side.environment or next(iter(self.environments), None),
                "rows": self._counts,
            },
            "generation": {
                "seq": side.generations and side.generations.seq_max,
                "inFlight": side.generations and side.generations.in_flight,
                "markSeq": side.mark and side.mark.seq,
            },
            "processes": {
                "open": seen.is_live,
                "leader": seen.has_leader,
                "leaderPid": next((process.pid for process in seen.processes if process.leads), None),
                "pids": [process.pid for process in seen.processes],
            },
            "outbox": {"depth": 0},
            "clock": {
                "wallMs": wall_ms(self._clock),
                "highWaterMs": None if position is None else position.high_water_ms,
                "suspect": self._is_suspect,
            },
        }

    def examine(self) -> None:
        """Everything that needs SQL."""
        assert self._seen.copy is not None
        try:
            connection = apsw.Connection(self._seen.copy)
        except apsw.Error as error:
            self._add("DatabaseDamaged", "error", f"SQLite cannot open it: {error}", self._restore)
            return
        schema = Schema(connection, self._path, self._findings)
        try:
            # The copy is ours alone: what SQLite finds damaged in it must not stop what comes after.
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            if schema.is_ours(was_ours=self._seen.side.mark is not None):
                self._progress("pages", 0, 0)
                schema.examine_pages()
                self._content(connection)
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                schema.examine_header(self._seen.header, self._seen.copy)
        except (apsw.Error, UnicodeDecodeError) as error:
            schema.unreadable(error)
        finally:
            self._schema_version = schema.version
            connection.close(True)

    def _add(self, id: str, severity: Any, what: str, hint: str) -> None:
        self._findings.add(id, severity, what, where=self._path, hint=hint)

    # ------------------------------------------------------------------ rows, position, time

    def _content(self, connection: apsw.Connection) -> None:
        rows = Rows(connection, self._findings, self._progress, self._directory)
        rows.run()
        self._counts = rows.counts
        examine_logs(connection, self._findings, rows.damaged, rows.counts, self._progress, self._directory)
        if not self._findings.has("RowDamaged", "TableUnreadable"):
            examine_owners(connection, self._findings, rows.counts, self._progress, self._restore)

        def run(statement: str, bindings: tuple[Any, ...]) -> list[Any]:
            return connection.execute(statement, bindings).fetchall()

        if "meta" in rows.counts:
            self._meta = read_meta(run)
        if "sequence" in rows.counts:
            self._position = read_position(run)
            self.environments = tuple(_text(row[0]) for row in run(_ENVIRONMENTS, ()))
        sealed = self._meta.get(RECORD_SEAL)
        # A directory of before this was sealed has none.
        if sealed is not None and sealed != record_seal(run) and not self._findings.has("MigrationsDiffer"):
            self._add("MigrationsDiffer", "warning", "the record of migrations is not as it was sealed", self._restore)
        self._agreement(rows.seq_max)
        self._time()
        examine_ids(connection, self._findings)
        self._applied(connection)

    def _agreement(self, row_seq_max: int) -> None:
        """Sequence, epoch and identity, as the database and the files beside it tell them."""
        position, mark = self._position, self._seen.side.mark
        if "lost_ms" in self._meta:
            self._add(
                "DataLost",
                "warning",
                "a damaged database was set aside, and what it held is missing here",
                f"{self._restore}; without a backup, move the directory away and begin a new one",
            )
        if mark is not None and mark.is_suspect:
            self._add(
                "DamageReported",
                "warning",
                "SQLite reported damage while a process used it",
                f"{opening(self._directory)} checks the file, once no other process uses it, and sets it aside"
                " where it must",
            )
        if position is None:
            return
        if not self._findings.has("RowDamaged", "TableUnreadable") and _META_KEYS - self._meta.keys():
            missing = ", ".join(sorted(_META_KEYS - self._meta.keys()))
            self._add(
                "MetaMissing",
                "warning",
                f"`meta` has no {missing}",
                f"{removing(self._directory, MARK)}; then {opening(self._directory)} begins an epoch and makes it",
            )
        if position.seq < row_seq_max:
            self._add(
                "SequenceBehind",
                "error",
                f"a row is of transaction {row_seq_max}, the sequence says {position.seq}",
                self._restore,
            )
        self._commits(position.seq)
        self._identity()

    def _commits(self, seq: int) -> None:
        """Whether the files beside it remember a transaction that the database does not hold."""
        mark, generations = self._seen.side.mark, self._seen.side.generations
        marked = 0 if mark is None else mark.seq
        shown = 0 if generations is None else generations.seq_max
        if mark is not None and mark.file_id and marked <= seq < shown and generations is not None:
            # The slots are stored before the mark, by one transaction at a time.
            if shown > marked + 1:
                self._findings.add(
                    "GenerationDamaged",
                    "warning",
                    f"it shows transaction {shown}, the last one was {seq}",
                    where=os.path.join(self._directory, GENERATION),
                    hint=f"{removing(self._directory, GENERATION)}; the next one makes it anew",
                )
                return
        elif max(marked, shown) <= seq:
            return
        self._add(
            "CommitsLost",
            "error",
            f"transaction {max(marked, shown)} was committed here, the database ends with {seq}: its write-ahead log"
            " was cut, or an older copy was put in its place",
            f"{self._restore}; or go on from here: {opening(self._directory)} begins a new epoch",
        )

    def _identity(self) -> None:
        mark, meta = self._seen.side.mark, self._meta
        file_id, epoch = meta.get("file_id"), meta.get("epoch")
        environments, named = self.environments, self._seen.side.environment
        if environments and named is not None and named not in environments:
            self._add(
                "AnotherEnvironment",
                "error",
                f"the directory is of the environment `{told(named)}`, the database of"
                f" `{told(', '.join(environments))}`",
                self._restore,
            )
        if mark is None or not mark.file_id or file_id is None or epoch is None:
            return
        if (mark.file_id, str(mark.epoch)) != (file_id, epoch):
            self._add(
                "AnotherDatabase",
                "warning",
                f"the files beside it belong to database {mark.file_id} in epoch {mark.epoch}, this is {told(file_id)}"
                f" in epoch {told(epoch)}",
                f"where you put it there: {opening(self._directory)} begins a new epoch; else {self._restore}",
            )

    def _time(self) -> None:
        position = self._position
        if position is None:
            return
        high_water = HighWater(self._clock)
        high_water.load(position.high_water_ms, _anchor(self._meta.get("boot")))
        wall = wall_ms(self._clock)
        self._is_suspect = high_water.is_suspect
        if high_water.is_suspect:
            self._findings.add(
                "ClockSuspect",
                "warning",
                f"the wall clock is {_span(wall - position.high_water_ms)} ahead of the last stored time, more than"
                " can be believed unasked",
                where="clock",
                hint="correct the machine's clock; where it is right:"
                f" stigg-local clock confirm --data-dir {shlex.quote(self._directory)}",
            )
        elif wall + BEHIND_MS_MAX < position.high_water_ms:
            self._findings.add(
                "ClockBehind",
                "warning",
                f"the wall clock is {_span(position.high_water_ms - wall)} behind the last stored time, so that time"
                " stands still",
                where="clock",
                hint="correct the machine's clock; time goes on when it has caught up",
            )

    def _applied(self, connection: apsw.Connection) -> None:
        try:
            self.applied = tuple(
                Applied(environment, *row)
                for environment, *row, seq, digest in connection.execute(_FILES)
                if digest == row_digest(environment, "", (CATALOG_FILE, *row, seq))
            )
        except (apsw.Error, UnicodeDecodeError):
            # The pass over the rows told why.
            self.applied = None


def _anchor(stored: str | None) -> str | None:
    """The stored anchor of a boot, unless it is none."""
    parts = (stored or "").split("|")
    return stored if len(parts) == 3 and all(part.lstrip("-").isdecimal() for part in parts[1:]) else None


def _span(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"


def _text(stored: Any) -> str:
    return stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored or "")
