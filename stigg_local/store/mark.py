"""The side file that remembers which database was here, in which epoch, and how far it had got.

Law: a database that is unknown to it, or behind it, is a restored one and starts a new epoch. It is stored
after each commit without a sync, so it may be behind the database, never ahead of what was committed.
"""

import mmap
import os
import struct

from stigg_local.clock import new_short_id
from stigg_local.store.digest import META, row_digest

_SIZE_BYTES = 72
_HEAD = struct.Struct("<8s32sQ8s")
_MAGIC = b"stiggmk1"
assert _HEAD.size == 56
_SEQ_INDEX, _SUSPECT_INDEX = 7, 8


class Mark:
    """The mapping; missing or damaged content counts as knowing nothing."""

    def __init__(self, path: str, *, is_readonly: bool = False) -> None:
        self.path = path
        self._is_readonly = is_readonly
        self._map: mmap.mmap | None = None
        self._words: memoryview | None = None
        self.file_id = ""
        self.epoch = 0
        self._load()

    @property
    def seq(self) -> int:
        """Number of the last transaction known to be committed."""
        return self._words[_SEQ_INDEX] if self._words is not None else 0

    def store_seq(self, seq: int) -> None:
        """Remember a committed transaction."""
        if self._words is not None and not self._is_readonly:
            self._words[_SEQ_INDEX] = seq

    @property
    def is_suspect(self) -> bool:
        """Whether SQLite reported damage since the last deep check."""
        return self._words is not None and self._words[_SUSPECT_INDEX] != 0

    def set_suspect(self, value: bool) -> None:
        """Ask the next opening for a deep check, or say that it was done."""
        if self._words is not None and not self._is_readonly:
            self._words[_SUSPECT_INDEX] = int(value)

    def knows(self, file_id: str, epoch: int, seq: int) -> bool:
        """Whether a database with these values is the one that was here, not an older copy."""
        return self.file_id == file_id and self.epoch == epoch and self.seq <= seq

    def reload(self) -> None:
        """Look again: another process may have begun a new epoch."""
        self._load()

    def replace(self, file_id: str, epoch: int, seq: int) -> None:
        """Begin an epoch; the caller holds the writer queue."""
        identity = file_id.encode("ascii").ljust(32, b"\0")
        head = _HEAD.pack(_MAGIC, identity, epoch, row_digest("", file_id, (META, epoch)))
        draft = f"{self.path}.{new_short_id()}"
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, head + struct.pack("<QQ", seq, 0))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(draft, self.path)
        self._load()

    def _load(self) -> None:
        self.file_id, self.epoch, self._words = "", 0, None
        try:
            descriptor = os.open(self.path, (os.O_RDONLY if self._is_readonly else os.O_RDWR) | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if os.fstat(descriptor).st_size != _SIZE_BYTES:
                return
            access = mmap.ACCESS_READ if self._is_readonly else mmap.ACCESS_WRITE
            self._map = mmap.mmap(descriptor, _SIZE_BYTES, access=access)
        finally:
            os.close(descriptor)
        magic, identity, epoch, digest = _HEAD.unpack_from(self._map)
        file_id = identity.rstrip(b"\0").decode("ascii", "replace")
        if magic != _MAGIC or digest != row_digest("", file_id, (META, epoch)):
            return
        self.file_id, self.epoch = file_id, epoch
        self._words = memoryview(self._map).cast("Q")
