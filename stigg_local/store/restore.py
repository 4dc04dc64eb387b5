"""Putting a backup into a directory: verified first, whole or not at all, as the beginning of a new epoch.

Laws: nothing that is there is deleted or written over, it is set aside whole, by one rename; a directory that a
process has open is left alone; the database comes into its place last, and everything beside it follows from it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from stigg_local.clock import Clock, SystemClock, new_short_id, wall_ms
from stigg_local.errors import InvalidInput, NotAllowed, StoreBusy, StoreError
from stigg_local.store.backup import WAL, damaged, disk_errors, examine, no_room, put, quiet, set_journal, sync
from stigg_local.store.connection import prepare_directory, store_error
from stigg_local.store.environment import remember_environment, stored_environment
from stigg_local.store.examine_rows import Progress
from stigg_local.store.locks import readonly_error
from stigg_local.store.manifest import Manifest, read_manifest, unpack
from stigg_local.store.site import DEFAULT_FILENAME, Site

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

# The files beside a database, its log's first pages included.
SIDE_BYTES = 256 << 10
# What a killed restore left in the directory that it was filling.
_LEFT_OVER = re.compile(r"\.restore-[0-9a-f]{10}")
_OURS = (DEFAULT_FILENAME, "authority.mark")
_HINT = "nothing was changed; take an older backup"


class Restored(NamedTuple):
    """What a restore did: what the backup holds, the new epoch, and where what was there before is now."""

    manifest: Manifest
    epoch: int
    set_aside: str | None


class _Before(NamedTuple):
    """How far the database that is replaced had come."""

    epoch: int
    seq: int


def restore(
    path: str,
    data_dir: str,
    *,
    replace: bool = False,
    damaged_too: bool = False,
    clock: Clock | None = None,
    progress: Progress = quiet,
) -> Restored:
    """Make a directory of a backup.

    Args:
        path: A file that `backup` made.
        data_dir: A directory that is empty or not there.
        replace: Also a data directory that is in no use; it is kept beside the new one under another name.
        damaged_too: Also a backup in which damage was kept.
        clock: The time of the set-aside directory's name, and of the new epoch.
        progress: Told how far it is.

    Raises:
        InvalidInput: No such backup, or the directory is not empty.
        StoreCorrupt: The backup is not as it was made; nothing was changed.
        StoreBusy: A process has the directory open.
        StoreError: The directory cannot be used, or there is no room (`StorageFull`); nothing was changed.
    """
    chosen = clock or SystemClock()
    manifest = read_manifest(path)
    if manifest.damage and not damaged_too:
        raise NotAllowed(
            f"`{path}` was made of a damaged directory: {manifest.damage[0]}",
            code="BackupOfDamage",
            hint="take an older backup, or --damaged-too",
        )
    directory = os.path.realpath(data_dir)
    names = _names(directory)
    if not names:
        return Restored(*_into_empty(path, directory, damaged_too, chosen, progress), None)
    if not replace:
        raise _not_empty(directory)
    if not any(name in names for name in _OURS):
        raise InvalidInput(f"`{data_dir}` is no data directory", hint="--replace sets aside data directories only")
    with suppress(StoreError):
        # Of a damaged one nobody can tell.
        known = stored_environment(directory)
        if known not in (None, manifest.environment):
            raise InvalidInput(
                f"`{data_dir}` is of the environment `{known}`, the backup of `{manifest.environment}`",
                hint="use one directory for each environment",
            )
    return _replacing(path, directory, damaged_too, chosen, progress)


def _into_empty(
    path: str, directory: str, damaged_too: bool, clock: Clock, progress: Progress, before: _Before | None = None
) -> tuple[Manifest, int]:
    """Fill a directory; until the database comes into its place nothing that counts is in it."""
    is_new = not os.path.isdir(directory)
    prepare_directory(directory)
    try:
        with _reserved(directory):
            return _fill(path, directory, damaged_too, clock, progress, before)
    except BaseException:
        if is_new:
            with suppress(OSError):
                os.rmdir(directory)
        raise


def _fill(
    path: str, directory: str, damaged_too: bool, clock: Clock, progress: Progress, before: _Before | None
) -> tuple[Manifest, int]:
    place = os.path.join(directory, f".restore-{new_short_id()}")
    draft = os.path.join(place, DEFAULT_FILENAME)
    is_placed = False
    try:
        with disk_errors(directory):
            os.mkdir(place, 0o700)
            with open(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                manifest = unpack(path, file, lambda done, total: progress("unpacking", done, total))
            found = examine(draft, progress, hint=_HINT)
            if found.findings and not damaged_too:
                raise damaged(path, found.findings, _HINT)
            set_journal(draft, WAL)
            sync(draft)
            space = os.statvfs(directory)
            if space.f_bavail * space.f_frsize < SIDE_BYTES:
                raise no_room(directory)
            if os.stat(directory).st_uid == os.geteuid():
                os.chmod(directory, 0o700)
            put(draft, os.path.join(directory, DEFAULT_FILENAME))
            is_placed = True
            shutil.rmtree(place)
            epoch = _begin_epoch(directory, manifest, clock, before)
            _give_to_owner(directory)
            sync(directory)
    except BaseException:
        # It was empty: once the database is in its place, whatever is in it came from here.
        for name in os.listdir(directory) if is_placed else [os.path.basename(place)]:
            _remove(os.path.join(directory, name))
        raise
    return manifest, epoch


@contextmanager
def _reserved(directory: str) -> Iterator[None]:
    """An empty directory for one restore at a time, without what a killed one left in it."""
    with disk_errors(directory):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _in_use(directory) from error
        if _names(directory):
            raise _not_empty(directory)
        for name in os.listdir(directory):
            _remove(os.path.join(directory, name))
        yield
    finally:
        os.close(descriptor)


def _names(directory: str) -> list[str]:
    """What is in a directory that is not a killed restore's; nothing where there is no directory."""
    try:
        return [name for name in os.listdir(directory) if not _LEFT_OVER.fullmatch(name)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidInput(f"`{directory}` cannot be used: {error.strerror}", hint="name a directory") from error


def _not_empty(directory: str) -> InvalidInput:
    return InvalidInput(
        f"`{directory}` is not empty", hint="name a new directory, or --replace: what is there is set aside"
    )


def _begin_epoch(directory: str, manifest: Manifest, clock: Clock, before: _Before | None) -> int:
    """What a client's first opening would do too, for nothing beside the database knows it."""
    remember_environment(directory, manifest.environment)
    site = Site(directory, DEFAULT_FILENAME, clock)
    try:
        site.queue.acquire()
        try:
            if before is not None:
                # The numbers of the replaced database are not used again, nor is its epoch.
                seq = max(before.seq, manifest.seq) + 1
                site.mark.replace(manifest.file_id, max(before.epoch, manifest.epoch), seq)
            connection = site.connect()
            try:
                site.settle_epoch(connection, manifest.environment)
            finally:
                connection.close(True)
        finally:
            site.queue.release()
        return site.epoch
    except apsw.Error as error:
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE:
            raise no_room(site.path) from error
        raise store_error(error, site.path) from error
    finally:
        site.close_locks()


def _give_to_owner(directory: str) -> None:
    """Of what root made in another user's directory, that user is the owner."""
    found = os.stat(directory)
    if os.geteuid() == 0 and found.st_uid != 0:
        for name in os.listdir(directory):
            os.chown(os.path.join(directory, name), found.st_uid, found.st_gid, follow_symlinks=False)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        os.unlink(path)


# In the place of another one -------------------------------------------------------------------------------------


def _replacing(path: str, directory: str, damaged_too: bool, clock: Clock, progress: Progress) -> Restored:
    parent, name = os.path.split(directory)
    found = os.stat(directory)
    if found.st_dev != os.stat(parent).st_dev:
        raise StoreError(
            f"`{directory}` is a mount point, and cannot be set aside by a rename",
            hint="move what is in it elsewhere, and restore into the empty directory",
        )
    aside = f"{directory}.replaced-{wall_ms(clock)}"
    while os.path.lexists(aside):
        aside += "-again"
    new = os.path.join(parent, f".{name}.restore-{new_short_id()}")
    with _held(directory, clock) as before, disk_errors(parent):
        os.mkdir(new, 0o700)
        try:
            if os.geteuid() == 0:
                os.chown(new, found.st_uid, found.st_gid)
            manifest, epoch = _into_empty(path, new, damaged_too, clock, progress, before)
            os.rename(directory, aside)
            try:
                os.rename(new, directory)
            except OSError as error:
                _put_back(aside, directory, error)
                raise
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        sync(parent)
    return Restored(manifest, epoch, aside)


def _put_back(aside: str, directory: str, why: OSError) -> None:
    try:
        os.rename(aside, directory)
    except OSError:
        raise StoreError(
            f"`{directory}` was made anew by another process; what was there is `{aside}`",
            hint="stop that process, and rename it back or restore again",
        ) from why


@contextmanager
def _held(directory: str, clock: Clock) -> Iterator[_Before]:
    """A data directory while nobody else has it open, and nobody can come to open it.

    Raises:
        StoreBusy: Somebody has it open.
    """
    with disk_errors(directory):
        site = Site(directory, DEFAULT_FILENAME, clock)
    connection = None
    try:
        if site.is_readonly:
            raise readonly_error(directory)
        if not site.leader.try_acquire():
            raise _in_use(directory)
        try:
            connection = _alone(site.path)
        except (apsw.BusyError, apsw.LockedError) as error:
            raise _in_use(directory) from error
        yield _Before(site.mark.epoch, max(site.mark.seq, site.generation.seq_max()))
    finally:
        if connection is not None:
            connection.close(True)
        site.close_locks()


def _alone(path: str) -> apsw.Connection | None:
    """A connection beside which there is no other; None for a file that SQLite cannot read, so that nobody can."""
    if not os.path.exists(path):
        return None
    connection = None
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        # Before the first look at the file: it is what makes SQLite ask for the whole of it.
        connection.pragma("locking_mode", "exclusive")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        return connection
    except apsw.Error as error:
        if connection is not None:
            connection.close(True)
        if isinstance(error, (apsw.BusyError, apsw.LockedError)):
            raise
        return None


def _in_use(directory: str) -> StoreBusy:
    return StoreBusy(
        f"another process has `{directory}` open",
        code="DirectoryInUse",
        hint="stop it, or restore into another directory",
    )
