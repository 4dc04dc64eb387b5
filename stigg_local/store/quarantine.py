"""Opening, making and setting aside the database file.

Laws: a damaged file is renamed and kept, never deleted, never trusted; a file that was never ours is not
touched at all. What tells the two apart is the mark beside it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stigg_local.errors import StoreCorrupt, StoreError
from stigg_local.store.connection import create_file, is_damage, use_wal
from stigg_local.store.schema import USER_VERSION, is_current, schema_version
from stigg_local.store.sequence import Run, put_meta, read_meta, read_position
from stigg_local.store.site import Site

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw


def open_database(site: Site, environment: str) -> bool:
    """Bring the file into the state in which everybody may use it.

    Returns:
        Whether a damaged file had to be set aside.
    """
    if _is_ready(site):
        return False
    site.queue.acquire()
    try:
        is_lost = _repair(site)
        connection = site.connect()
        try:
            site.settle_epoch(connection, environment)
        finally:
            connection.close()
        return is_lost
    finally:
        site.queue.release()


def _is_ready(site: Site) -> bool:
    """Whether nothing is to be done; anything unusual is looked at again under the writer queue."""
    if not os.path.exists(site.path) or site.mark.is_suspect or _size(site.path) == 0:
        return False
    connection = None
    try:
        connection = site.connect()
        version = schema_version(connection, site.path)
        # Where nothing can be written, an older file is served as it is.
        if version == 0 or (version != USER_VERSION and not site.is_readonly):
            return False
        run = _runner(connection)
        meta, position = read_meta(run), read_position(run)
        file_id, epoch = meta.get("file_id", ""), int(meta.get("epoch", "0"))
        if position is None or not (site.is_readonly or site.mark.knows(file_id, epoch, position.seq)):
            return False
        site.file_id, site.epoch, site.stored_anchor = file_id, epoch, meta.get("boot")
        site.high_water.load(position.high_water_ms, site.stored_anchor)
        return True
    except StoreError:
        # Looked at again under the queue, where nobody is in the middle of anything.
        return False
    except StoreCorrupt:
        return False
    except apsw.Error as error:
        if is_damage(error):
            return False
        raise
    finally:
        if connection is not None:
            connection.close(True)


def _repair(site: Site) -> bool:
    is_lost = False
    was_ours = site.mark.file_id != ""
    if os.path.exists(site.path):
        if _is_damaged(site):
            if not was_ours:
                raise StoreError(
                    f"`{site.path}` is not a database", hint="give another data_dir, or move the file away"
                )
            set_aside(site)
            is_lost = True
        elif site.mark.is_suspect:
            site.mark.set_suspect(False)
    create_file(site.path)
    connection = site.connect()
    try:
        if not is_current(connection, site.path):
            use_wal(connection)
            # Imported here because it costs 100 ms and a current file never needs it.
            from stigg_local.store.facade import migrate

            migrate(connection)
        if is_lost:
            put_meta(_runner(connection), "lost_ms", str(site.high_water.now_ms()))
    finally:
        connection.close(True)
    return is_lost


def _is_damaged(site: Site) -> bool:
    if _size(site.path) == 0:
        return site.mark.file_id != ""
    connection = None
    try:
        connection = site.connect()
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        if site.mark.file_id != "":
            is_current(connection, site.path)
        if not site.mark.is_suspect:
            return False
        return connection.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]
    except StoreCorrupt:
        return True
    except apsw.Error as error:
        if is_damage(error):
            return True
        raise
    finally:
        if connection is not None:
            connection.close(True)


def set_aside(site: Site) -> str:
    """Rename the database with its log; returns the new name. The caller holds the writer queue."""
    target = f"{site.path}.quarantined-{site.high_water.now_ms()}"
    # The log first: a log without its database is never read, a database without its log could be.
    for suffix in ("-wal", "-shm", ""):
        if os.path.exists(site.path + suffix):
            os.rename(site.path + suffix, target + suffix)
    return target


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _runner(connection: apsw.Connection) -> Run:
    return lambda statement, bindings: connection.execute(statement, bindings).fetchall()
