"""A program of its own that looks at a store's files and copies them, for a process that may have them open itself.

Law: closing a descriptor of a database drops the locks that the same process holds on it through SQLite, so these
files are opened here and nowhere else. It takes no lock, changes nothing, and imports the standard library alone.
"""

import base64
import fcntl
import json
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

_HEADER_BYTES = 100
_SIDE_BYTES_MAX = 1 << 20
_COPY_BYTES = 1 << 20
_WAL_HEAD_BYTES, _FRAME_HEAD_BYTES, _FRAME_BYTES = 32, 24, 24 + 4096
WAL_MAGIC = (0x377F0682, 0x377F0683)

# What SQLite locks in a database while a connection to it is open, and our own bytes in the lock files.
_DATABASE_LOCKS = (0x40000000, 512)
_LEADER_LOCK = (0, 1)
_WRITER_LOCK = ((1 << 20) + 1, 1)
_INDEX_HEAD_BYTES = 136


class _TargetError(Exception):
    """The copy could not be written."""


def main(argument: str) -> None:
    """Look, copy what nobody is using, and print what was found as JSON.

    Args:
        argument: JSON: `directory`, `database` (name), `side` (names to read whole), `target` (directory; null: copy
            nothing), `force` (copy also what is in use).
    """
    asked = json.loads(argument)
    directory, name, target = asked["directory"], asked["database"], asked["target"]
    path = os.path.join(directory, name)
    found: dict[str, Any] = {"side": {}, "errors": {}, "copied": False, "live": False, "target": None}
    # The side files first: they may be behind what the database says, never ahead of it.
    for side in asked["side"]:
        _guarded(found, side, lambda side=side: _read_side(found, directory, side))
    _guarded(found, name, lambda: _look(found, path))
    if found["live"] or found.get("leader") or found.get("writer"):
        found["processes"] = _processes(directory, name)
    if target is not None and not _has_failed(found, name) and (asked["force"] or not found["live"]):
        before = _stamp(path)
        try:
            _guarded(found, name, lambda: _copy(path, os.path.join(target, name)))
        except _TargetError as error:
            found["target"] = str(error)
        found["copied"] = not _has_failed(found, name) and found["target"] is None
        # Somebody came or wrote meanwhile: the copy may be of two minds.
        is_locked = _is_locked(path, *_DATABASE_LOCKS)
        found["live"] = found["live"] or is_locked
        if _stamp(path) != before or (is_locked and not asked["force"]):
            found["live"], found["copied"] = True, False
    json.dump(found, sys.stdout)


def _guarded(found: dict[str, Any], name: str, action: Any) -> None:
    try:
        action()
    except OSError as error:
        # The log's name where it is the log.
        path = error.filename if isinstance(error.filename, str) else name
        found["errors"][os.path.basename(path)] = error.strerror or str(error)


def _has_failed(found: dict[str, Any], name: str) -> bool:
    """Whether the database or its log cannot be read."""
    return any(failed.startswith(name) for failed in found["errors"])


def _read_side(found: dict[str, Any], directory: str, name: str) -> None:
    descriptor = _open(os.path.join(directory, name))
    try:
        found["side"][name] = base64.b64encode(os.read(descriptor, _SIDE_BYTES_MAX)).decode()
    finally:
        os.close(descriptor)


def _look(found: dict[str, Any], path: str) -> None:
    directory = os.path.dirname(path)
    found["leader"] = _is_locked(os.path.join(directory, "leader.lock"), *_LEADER_LOCK)
    found["writer"] = _is_locked(os.path.join(directory, "writer.lock"), *_WRITER_LOCK)
    found["live"] = _is_locked(path, *_DATABASE_LOCKS)
    found["header"] = base64.b64encode(_beginning(path, _HEADER_BYTES)).decode()
    found["wal"] = base64.b64encode(_beginning(path + "-wal", _WAL_HEAD_BYTES)).decode()
    found["index"] = base64.b64encode(_beginning(path + "-shm", _INDEX_HEAD_BYTES)).decode()
    found["frame"] = base64.b64encode(_last_frame_head(path + "-wal")).decode()


def _open(path: str) -> int:
    # Without O_NONBLOCK the open of a pipe would wait for its writer. The time of the last reading is left alone,
    # where the system lets it be.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(PermissionError):
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    return os.open(path, flags)


def _beginning(path: str, size: int) -> bytes:
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, size, 0)
    finally:
        os.close(descriptor)


def _last_frame_head(path: str) -> bytes:
    """The head of a log's last whole frame."""
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        return b""
    try:
        frames = (os.fstat(descriptor).st_size - _WAL_HEAD_BYTES) // _FRAME_BYTES
        if frames < 1:
            return b""
        return os.pread(descriptor, _FRAME_HEAD_BYTES, _WAL_HEAD_BYTES + (frames - 1) * _FRAME_BYTES)
    finally:
        os.close(descriptor)


def _is_locked(path: str, start: int, length: int) -> bool:
    """Whether somebody holds a lock in the range; asking takes none."""
    try:
        descriptor = _open(path)
    except OSError:
        return False
    try:
        if sys.platform == "darwin":
            layout, packed = "qqihh", (start, length, 0, fcntl.F_WRLCK, 0)
            kind = 3
        else:
            layout, packed = "hhqqi4x", (fcntl.F_WRLCK, 0, start, length, 0)
            kind = 0
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(layout, *packed))
        return bool(struct.unpack(layout, answer)[kind] != fcntl.F_UNLCK)
    finally:
        os.close(descriptor)


# Processes ---------------------------------------------------------------------------------------------------------


def _processes(directory: str, name: str) -> list[dict[str, Any]]:
    """Who has the files open, where the system tells: `pid`, `leads`, `writes`, `stopped`."""
    files = {"open": name, "leads": "leader.lock", "writes": "writer.lock"}
    ids = {}
    for role, file in files.items():
        with suppress(OSError):
            found = os.stat(os.path.join(directory, file))
            ids[found.st_dev, found.st_ino] = role
    processes = []
    for pid in _pids():
        roles: dict[str, bool] = {}
        for descriptor in _descriptors(pid):
            with suppress(OSError):
                seen = os.stat(f"/proc/{pid}/fd/{descriptor}")
                held = ids.get((seen.st_dev, seen.st_ino))
                if held is not None:
                    roles[held] = roles.get(held, False) or _holds(pid, descriptor, held)
        leads, writes = roles.get("leads", False), roles.get("writes", False)
        # Having a lock's file open is nothing: a process keeps that for a while after its client was closed.
        if "open" in roles or leads or writes:
            processes.append({"pid": pid, "leads": leads, "writes": writes, "stopped": _is_stopped(pid)})
    return processes


def _pids() -> list[int]:
    with suppress(OSError):
        return sorted(int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid())
    return []


def _descriptors(pid: int) -> list[str]:
    # Another user's process, or one that has just ended.
    with suppress(OSError):
        return os.listdir(f"/proc/{pid}/fd")
    return []


def _holds(pid: int, descriptor: str, role: str) -> bool:
    """Whether the lock of the role is held through this descriptor."""
    starts = {"leads": _LEADER_LOCK[0], "writes": _WRITER_LOCK[0]}
    with suppress(OSError):
        for words in _lines(f"/proc/{pid}/fdinfo/{descriptor}"):
            if words[:1] == ["lock:"] and "WRITE" in words and words[-2] == str(starts.get(role)):
                return True
    return False


def _is_stopped(pid: int) -> bool:
    with suppress(OSError):
        for words in _lines(f"/proc/{pid}/status"):
            if words[:1] == ["State:"]:
                return words[1] == "T"
    return False


def _lines(path: str) -> Iterator[list[str]]:
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            yield line.split()


# Copying -----------------------------------------------------------------------------------------------------------


def _stamp(path: str) -> list[tuple[int, int, int] | None]:
    return [_stat(path + suffix) for suffix in ("", "-wal", "-journal")]


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _copy(path: str, target: str) -> None:
    for suffix in ("", "-journal", "-wal"):
        try:
            source = _open(path + suffix)
        except FileNotFoundError:
            continue
        try:
            size = os.fstat(source).st_size
            _copy_bytes(source, target + suffix, _wal_size(source, size) if suffix == "-wal" else size)
        finally:
            os.close(source)


def _copy_bytes(source: int, target: str, size: int) -> None:
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _TargetError(error.strerror) from error
    try:
        done = 0
        while done < size:
            block = os.pread(source, min(_COPY_BYTES, size - done), done)
            if not block:
                return
            _write(descriptor, block)
            done += len(block)
    finally:
        os.close(descriptor)


def _write(descriptor: int, block: bytes) -> None:
    written = 0
    try:
        while written < len(block):
            written += os.write(descriptor, block[written:])
    except OSError as error:
        raise _TargetError(error.strerror) from error


def _wal_size(source: int, size: int) -> int:
    """The part of a write-ahead log that SQLite may read: frames of this round, the first others end it."""
    head = os.pread(source, _WAL_HEAD_BYTES, 0)
    if len(head) < _WAL_HEAD_BYTES:
        return 0
    magic, _, page_bytes = struct.unpack_from(">III", head)
    salts = head[16:24]
    if magic not in WAL_MAGIC or not 512 <= page_bytes <= 65536:
        return 0
    frame_bytes = _FRAME_HEAD_BYTES + page_bytes
    end = _WAL_HEAD_BYTES
    while end + frame_bytes <= size and os.pread(source, 8, end + 8) == salts:
        end += frame_bytes
    return end


if __name__ == "__main__":
    main(sys.argv[1])
