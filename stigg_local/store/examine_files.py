"""A copy of a directory's database to look into, who has it open, and the state of its write-ahead log.

Laws: nothing in the directory is changed, not even by SQLite; the database file is opened by a process of its own, or
by SQLite where somebody has it open, never by `open` here.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import shlex
import struct
import subprocess
import sys
from time import sleep
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from stigg_local.errors import StorageFull, StoreError
from stigg_local.store import probe
from stigg_local.store.connection import create_file
from stigg_local.store.duplicate import copy_pages, opened
from stigg_local.store.environment import FILENAME as ENVIRONMENT
from stigg_local.store.examine_directory import GENERATION, MARK
from stigg_local.store.examine_rows import Progress
from stigg_local.store.examine_side import Side, examine_side
from stigg_local.store.finding import Findings, keeping_open, restoring
from stigg_local.store.site import DEFAULT_FILENAME
from stigg_local.store.upkeep import ALARM_WAL_BYTES

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

_PROBE_WAIT_S = 3600.0
_SQLITE_MAGIC = b"SQLite format 3\0"

# A log of which this much waits to be worked off is watched for as long as the leader takes for two rounds.
WAL_PENDING_BYTES = 64 << 20
_WAL_LOOKS, _WAL_PAUSE_S = 3, 1.1
_FRAME_BYTES, _WAL_HEAD_BYTES = 4096 + 24, 32
# How often a log may have begun anew since the frames behind its end were written.
_SALTS_MAX = 1 << 20
_COPY_TRIES = 5
_COPY_PAUSE_S = 0.1


class Process(Struct, frozen=True):
    """A process that has files of the directory open."""

    pid: int
    leads: bool
    writes: bool
    stopped: bool


class Look(Struct, frozen=True, kw_only=True):
    """What was seen of a directory without looking into its database.

    Attributes:
        is_live: Whether a process has the database open.
        has_leader: Whether a process leads.
        processes: Who has files open, as far as the system tells.
        header: The first bytes of the database file itself, which its log may have overtaken.
        copy: Path of the database's copy; None where there could be none.
    """

    is_live: bool
    has_leader: bool
    processes: tuple[Process, ...]
    side: Side
    database_bytes: int
    wal_bytes: int
    header: bytes
    copy: str | None


def look(directory: str, target: str, findings: Findings, progress: Progress) -> Look:
    """Read the side files and copy the database to `target`, consistent whoever writes meanwhile.

    Raises:
        StoreError: No process for it could be started, or there is no room for the copy.
    """
    path = os.path.join(directory, DEFAULT_FILENAME)
    found = _probe(directory, target)
    side = {name: base64.b64decode(text) for name, text in found["side"].items()}
    database_bytes, wal_bytes = _size(path), _size(path + "-wal")
    is_live = bool(found["live"])
    header = base64.b64decode(found.get("header", ""))
    copy: str | None = os.path.join(target, DEFAULT_FILENAME)
    if not _is_there(directory, found, bool(MARK in side), header, findings):
        copy = None
    elif is_live:
        copy = _of_live(directory, target, findings, progress)
    else:
        _check_log(findings, directory, base64.b64decode(found.get("wal", "")), wal_bytes)
    _check_log_size(findings, directory, found, wal_bytes)
    processes = tuple(Process(**process) for process in found.get("processes", ()))
    _check_stopped(findings, directory, processes)
    return Look(
        is_live=is_live,
        has_leader=bool(found.get("leader")),
        processes=processes,
        side=examine_side(directory, side, findings),
        database_bytes=database_bytes,
        wal_bytes=wal_bytes,
        header=header,
        copy=copy,
    )


def _probe(directory: str, target: str | None, *, force: bool = False) -> dict[str, Any]:
    asked = {
        "directory": directory,
        "database": DEFAULT_FILENAME,
        "side": [MARK, GENERATION, ENVIRONMENT],
        "target": target,
        "force": force,
    }
    command = [sys.executable, "-I", "-S", str(probe.__file__), json.dumps(asked)]
    try:
        ended = subprocess.run(command, capture_output=True, check=True, timeout=_PROBE_WAIT_S)  # noqa: S603
        found = dict(json.loads(ended.stdout))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise StoreError(
            f"the process that looks at the files failed: {error}", hint="run stigg-local doctor on the command line"
        ) from error
    if found["target"] is not None:
        raise no_room(str(target), str(found["target"]))
    return found


def no_room(target: str, reason: str) -> StorageFull:
    """The error for a copy that cannot be written."""
    return StorageFull(
        f"the database cannot be copied to `{target}`: {reason}", hint="set TMPDIR to a directory with room for it"
    )


def _is_there(directory: str, found: dict[str, Any], was_ours: bool, header: bytes, findings: Findings) -> bool:
    """Whether there is a database to copy; tells why not."""
    path = os.path.join(directory, DEFAULT_FILENAME)
    is_readable = True
    for name, text in found["errors"].items():
        if text == os.strerror(errno.ENOENT):
            continue
        findings.add(
            "CannotRead", "error", text.lower(), where=os.path.join(directory, name), hint="let this user read it"
        )
        is_readable = is_readable and not name.startswith(DEFAULT_FILENAME)
    if not is_readable:
        return False
    if not os.path.exists(path):
        findings.add(
            "DatabaseMissing",
            "error" if was_ours else "warning",
            "there is no database" + (", although there was one" if was_ours else ""),
            where=path,
            hint=restoring(directory)
            if was_ours
            else f"stigg-local catalog apply FILE --data-dir {shlex.quote(directory)}",
        )
        return False
    # With a log beside it the first page may be in that one, whole, where power was cut while it was copied over.
    if _size(path) > 0 and not header.startswith(_SQLITE_MAGIC) and _size(f"{path}-wal") == 0:
        findings.add(
            "NotADatabase",
            "error",
            "the file does not begin as an SQLite database does",
            where=path,
            hint=restoring(directory),
        )
        return False
    return True


# A database in use --------------------------------------------------------------------------------------------------


def _of_live(directory: str, target: str, findings: Findings, progress: Progress) -> str | None:
    """Copy through SQLite's own locks, what is copied being one committed state of the file."""
    path, copy = os.path.join(directory, DEFAULT_FILENAME), os.path.join(target, DEFAULT_FILENAME)
    error: Exception | None = None
    for _ in range(_COPY_TRIES):
        for suffix in ("", "-wal", "-shm", "-journal"):
            if os.path.exists(copy + suffix):
                os.unlink(copy + suffix)
        create_file(copy)
        try:
            copy_pages(opened(path, "&readonly_shm=1"), copy, lambda done, total: progress("copy", done, total))
            return copy
        except apsw.FullError as full:
            raise no_room(target, str(full)) from full
        except apsw.Error as failed:
            error = failed
        # Its user may have gone meanwhile, or have let go of it for a moment.
        if _probe(directory, target, force=True)["copied"]:
            return copy
        sleep(_COPY_PAUSE_S)
    findings.add(
        "CannotRead",
        "error",
        f"SQLite cannot read the database: {error}",
        where=path,
        hint=f"look again when no process uses it; where it stays so: {restoring(directory)}",
    )
    return None


def _check_stopped(findings: Findings, directory: str, processes: tuple[Process, ...]) -> None:
    for process in processes:
        if process.stopped and (process.leads or process.writes):
            what = "has the turn to write, so that nobody else can" if process.writes else "leads, so that nobody does"
            findings.add(
                "WriterStopped" if process.writes else "LeaderStopped",
                "error" if process.writes else "warning",
                f"process {process.pid} is stopped and {what}",
                where=os.path.join(directory, "writer.lock" if process.writes else "leader.lock"),
                hint=f"kill -CONT {process.pid}, or end it: kill -KILL {process.pid}",
            )


# The write-ahead log ------------------------------------------------------------------------------------------------


def _check_log_size(findings: Findings, directory: str, found: dict[str, Any], wal_bytes: int) -> None:
    """A log is huge when nobody works it off, not when it has just been written."""
    if wal_bytes <= WAL_PENDING_BYTES:
        return
    way_out = f"a client that stays open for a moment works it off: {keeping_open(directory)}"
    if found["live"]:
        way_out = "end the process that keeps a read open for so long"
        if wal_bytes <= ALARM_WAL_BYTES:
            pending = _pending_bytes(found)
            for _ in range(_WAL_LOOKS - 1):
                if pending <= WAL_PENDING_BYTES:
                    return
                sleep(_WAL_PAUSE_S)
                pending = min(pending, _pending_bytes(_probe(directory, None)))
            if pending <= WAL_PENDING_BYTES:
                return
    elif wal_bytes <= ALARM_WAL_BYTES and _is_worked_off(found):
        # Whoever was killed had just written much; the file keeps its length, and the next log begins at its start.
        return
    findings.add(
        "WalHuge",
        "warning",
        f"the write-ahead log has {wal_bytes:,} bytes",
        where=os.path.join(directory, DEFAULT_FILENAME + "-wal"),
        hint=way_out,
    )


def _pending_bytes(found: dict[str, Any]) -> int:
    """How much of the log is not in the database yet, as SQLite's index of the log tells it; 0 without one."""
    index = base64.b64decode(found.get("index", ""))
    if len(index) < 100:
        return 0
    frames, done = int.from_bytes(index[16:20], sys.byteorder), int.from_bytes(index[96:100], sys.byteorder)
    return max(0, frames - done) * _FRAME_BYTES


def _is_worked_off(found: dict[str, Any]) -> bool:
    """Whether nobody's log is long for a good reason: little of it waits, and it is of frames down to its end."""
    index, head, frame = (base64.b64decode(found.get(name, "")) for name in ("index", "wal", "frame"))
    if len(index) < 100 or len(head) < _WAL_HEAD_BYTES or len(frame) < _FRAME_BYTES - 4096:
        return False
    # The first salt goes up by one whenever the log begins anew; frames of earlier ones lie behind its end.
    age = int.from_bytes(head[16:20]) - int.from_bytes(frame[8:12])
    return 0 <= age <= _SALTS_MAX and _pending_bytes(found) <= WAL_PENDING_BYTES


def _check_log(findings: Findings, directory: str, head: bytes, size: int) -> None:
    """What can be told of a log without its database: whether it begins as one and ends between two frames."""
    if size == 0:
        return
    is_begun = _is_log_head(head)
    if is_begun and not _is_cut(size):
        return
    if is_begun:
        what = f"the write-ahead log ({size:,} bytes) ends in the middle of a frame, as no process leaves it"
    else:
        what = f"the write-ahead log ({size:,} bytes) does not begin as one, so SQLite ignores what is in it"
    findings.add(
        "WalDamaged",
        "error",
        what,
        where=os.path.join(directory, DEFAULT_FILENAME + "-wal"),
        hint=f"{restoring(directory)}; or go on without what may have been in it: the next write begins the log anew",
    )


def _is_cut(size: int) -> bool:
    """Whether a log was cut: a killed process may leave the head of a frame, or whole blocks of the file system."""
    rest = (size - _WAL_HEAD_BYTES) % _FRAME_BYTES
    return rest not in (0, _FRAME_BYTES - 4096) and size % 512 != 0


def _is_log_head(head: bytes) -> bool:
    if len(head) < _WAL_HEAD_BYTES:
        return False
    magic, version, page_bytes = struct.unpack_from(">III", head)
    if magic not in probe.WAL_MAGIC or version != 3007000 or page_bytes != 4096:
        return False
    # The last bit of the magic says in which order the sums were computed.
    words = struct.unpack_from(">6I" if magic & 1 else "<6I", head)
    first = second = 0
    for index in range(0, 6, 2):
        first = (first + words[index] + second) & 0xFFFFFFFF
        second = (second + words[index + 1] + first) & 0xFFFFFFFF
    return (first, second) == struct.unpack_from(">II", head, 24)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
