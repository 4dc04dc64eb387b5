"""The mapped file of 4096 numbers that tells every process which remembered answers are out of date.

Laws: a slot is stored, never read-modify-written; it never shows a value that it showed before, so comparing
for equality suffices; a slot in flight must not be remembered. The file is whole from its first instant and
never shrinks.
"""

import mmap
import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from stigg_local.clock import new_id, new_short_id
from stigg_local.errors import StoreError
from stigg_local.store.digest import SLOT_COUNT

SIZE_BYTES = SLOT_COUNT * 8
IN_FLIGHT = 1 << 63
# Values that stand for "changed, by whom is not known"; sequence numbers stay below.
UNIQUE = 1 << 62


def is_in_flight(value: int) -> bool:
    """Whether a commit may be happening under this value, so that nothing may be remembered with it."""
    return value >= IN_FLIGHT


def fresh_unique() -> int:
    """A value that no slot had before."""
    return UNIQUE | (int(new_id()[:16], 16) >> 2)


class Generation:
    """The mapping; `slots` stays valid as long as anyone holds it.

    In a directory that is read-only it is looked at and never stored to; where there is none, every slot is in flight,
    so that nothing is remembered.
    """

    def __init__(self, path: str, *, is_readonly: bool = False) -> None:
        self.path = path
        self._is_readonly = is_readonly
        if is_readonly:
            self.inode, self.slots = _looked_at(path)
            return
        descriptor = _open_whole(path)
        try:
            self.inode = os.fstat(descriptor).st_ino
            self._map = mmap.mmap(descriptor, SIZE_BYTES)
        finally:
            os.close(descriptor)
        self.slots = memoryview(self._map).cast("Q")

    def mark_in_flight(self, slots: Iterable[int]) -> None:
        """Before a commit: whoever reads these slots from now on remembers nothing."""
        self._store(slots, IN_FLIGHT | fresh_unique())

    def settle(self, slots: Iterable[int], seq: int) -> None:
        """After a commit: the slots show the transaction's number."""
        self._store(slots, seq)

    def bump(self, slots: Iterable[int]) -> None:
        """After a rollback or an unknown outcome: everything remembered under these slots is void."""
        self._store(slots, fresh_unique())

    def disable(self) -> None:
        """Leave every slot in flight for good: correct, and never remembered again."""
        self.mark_in_flight(range(SLOT_COUNT))

    def in_flight(self) -> list[int]:
        """The slots that are in flight now."""
        return [slot for slot, value in enumerate(self.slots) if value >= IN_FLIGHT]

    def seq_max(self) -> int:
        """The highest transaction number that any slot shows."""
        return max((value for value in self.slots if value < UNIQUE), default=0)

    def is_current(self) -> bool:
        """Whether the path still leads to the mapped file."""
        try:
            return os.stat(self.path).st_ino == self.inode
        except OSError:
            return False

    def _store(self, slots: Iterable[int], value: int) -> None:
        view = self.slots
        if self._is_readonly:
            return
        if isinstance(slots, range) and len(slots) == SLOT_COUNT:
            view[:] = memoryview(value.to_bytes(8, sys.byteorder) * SLOT_COUNT).cast("Q")
            return
        for slot in slots:
            view[slot] = value


def _open_whole(path: str) -> int:
    """Open the file, made complete under another name first, so that nobody ever maps a short one."""
    # Cut short, gone, made anew.
    for _ in range(3):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            _create(path)
            continue
        if os.fstat(descriptor).st_size == SIZE_BYTES:
            return descriptor
        os.close(descriptor)
        # Not ours or cut short: its holders notice the new inode and stop remembering.
        os.rename(path, f"{path}.damaged")
    raise StoreError(f"cannot make `{path}`")


def _looked_at(path: str) -> tuple[int, memoryview]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0, memoryview(b"\xff" * SIZE_BYTES).cast("Q")
    try:
        found = os.fstat(descriptor)
        if found.st_size != SIZE_BYTES:
            return 0, memoryview(b"\xff" * SIZE_BYTES).cast("Q")
        return found.st_ino, memoryview(mmap.mmap(descriptor, SIZE_BYTES, access=mmap.ACCESS_READ)).cast("Q")
    finally:
        os.close(descriptor)


def _create(path: str) -> None:
    draft = f"{path}.{new_short_id()}"
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Written, not just sized: a hole could fail later with a signal instead of an error.
        os.write(descriptor, bytes(SIZE_BYTES))
        os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.close(descriptor)
        os.unlink(draft)
