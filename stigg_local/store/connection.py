"""Opening the SQLite file: version gate, settings, file system check, and what its errors mean to a caller.

Laws: only apsw opens our files; settings are made on our own connections, never process-wide; the database
file itself is never opened with `open`, because closing such a descriptor drops SQLite's locks.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from stigg_local.errors import StorageFull, StoreBusy, StoreCorrupt, StoreError

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

SQLITE_VERSION_MIN = (3, 51, 3)
# Last resort only: the writer queue makes writers wait for each other before SQLite has to.
BUSY_TIMEOUT_MS = 10_000
# Emptying the log waits so long for readers, and writers wait for that.
TRUNCATE_WAIT_MS = 20

NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb smb2 smb3 smbfs afs afpfs 9p ceph lustre glusterfs beegfs gfs gfs2 ocfs2 ncpfs davfs "
    "webdav fuse.sshfs fuse.glusterfs fuse.s3fs fuse.rclone fuse.davfs2 fuse.ceph fuse.gcsfuse".split()
)


def check_version(version: str) -> None:
    """Refuse an SQLite whose write-ahead log can lose commits.

    Raises:
        StoreError: It is older than `SQLITE_VERSION_MIN`.
    """
    if tuple(int(part) for part in version.split(".")) < SQLITE_VERSION_MIN:
        raise StoreError(
            f"SQLite {version} is too old",
            hint=f"install an apsw with SQLite {'.'.join(map(str, SQLITE_VERSION_MIN))} or later",
        )


def connect(path: str, *, readonly: bool = False) -> apsw.Connection:
    """Open an existing database with our settings; the caller owns the connection."""
    check_version(apsw.sqlite_lib_version())
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
    connection = apsw.Connection(path, flags=flags)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        # A checkpoint belongs to the leader; closing for a fork must stay cheap and delete nothing.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.wal_autocheckpoint(0)
        # One by one: a statement that returns a row would hold up those behind it.
        connection.pragma("mmap_size", 0)
        connection.pragma("cell_size_check", True)
        connection.pragma("synchronous", "full")
    except BaseException:
        connection.close()
        raise
    return connection


def use_wal(connection: apsw.Connection) -> None:
    """Bring the file into WAL mode; it stays so."""
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise StoreError(f"`{connection.filename}` cannot use a write-ahead log (journal mode `{mode}`)")


def truncate_log(connection: apsw.Connection) -> bool:
    """Checkpoint and empty the log; False where a reader still needs it."""
    connection.set_busy_timeout(TRUNCATE_WAIT_MS)
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        return False
    finally:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    return True


def store_error(error: apsw.Error, path: str) -> StoreError:
    """The exception of ours that tells a caller what an SQLite error means for him."""
    text = str(error)
    if isinstance(error, apsw.FullError):
        return StorageFull(f"no room left for `{path}`", hint="free disk space; reads go on meanwhile")
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return StoreBusy(f"`{path}` is held by another process", hint="retry")
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return StoreCorrupt(f"`{path}` is damaged: {text}", hint="reopen the client: it sets the file aside")
    if isinstance(error, apsw.ReadOnlyError):
        return StoreError(f"`{path}` is read-only", hint="make data_dir writable; reads go on meanwhile")
    failed = StoreError(f"`{path}`: {text}", hint="see the disk's health; the same call may be repeated")
    failed.retryable = True
    return failed


def is_damage(error: BaseException) -> bool:
    """Whether SQLite itself says that the file is broken, as opposed to one row's digest."""
    return isinstance(error, (apsw.CorruptError, apsw.NotADBError))


def prepare_directory(data_dir: str) -> str:
    """Make `data_dir` (owner only) where it is missing, and refuse where SQLite's locks cannot work."""
    try:
        os.makedirs(data_dir, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make `{data_dir}`: {error.strerror}") from error
    real = os.path.realpath(data_dir)
    kind = file_system_type(real)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"`{data_dir}` is on a network file system (`{kind}`), where a shared database loses data",
            hint="use a directory on a local disk",
        )
    return real


def file_system_type(path: str) -> str:
    """The kernel's name of the file system that holds `path`; empty where it cannot be told."""
    if sys.platform == "darwin":
        return _darwin_file_system_type(path)
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split(" ") for line in file]
    except OSError:
        return ""
    best, kind = "", ""
    for fields in mounts:
        point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        # A later mount on the same point hides the earlier one, hence `>=`.
        if len(point) >= len(best) and (path == point or path.startswith(point.rstrip("/") + "/")):
            best, kind = point, fields[2]
    return kind


def _darwin_file_system_type(path: str) -> str:
    import ctypes

    # struct statfs: 72 bytes of numbers, then the type's name in 16.
    buffer = ctypes.create_string_buffer(4096)
    library = ctypes.CDLL(None)
    call = getattr(library, "statfs$INODE64", None) or library.statfs
    if call(os.fsencode(path), buffer) != 0:
        return ""
    return buffer.raw[72:88].split(b"\0", 1)[0].decode("ascii", "replace")


def create_file(path: str) -> None:
    """Make an empty file for the owner only, unless there is one."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
