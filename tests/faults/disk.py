"""A disk under SQLite that can lose its power and can fail: a VFS over the real one.

What was written and not synced is kept apart, so that an image can be made of what a power cut would leave: all of it
gone, any part of it there, or sectors of it torn. Files are inodes and their names a log of directory operations, for
a deleted file must not come back. The shared memory of the log is not part of an image; it is made from the log anew.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import apsw

SECTOR = 512
MODES = ("drop", "subset", "torn")
Write = tuple[str, int, bytes]


class Inode:
    """One file: what is surely on the disk, and what was written since its last sync."""

    def __init__(self) -> None:
        self.durable = bytearray()
        self.pending: list[Write] = []


class Disk:
    """All files below one directory, as they are after a power cut at any instant.

    Attributes:
        counts: How often each operation ran.
        hook: Called around every operation that changes something; whoever wants images takes them there.
        lies: Whether a sync does nothing, as on a disk that lies.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.names: dict[str, Inode] = {}
        self.durable_names: dict[str, Inode] = {}
        self.directory: list[tuple[str, str, Inode | None]] = []
        self.counts: Counter[str] = Counter()
        self.hook: Callable[[str], None] = lambda event: None
        self.lies = False

    def open(self, path: str) -> Inode:
        inode = self.names.get(path)
        if inode is None:
            inode = self.names[path] = Inode()
            try:
                with open(path, "rb") as file:
                    inode.durable += file.read()
                # What was there before this disk was watched is on it for good.
                self.durable_names[path] = inode
            except FileNotFoundError:
                self.directory.append(("create", path, inode))
        return inode

    def delete(self, path: str, *, is_synced: bool) -> None:
        self.names.pop(path, None)
        self.directory.append(("delete", path, None))
        if is_synced:
            self.sync_directory()

    def sync(self, inode: Inode) -> None:
        if self.lies:
            return
        for write in inode.pending:
            put(inode.durable, write)
        inode.pending = []
        self.sync_directory()

    def sync_directory(self) -> None:
        replay(self.durable_names, self.directory)
        self.directory = []

    def image(self, source: random.Random, mode: str) -> dict[str, bytes]:
        """What a power cut now leaves, by path."""
        names = dict(self.durable_names)
        replay(names, self.directory[: 0 if mode == "drop" else source.randint(0, len(self.directory))])
        found = {}
        for path, inode in names.items():
            data = bytearray(inode.durable)
            for write in inode.pending:
                if mode == "subset" and source.random() < 0.5:
                    put(data, write)
                elif mode == "torn" and source.random() < 0.8:
                    put_torn(data, write, source)
            found[path] = bytes(data)
        return found

    def now(self, path: str) -> bytes:
        """The file as a running system sees it."""
        inode = self.names[path]
        data = bytearray(inode.durable)
        for write in inode.pending:
            put(data, write)
        return bytes(data)


def replay(names: dict[str, Inode], operations: list[tuple[str, str, Inode | None]]) -> None:
    """Play directory operations in order."""
    for what, path, inode in operations:
        if what == "create" and inode is not None:
            names[path] = inode
        else:
            names.pop(path, None)


def put(data: bytearray, write: Write) -> None:
    """Apply one write, or a truncation."""
    what, place, content = write
    if what == "truncate":
        del data[place:]
        return
    if len(data) < place:
        data += bytes(place - len(data))
    data[place : place + len(content)] = content


def put_torn(data: bytearray, write: Write, source: random.Random) -> None:
    """Apply a write sector by sector: kept, lost or garbage."""
    what, place, content = write
    if what == "truncate":
        if source.random() < 0.5:
            put(data, write)
        return
    for start in range(0, len(content), SECTOR):
        part = content[start : start + SECTOR]
        fate = source.random()
        if fate < 0.1:
            part = source.randbytes(len(part))
        elif fate < 0.4:
            continue
        put(data, ("write", place + start, part))


class Plan:
    """Which operation fails: the `nth` of its kind from now on, once or for ever.

    Attributes:
        fired: How often the fault happened.
    """

    ERRORS: ClassVar[dict[str, tuple[str, int, bool]]] = {
        "write EIO": ("write", apsw.SQLITE_IOERR_WRITE, False),
        "write ENOSPC": ("write", apsw.SQLITE_FULL, False),
        "write short": ("write", apsw.SQLITE_IOERR_WRITE, True),
        "sync EIO": ("sync", apsw.SQLITE_IOERR_FSYNC, False),
        "read EIO": ("read", apsw.SQLITE_IOERR_READ, False),
        "open EIO": ("open", apsw.SQLITE_CANTOPEN, False),
        "truncate EIO": ("truncate", apsw.SQLITE_IOERR_TRUNCATE, False),
    }

    def __init__(self) -> None:
        self.fired = 0
        self._kind = ""
        self._code = 0
        self._is_short = False
        self._left = 0
        self._is_persistent = False

    def arm(self, name: str, nth: int, *, is_persistent: bool) -> None:
        """Let the nth operation fail."""
        self._kind, self._code, self._is_short = self.ERRORS[name]
        self._left, self._is_persistent, self.fired = nth, is_persistent, 0

    def disarm(self) -> None:
        """Let everything work again."""
        self._kind = ""

    def meet(self, kind: str, half: Callable[[], None] | None = None) -> None:
        """Fail where the plan says so; `half` does half of the operation first."""
        if kind != self._kind:
            return
        self._left -= 1
        if self._left == 0 or (self._left < 0 and self._is_persistent):
            self.fired += 1
            if self._is_short and half is not None:
                half()
            raise apsw.exception_for(self._code)


class File(apsw.VFSFile):
    """A file of the disk below."""

    def __init__(self, vfs: "FaultVFS", name: Any, flags: Any) -> None:
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name
        # Before the real one is opened: what is there already is read by its name.
        self._inode = vfs.disk.open(self._path)
        self._disk, self._plan = vfs.disk, vfs.plan
        super().__init__("unix", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._plan.meet("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        content = bytes(data)
        self._plan.meet("write", lambda: self._write(content[: len(content) // 2], offset))
        self._write(content, offset)
        self._disk.hook("write")

    def _write(self, content: bytes, offset: int) -> None:
        super().xWrite(content, offset)
        self._disk.counts["write"] += 1
        self._inode.pending.append(("write", offset, content))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._plan.meet("truncate")
        super().xTruncate(size)
        self._disk.counts["truncate"] += 1
        self._inode.pending.append(("truncate", size, b""))
        self._disk.hook("truncate")

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.hook("before sync")
        self._plan.meet("sync")
        self._disk.counts["sync"] += 1
        self._disk.sync(self._inode)
        self._disk.hook("sync")


class FaultVFS(apsw.VFS):
    """The default file system of the process from now on; files outside of the disk's root go to the real one."""

    def __init__(self, root: str, name: str = "faults") -> None:
        self.disk = Disk(root)
        self.plan = Plan()
        super().__init__(name, "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None or not path.startswith(self.disk.root):
            return super().xOpen(name, flags)
        self.plan.meet("open")
        self.disk.counts["open"] += 1
        return File(self, name, flags)

    def xDelete(self, path: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(path, syncdir)
        if path.startswith(self.disk.root):
            self.disk.delete(path, is_synced=bool(syncdir))
