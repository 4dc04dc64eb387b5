"""A private DB-API face of an apsw connection, so that sqlite-utils can run migrations and fill copies on it.

Laws: one SQLite library per process, so sqlite-utils never opens a file of ours itself; statements are not
cached and rows are drained eagerly, because DDL changes what a cached or half-read statement returns.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import apsw
from sqlite_utils import Database, Migrations
from sqlite_utils.utils import OperationalError

from stigg_local.store.digest import DUE, row_digest
from stigg_local.store.schema import ADDED_V2, ADDED_V3, APPLICATION_ID, OBJECTS_V1
from stigg_local.store.sequence import RECORD_SEAL, put_record_seal

ROWS_AT_ONCE = 500


def migrate(connection: apsw.Connection) -> None:
    """Run what is missing; the caller holds the writer queue."""
    migrations = Migrations("stigg_local")

    @migrations(name="v1")
    def v1(database: Database) -> None:
        for text in OBJECTS_V1.values():
            database.execute(text)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("PRAGMA user_version = 1")

    @migrations(name="v2")
    def v2(database: Database) -> None:
        for text in ADDED_V2.values():
            database.execute(text)
        _make_all_due(connection)
        break_record_seal(database)
        database.execute("PRAGMA user_version = 2")

    @migrations(name="v3")
    def v3(database: Database) -> None:
        for text in ADDED_V3.values():
            database.execute(text)
        break_record_seal(database)
        database.execute("PRAGMA user_version = 3")

    def break_record_seal(database: Database) -> None:
        # It is of the record without the new version; killed before the next one is put, the file has none.
        database.execute("DELETE FROM meta WHERE key = ?", [RECORD_SEAL])

    with _apsw_errors():
        migrations.apply(Database(cast(Any, Facade(connection)), execute_plugins=False))
    put_record_seal(lambda statement, bindings: connection.execute(statement, bindings).fetchall())


class Readable(NamedTuple):
    """A table to make: its columns, without types so that each value stays what it is, its rows and its indexes."""

    name: str
    columns: list[str]
    rows: Iterable[tuple[Any, ...]]
    indexes: tuple[str, ...]


def make_readable(connection: apsw.Connection, tables: Iterable[Readable], views: Mapping[str, str]) -> None:
    """Fill a file that no engine opens with tables and views for people."""
    database = Database(cast(Any, Facade(connection)), execute_plugins=False)
    with _apsw_errors():
        for name, columns, rows, indexes in tables:
            database.execute(f"CREATE TABLE {database.quote(name)} ({', '.join(map(database.quote, columns))})")
            table = database.table(name)
            table.insert_all((dict(zip(columns, row, strict=True)) for row in rows), batch_size=ROWS_AT_ONCE)
            for column in indexes:
                table.create_index([column])
        for name, text in views.items():
            database.create_view(name, text)


@contextmanager
def _apsw_errors() -> Iterator[None]:
    """What happened to the file is apsw's word, which the store knows how to tell."""
    try:
        yield
    except OperationalError as error:
        if isinstance(error.__cause__, apsw.Error):
            raise error.__cause__ from None
        raise


def _make_all_due(connection: apsw.Connection) -> None:
    """Let the first tick look at every customer: only a record tells when time changes it next."""
    cursor = connection.cursor()
    cursor.executemany(
        "INSERT INTO due (environment, customer_id, due_ms, seq, digest) VALUES (?, ?, 0, 0, ?)",
        (
            (environment, customer_id, row_digest(environment, "", (DUE, customer_id, 0, 0)))
            for environment, customer_id in connection.execute(
                "SELECT environment, customer_id FROM customer_record ORDER BY environment, customer_id"
            )
        ),
    )


class Facade:
    """The connection; closing it is left to whoever opened the apsw connection."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.row_factory = None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def cursor(self) -> "FacadeCursor":
        """A new cursor."""
        return FacadeCursor(self._connection)

    def execute(self, sql: str, parameters: Any = ()) -> "FacadeCursor":
        """Run one statement and read all its rows."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Any]) -> "FacadeCursor":
        """Run one statement for each row of parameters."""
        cursor = self.cursor()
        for row in rows:
            cursor.execute(sql, row)
        return cursor

    def executescript(self, sql: str) -> "FacadeCursor":
        """Run several statements."""
        return self.cursor().execute(sql)

    def commit(self) -> None:
        """End the open transaction, if there is one."""
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the open transaction, if there is one."""
        if self.in_transaction:
            self.execute("ROLLBACK")


class FacadeCursor:
    """Rows already read, with what DB-API callers ask about them."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []
        self._next = 0
        self.description: tuple[tuple[Any, ...], ...] | None = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    def execute(self, sql: str, parameters: Any = ()) -> "FacadeCursor":
        """Run and drain; column names are taken when the statement starts, rows or not."""
        cursor = self._connection.cursor()
        names: list[str] = []

        def trace(started: apsw.Cursor, _sql: str, _bindings: Any) -> bool:
            names[:] = [column[0] for column in started.get_description()]
            return True

        cursor.exec_trace = trace
        before = self._connection.total_changes()
        try:
            # apsw refuses bindings for a statement without any, an empty sequence excepted.
            self._rows = cursor.execute(sql, parameters or (), can_cache=False).fetchall()
        except apsw.Error as error:
            # The class that sqlite-utils catches; it comes from there, never from a second library of ours.
            raise OperationalError(str(error)) from error
        self._next = 0
        self.description = tuple((name,) + (None,) * 6 for name in names) if names else None
        self.rowcount = self._connection.total_changes() - before
        self.lastrowid = self._connection.last_insert_rowid()
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        if self._next >= len(self._rows):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that are left."""
        rows = self._rows[self._next :]
        self._next = len(self._rows)
        return rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.fetchall())

    def close(self) -> None:
        """Nothing is held open."""
