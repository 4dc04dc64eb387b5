"""The database file as a file: its header, its pages, its schema, and the table that records migrations.

Law: what no digest covers is compared with the one content that it can have.
"""

from __future__ import annotations

import os
import re
import shlex
import struct
from typing import TYPE_CHECKING, Any

from stigg_local.core.ids import told
from stigg_local.store.finding import Findings, Severity, restoring
from stigg_local.store.schema import APPLICATION_ID, CURRENT, OBJECTS, RECORD_TABLE, USER_VERSION

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

INTEGRITY_LINES_MAX = 5
PAGE_BYTES = 4096
_PAGE_HEAD_BYTES, _INTERIOR = 8, (b"\x02", b"\x05")

_HEAD = struct.Struct(">16sH6B12I20sII")
assert _HEAD.size == 100
# Field of the header -> the values that it can have in a file of ours.
_FIELDS = (
    (1, "page size", (PAGE_BYTES,)),
    (2, "write version", (2,)),
    (3, "read version", (2,)),
    (4, "reserved bytes", (0,)),
    (5, "maximum fraction", (64,)),
    (6, "minimum fraction", (32,)),
    (7, "leaf fraction", (32,)),
)
_FIELDS_WHOLE = (
    (13, "schema format", (4,)),
    (14, "default cache size", (0,)),
    (15, "largest root page", (0,)),
    (16, "text encoding", (1,)),
    (18, "incremental vacuum", (0,)),
    (20, "reserved space", (bytes(20),)),
)
_CHANGES, _PAGES, _VALID_FOR, _LIBRARY = 8, 9, 21, 22

_RECORD_TEXT = (
    'CREATE TABLE "_sqlite_migrations" (\n   "id" INTEGER PRIMARY KEY,\n   "migration_set" TEXT,\n'
    '   "name" TEXT,\n   "applied_at" TEXT\n)'
)
_RECORD_COLUMNS = frozenset({"migration_set", "name", "applied_at"})
# By the version of the schema.
_RECORDED = {version: [(place, "stigg_local", f"v{place}") for place in range(1, version + 1)] for version in OBJECTS}
_INSTANT = re.compile(r"20\d\d-[01]\d-[0-3]\d[ T][0-2]\d:[0-5]\d:[0-5]\d(\.\d{1,6})?(\+00:00|Z)?")
_INDEX_TABLE = re.compile(r"CREATE INDEX \w+ ON (\w+) ")


class Schema:
    """The examination of one copied database.

    Args:
        connection: To the copy.
        path: The original, for the findings.

    Attributes:
        version: Its schema version; None where it cannot be read.
    """

    def __init__(self, connection: apsw.Connection, path: str, findings: Findings) -> None:
        self._connection = connection
        self._path = path
        self._findings = findings
        self._restore = restoring(os.path.dirname(path))
        self.version: int | None = None

    def is_ours(self, *, was_ours: bool) -> bool:
        """Whether the tables can be looked at as ours.

        Args:
            was_ours: Whether something beside the database says that there was one.
        """
        rows = self._connection.execute(
            "SELECT CAST(type AS BLOB), CAST(name AS BLOB), CAST(tbl_name AS BLOB), CAST(sql AS BLOB), rowid"
            " FROM sqlite_schema ORDER BY rowid"
        ).fetchall()
        objects = {_text(name): (_text(kind), _text(table), _text(text)) for kind, name, table, text, _ in rows}
        application_id, version = self._pragma("application_id"), self._pragma("user_version")
        self.version = version
        if application_id == 0 and version == 0 and all(table == RECORD_TABLE for _, table, _ in objects.values()):
            fill = f"stigg-local catalog apply FILE --data-dir {shlex.quote(os.path.dirname(self._path))}"
            self._add(
                "DatabaseEmpty",
                "error" if was_ours else "warning",
                "the database is empty" + (", although there was one here" if was_ours else ""),
                self._restore if was_ours else fill,
            )
            return False
        if application_id != APPLICATION_ID:
            self._add(
                "ForeignDatabase",
                "error",
                f"the database belongs to another program (application id {application_id:#x})",
                f"name another data directory, or move the file away: mv {shlex.quote(self._path)} ELSEWHERE",
            )
            return False
        if version > USER_VERSION:
            self._add(
                "SchemaTooNew",
                "error",
                f"the database has schema version {version}, this program knows {USER_VERSION}",
                "upgrade this program: pip install --upgrade stigg-local",
            )
            return False
        if version not in OBJECTS:
            self._add("SchemaDiffers", "error", f"the database has no schema version ({version})", self._restore)
        # A file of an older version is brought to this one when a client opens it.
        expected = OBJECTS.get(version, CURRENT)
        self._compare(objects, expected)
        self._compare_record(objects, _RECORDED.get(version, _RECORDED[USER_VERSION]))
        is_ours_alone = all(name in expected or table == RECORD_TABLE for name, (_, table, _) in objects.items())
        if is_ours_alone and [row[4] for row in rows] != list(range(1, len(rows) + 1)):
            self._add("SchemaDiffers", "error", "the schema's rows are not numbered as they were made", self._restore)
        return True

    def _pragma(self, name: str) -> int:
        value = self._connection.pragma(name)
        assert isinstance(value, int)
        return value

    def _compare(self, objects: dict[str, tuple[str, str, str]], expected: dict[str, str]) -> None:
        for name, text in expected.items():
            index = _INDEX_TABLE.match(text)
            wanted = ("index", index[1], text) if index else ("table", name, text)
            if name not in objects:
                self._add("SchemaDiffers", "error", f"`{name}` is missing in the schema", self._restore)
            elif objects[name] != wanted:
                self._add("SchemaDiffers", "error", f"the schema's text of `{name}` differs", self._restore)
        for name, (kind, table, _) in objects.items():
            if name in expected or table == RECORD_TABLE or name.startswith("sqlite_"):
                continue
            self._add(
                "UnknownObject",
                "warning" if kind == "trigger" else "note",
                f"the database has a {told(kind)} `{told(name)}` that is not the engine's",
                f'drop it, and keep what is your own in a file of your own: DROP {told(kind).upper()} "{told(name)}"',
            )

    def _compare_record(self, objects: dict[str, tuple[str, str, str]], recorded: list[tuple[int, str, str]]) -> None:
        """The table of migrations, whose rows have no digest: its content is known but for an instant."""
        kind, table, text = objects.get(RECORD_TABLE, ("", "", ""))
        rows: list[Any] = []
        if kind:
            columns = {str(row[1]) for row in self._connection.execute(f"PRAGMA table_info({RECORD_TABLE})")}
            if columns >= _RECORD_COLUMNS:
                rows = self._connection.execute(
                    "SELECT rowid, CAST(migration_set AS BLOB), CAST(name AS BLOB), CAST(applied_at AS BLOB),"
                    " typeof(migration_set), typeof(name), typeof(applied_at)"
                    f" FROM {RECORD_TABLE} ORDER BY rowid"
                ).fetchall()
        found = [(row[0], _text(row[1]), _text(row[2])) for row in rows]
        # Another version of sqlite-utils may word it otherwise; damage does not change the length.
        is_worded = text == _RECORD_TEXT or len(text) != len(_RECORD_TEXT)
        is_dated = all(_INSTANT.fullmatch(_text(row[3])) and set(row[4:]) == {"text"} for row in rows)
        if (kind, table) != ("table", RECORD_TABLE) or found != recorded or not is_worded or not is_dated:
            self._add(
                "MigrationsDiffer",
                "warning",
                f"`{RECORD_TABLE}` does not record what made this schema",
                self._restore,
            )

    # ------------------------------------------------------------------ pages

    def examine_pages(self) -> None:
        """Let SQLite check every page, the list of free ones and every index."""
        try:
            lines = [row[0] for row in self._connection.execute(f"PRAGMA integrity_check({INTEGRITY_LINES_MAX})")]
        except apsw.Error as error:
            # The tables that can be read are looked at all the same.
            self.unreadable(error)
            return
        except UnicodeDecodeError:
            lines = ["a name in the schema is no text any more"]
        for line in lines:
            if line != "ok":
                self._add("DatabaseDamaged", "error", f"SQLite: {told(line)}", self._restore)

    def unreadable(self, error: Exception) -> None:
        """What SQLite itself cannot read."""
        self._add(
            "DatabaseDamaged",
            "error",
            f"SQLite cannot read it: {error}",
            f"{self._restore}; without a backup, the next opening of a client sets the file aside and keeps it",
        )

    def examine_header(self, original: bytes, copy: str) -> None:
        """The fields that SQLite does not look at, of the file itself and of what its log makes of it.

        Args:
            original: The first bytes of the file itself.
            copy: The copy, into which its log was worked.
        """
        with open(copy, "rb") as file:
            whole = file.read(_HEAD.size)
            size = os.fstat(file.fileno()).st_size
        for head, fields in ((original, _FIELDS), (whole, _FIELDS_WHOLE)):
            if len(head) < _HEAD.size:
                continue
            values = _HEAD.unpack(head)
            for index, name, allowed in fields:
                if values[index] not in allowed:
                    self._header_differs(f"the {name} is {told(values[index])} instead of {told(allowed[0])}")
        if len(whole) < _HEAD.size:
            return
        self._examine_roots(copy)
        values = _HEAD.unpack(whole)
        if values[_CHANGES] != values[_VALID_FOR]:
            self._header_differs(f"it counts {values[_CHANGES]} changes in one place, {values[_VALID_FOR]} in another")
        if not 3_000_000 <= values[_LIBRARY] < 4_000_000:
            self._header_differs(f"the library's version is {values[_LIBRARY]}")
        if size != values[_PAGES] * PAGE_BYTES and values[_CHANGES] == values[_VALID_FOR]:
            self._header_differs(f"it has {size:,} bytes, its {values[_PAGES]:,} pages are {PAGE_BYTES} bytes each")

    def _examine_roots(self, copy: str) -> None:
        """What SQLite's own check takes for an empty table: a root that says it leads on, and leads nowhere."""
        roots = self._connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 1").fetchall()
        with open(copy, "rb") as file:
            for name, root in roots:
                file.seek((int(str(root)) - 1) * PAGE_BYTES)
                head = file.read(_PAGE_HEAD_BYTES)
                if head[:1] in _INTERIOR and head[3:5] == b"\0\0":
                    what = f"the first page of `{told(name)}` leads to no other, although it says so"
                    self._add("DatabaseDamaged", "error", what, self._restore)

    def _header_differs(self, what: str) -> None:
        self._add("HeaderDamaged", "error", f"the database's header is damaged: {what}", self._restore)

    def _add(self, id: str, severity: Severity, what: str, hint: str) -> None:
        self._findings.add(id, severity, what, where=self._path, hint=hint)


def _text(stored: Any) -> str:
    return stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored or "")
