"""A connection that can only read, on which the readable views are; what it is asked is one statement at a time.

Laws: it cannot write, by how it is opened and by what it allows; what takes too long is stopped, and what is too
large is not built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from stigg_local.core.nearest import nearest
from stigg_local.errors import InvalidInput, NotAllowed, StoreError
from stigg_local.store.connection import connect, store_error
from stigg_local.store.schema import schema_version
from stigg_local.store.seals import undecodable
from stigg_local.store.views import add_views

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

# A value of this size is no answer that a person reads, and many of them would fill the memory.
VALUE_BYTES_MAX = 64 << 20
# A pattern of LIKE or GLOB can take time that nobody is asked about.
PATTERN_BYTES_MAX = 1000
# SQLite asks after so many steps whether to go on: every few milliseconds.
STEPS_BETWEEN_LOOKS = 100_000

_SIZES = (
    "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat AS d JOIN main.sqlite_schema AS s ON s.name = d.name"
    " WHERE d.schema = 'main' AND d.aggregate = 1 GROUP BY s.tbl_name"
)
_READING = ("SQLITE_SELECT", "SQLITE_READ", "SQLITE_FUNCTION", "SQLITE_RECURSIVE")
# What these tell is about the file, and asking changes nothing; with a value, some of them would.
_QUIET_PRAGMAS = frozenset(
    "application_id collation_list compile_options data_version database_list encoding foreign_key_list freelist_count"
    " function_list index_info index_list index_xinfo integrity_check journal_mode page_count page_size pragma_list"
    " quick_check schema_version table_info table_list table_xinfo user_version".split()
)
_ASKING_PRAGMAS = frozenset(
    "foreign_key_list index_info index_list index_xinfo table_info table_list table_xinfo".split()
)


class Counted(NamedTuple):
    """A name that can be read from, how many rows it has, and the space of a stored table with its indexes."""

    name: str
    kind: str
    rows: int
    size_bytes: int | None


class ReadOnly:
    """A connection that answers questions and can do nothing else.

    Args:
        path: The database file, live or a copy.
        environment: Whose records the views show.
        now_ms: The time for what depends on it, such as a subscription's status.
        is_over: Asked every few milliseconds; True stops the statement.
    """

    def __init__(
        self, path: str, *, environment: str, now_ms: int, is_over: Callable[[], bool] = lambda: False
    ) -> None:
        self.path = path
        self._denied = ""
        self._is_over = is_over
        try:
            self._connection = connect(path, readonly=True)
        except apsw.Error as error:
            raise store_error(error, path) from error
        try:
            if schema_version(self._connection, path) == 0:
                raise StoreError(f"`{path}` holds nothing yet", hint="apply a catalog first")
            self._views = add_views(self._connection, environment, now_ms)
            self._connection.pragma("query_only", True)
            self._connection.limit(apsw.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
            self._connection.limit(apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_BYTES_MAX)
            self._connection.set_progress_handler(is_over, STEPS_BETWEEN_LOOKS)
            self._connection.authorizer = self._authorize
        except apsw.Error as error:
            self._connection.close()
            raise store_error(error, path) from error
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection; the file and its log stay as they are."""
        self._connection.close(True)

    def __enter__(self) -> ReadOnly:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> list[tuple[str, str]]:
        """What can be read from, as (name, "view" or "table"); a table that a view hides is `main.<name>`."""
        statement = "SELECT name FROM main.sqlite_schema WHERE type = 'table' ORDER BY name"
        tables = [row[0] for row in self.query(statement)[1]]
        return [(name, "view") for name in self._views] + [
            (f"main.{name}" if name in self._views else name, "table") for name in tables
        ]

    def counted(self) -> list[Counted]:
        """Every name with its number of rows and its size, views first."""
        sizes = dict(self.query(_SIZES)[1])
        return [
            Counted(
                name,
                kind,
                next(self.query(f"SELECT count(*) FROM {quoted(name)}")[1])[0],
                sizes.get(name.removeprefix("main.")) if kind == "table" else None,
            )
            for name, kind in self.names()
        ]

    def all_of(self, name: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """All rows of a view or a table.

        Raises:
            InvalidInput: There is none of that name; the hint names the nearest.
        """
        known = [known for known, _ in self.names()]
        if name not in known:
            near = nearest(name, known)
            raise InvalidInput(
                f"there is no view or table `{name}`",
                hint=f"did you mean `{near}`" if near else "`stigg-local db tables` lists them",
            )
        return self.query(f"SELECT * FROM {quoted(name)}")

    def query(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Begin one statement that reads.

        Args:
            statement: One statement; `:name` stands for a parameter.
            parameters: Values by name.

        Returns:
            The names of the columns, and the rows while they are read from the file.

        Raises:
            InvalidInput: It is no SQL, it is several statements, it would change something, a parameter is missing.
            NotAllowed: It was stopped.
            StoreError: The file cannot be read.
        """
        rows = self._run(statement, dict(parameters or {}))
        return next(rows), rows

    def _run(self, statement: str, parameters: dict[str, Any]) -> Iterator[Any]:
        columns: list[list[str]] = []

        def trace(cursor: apsw.Cursor, _sql: str, _bindings: Any) -> bool:
            if columns:
                if not cursor.has_vdbe:
                    # A comment behind the statement.
                    return True
                raise InvalidInput("that is more than one statement", hint="one statement at a time")
            unused = sorted(set(parameters) - {str(name) for name in cursor.bindings_names})
            if unused:
                raise InvalidInput(f"the statement has no parameter `:{unused[0]}`", hint="leave it out")
            columns.append([column[0] for column in cursor.get_description()])
            return True

        self._denied = ""
        cursor = self._connection.cursor()
        cursor.exec_trace = trace
        try:
            # Before they are bound, apsw tells of a name that has no value with this.
            try:
                cursor.execute(statement, parameters or None, can_cache=False)
            except KeyError as error:
                raise InvalidInput(f"the parameter `:{error.args[0]}` has no value", hint="-p NAME VALUE") from error
            if not columns or not columns[0]:
                raise InvalidInput("that is no statement that gives rows", hint="SELECT … FROM …")
            yield columns[0]
            yield from cursor
        except UnicodeDecodeError as error:
            raise undecodable() from error
        except apsw.Error as error:
            raise self._failure(error) from error
        finally:
            cursor.close(True)

    def _failure(self, error: apsw.Error) -> Exception:
        text = str(error).removeprefix("SQLError: ")
        if self._denied or "cannot modify" in text:
            what = self._denied or text
            return InvalidInput(
                f"the statement would change something ({what}), and this only reads",
                code="ReadOnly",
                hint="SELECT, WITH and EXPLAIN go; what changes is for commands that say so",
            )
        if isinstance(error, apsw.InterruptError):
            return NotAllowed(
                "the statement was stopped, it takes too long", code="QueryTooLong", hint="narrow it, or --seconds N"
            )
        if isinstance(error, apsw.TooBigError):
            return InvalidInput(f"a value is larger than {VALUE_BYTES_MAX >> 20} MB")
        if isinstance(error, apsw.BindingsError):
            return InvalidInput(f"a parameter has no value: {text}", hint="-p NAME VALUE")
        if isinstance(error, (apsw.SQLError, apsw.RangeError, apsw.MismatchError, apsw.IncompleteExecutionError)):
            _, found, name = text.partition("no such table: ")
            near = nearest(name, [known for known, _ in self.names()]) if found else None
            return InvalidInput(
                f"the statement cannot be run: {text}",
                hint=f"did you mean `{near}`" if near else "`stigg-local db tables` lists what there is",
            )
        return store_error(error, self.path)

    def _authorize(self, operation: int, first: str | None, second: str | None, *_: Any) -> int:
        name = str(apsw.mapping_authorizer_function[operation])
        if name == "SQLITE_FUNCTION" and second == "load_extension":
            self._denied = "`load_extension`"
            return apsw.SQLITE_DENY
        if name in _READING:
            return apsw.SQLITE_OK
        if name == "SQLITE_PRAGMA":
            if first in _QUIET_PRAGMAS and (second is None or first in _ASKING_PRAGMAS):
                return apsw.SQLITE_OK
            self._denied = f"`PRAGMA {first}`"
            return apsw.SQLITE_DENY
        self._denied = f"`{name.removeprefix('SQLITE_').replace('_', ' ')}`"
        return apsw.SQLITE_DENY


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever it holds; `main.` before it names the stored table."""
    schema, dot, table = name.partition(".")
    if dot and schema == "main":
        return f"main.{quoted(table)}"
    return '"' + name.replace('"', '""') + '"'
