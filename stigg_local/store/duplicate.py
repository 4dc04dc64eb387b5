"""A consistent copy of a directory, without its caches, in another one, through SQLite's backup.

Laws: nothing is written where the original is, side files of SQLite included; the copy is one committed state,
also while others write.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from stigg_local.errors import InvalidInput, StoreError
from stigg_local.store.connection import BUSY_TIMEOUT_MS, check_version, create_file, store_error
from stigg_local.store.environment import FILENAME as ENVIRONMENT_FILENAME
from stigg_local.store.site import DEFAULT_FILENAME

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

# Pages copied between two calls of `told`: 4 MiB.
STEP_PAGES = 1024
Told = Callable[[int, int], object]


def duplicate(data_dir: str, target_dir: str, told: Told | None = None) -> str:
    """Copy the database of `data_dir` into `target_dir`, which exists and holds none.

    Args:
        data_dir: The directory of a store, in use or not.
        target_dir: Where the copy goes.
        told: Called with pages done and pages in all.

    Returns:
        The path of the copy.

    Raises:
        InvalidInput: There is no database.
        StoreError: The original cannot be read, or the copy not be written.
    """
    source, target = os.path.join(data_dir, DEFAULT_FILENAME), os.path.join(target_dir, DEFAULT_FILENAME)
    check_version(apsw.sqlite_lib_version())
    if not os.path.isfile(source):
        raise InvalidInput(f"`{data_dir}` holds no database", hint="name the directory that the engine writes to")
    try:
        create_file(target)
        named = os.path.join(data_dir, ENVIRONMENT_FILENAME)
        if os.path.exists(named):
            shutil.copyfile(named, os.path.join(target_dir, ENVIRONMENT_FILENAME))
        if _has(source + "-wal") and not os.path.exists(source + "-shm"):
            # A log that nobody can have open: SQLite would make its index beside it, so it reads a copy of both.
            with tempfile.TemporaryDirectory(dir=target_dir) as aside:
                for suffix in ("", "-wal"):
                    shutil.copyfile(source + suffix, os.path.join(aside, DEFAULT_FILENAME + suffix))
                copy_pages(opened(os.path.join(aside, DEFAULT_FILENAME), ""), target, told)
        elif _has(source + "-wal"):
            copy_pages(opened(source, "&readonly_shm=1"), target, told)
        else:
            copy_pages(opened(source, "&immutable=1"), target, told)
    except apsw.Error as error:
        raise store_error(error, source) from error
    except OSError as error:
        raise StoreError(f"`{source}` cannot be copied: {error.strerror}", hint="free disk space") from error
    return target


def _has(path: str) -> bool:
    """Whether a file is there and not empty."""
    try:
        return os.path.getsize(path) > 0
    except OSError:
        return False


def opened(path: str, how: str) -> apsw.Connection:
    """A connection that changes nothing beside the file either; `how` is more of SQLite's URI."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{quote(os.path.abspath(path))}?mode=ro{how}", flags=flags)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    return connection


def copy_pages(source: apsw.Connection, target: str, told: Told | None) -> None:
    """Copy one committed state into a file that exists, and close the source."""
    copy = apsw.Connection(target, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        # One transaction around all steps: otherwise each commit of another process would start the copy anew.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        with copy.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(STEP_PAGES)
                if told is not None:
                    told(backup.page_count - backup.remaining, backup.page_count)
    finally:
        copy.close()
        if source.in_transaction:
            source.execute("ROLLBACK")
        source.close()
