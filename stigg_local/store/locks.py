"""Locks between processes: the fair queue of writers, and the election of the leader.

Laws: mutual exclusion is the REAL byte alone, the ticket bytes only give order, so a wrong ticket costs
fairness, never safety. The kernel frees what a dead process held. The files are never replaced.
"""

import errno
import fcntl
import mmap
import os
import struct
from time import sleep

from stigg_local.errors import StoreError

# Offsets of the locked bytes; they lie beyond the file's end, where locks are allowed and data is not.
_MUTEX, _REAL, _TICKETS = 1 << 20, (1 << 20) + 1, 1 << 21
_TICKET_INDEX, _UNSETTLED_INDEX = 0, 1
_HEAD_BYTES = 16
_DEADLOCK_PAUSE_S = 0.001

# Locks of the open file description: immune against another descriptor of the same file being closed.
_OFD = hasattr(fcntl, "F_OFD_SETLKW") and struct.calcsize("P") == 8
_flock = struct.Struct("hhqqi4x")


def _lock(descriptor: int, start: int) -> None:
    while True:
        try:
            if _OFD:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, _flock.pack(fcntl.F_WRLCK, 0, start, 1, 0))
            else:
                fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, start)
            return
        except OSError as error:
            # The kernel sees a cycle between processes where there are only queues of threads.
            if error.errno != errno.EDEADLK:
                raise
            sleep(_DEADLOCK_PAUSE_S)


def _try_lock(descriptor: int, start: int) -> bool:
    try:
        if _OFD:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock.pack(fcntl.F_WRLCK, 0, start, 1, 0))
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(descriptor: int, start: int) -> None:
    if _OFD:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock.pack(fcntl.F_UNLCK, 0, start, 1, 0))
    else:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, start)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def readonly_error(data_dir: str) -> StoreError:
    """What a write in a directory that is read-only ends in."""
    return StoreError(f"`{data_dir}` is read-only", hint="make data_dir writable; reads go on meanwhile")


class WriterQueue:
    """First come, first served between processes; one holder per process at a time.

    In a directory that is read-only nobody can write, and `acquire` says so.
    """

    def __init__(self, path: str, *, is_readonly: bool = False) -> None:
        self.path = path
        self._ticket = 0
        self._descriptor = -1
        if is_readonly:
            return
        self._descriptor = _open(path)
        if os.fstat(self._descriptor).st_size < _HEAD_BYTES:
            # Growing is safe for those who mapped it already; nobody ever shrinks it.
            os.pwrite(self._descriptor, b"\0", _HEAD_BYTES - 1)
        # A mapping keeps a copy of its descriptor, and with it the locks, so it gets one of its own.
        mapped = _open(path)
        self._map = mmap.mmap(mapped, _HEAD_BYTES)
        os.close(mapped)
        self._words = memoryview(self._map).cast("Q")

    def acquire(self) -> None:
        """Wait for the turn; an interrupt leaves nothing locked."""
        descriptor = self._descriptor
        if descriptor < 0:
            raise readonly_error(os.path.dirname(self.path))
        try:
            _lock(descriptor, _MUTEX)
            ticket = self._ticket = (self._words[_TICKET_INDEX] + 1) & ((1 << 40) - 1)
            self._words[_TICKET_INDEX] = ticket
            _lock(descriptor, _TICKETS + ticket)
            _unlock(descriptor, _MUTEX)
            _lock(descriptor, _TICKETS + ticket - 1)
            _unlock(descriptor, _TICKETS + ticket - 1)
            _lock(descriptor, _REAL)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let the next one go; harmless when nothing is held."""
        descriptor = self._descriptor
        if descriptor < 0:
            return
        _unlock(descriptor, _REAL)
        _unlock(descriptor, _TICKETS + self._ticket)
        _unlock(descriptor, _MUTEX)

    @property
    def is_unsettled(self) -> bool:
        """Whether a holder died between marking slots in flight and settling them."""
        return self._words[_UNSETTLED_INDEX] != 0

    def set_unsettled(self, value: bool) -> None:
        """Say so before marking, take it back after settling; only while holding the queue."""
        self._words[_UNSETTLED_INDEX] = int(value)

    def close(self) -> None:
        """Close the descriptor; in a forked child this leaves the parent's locks alone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class LeaderLock:
    """At most one process leads; the kernel ends a dead leader's term."""

    def __init__(self, path: str, *, is_readonly: bool = False) -> None:
        self._descriptor = -1 if is_readonly else _open(path)
        self.is_held = False

    def try_acquire(self) -> bool:
        """Lead if nobody does."""
        if not self.is_held and self._descriptor >= 0:
            self.is_held = _try_lock(self._descriptor, 0)
        return self.is_held

    def release(self) -> None:
        """Step back."""
        if self.is_held:
            self.is_held = False
            _unlock(self._descriptor, 0)

    def close(self) -> None:
        """Close the descriptor; in a forked child this leaves the parent's term alone."""
        self.is_held = False
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
