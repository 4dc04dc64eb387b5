"""What each byte of an SQLite file is for, so that a test can damage one that counts, and knows which do not."""

import os
import struct
from pathlib import Path
from typing import Any

import apsw

PAGE_BYTES = 4096
_MAX_INDEX, _MIN = (PAGE_BYTES - 12) * 64 // 255 - 23, (PAGE_BYTES - 12) * 32 // 255 - 23
_MAX_TABLE = PAGE_BYTES - 35

# Fields of the header that only tell caches to reload, or which library wrote last: any value is as good.
_FREE_IN_HEADER = {*range(40, 44), *range(96, 100)}


def used_bytes(path: Path) -> dict[str, list[int]]:
    """Offsets of the bytes that mean something, by the table or index that they belong to.

    The header's and the list of free pages' bytes are those of `` (no name).
    """
    content = path.read_bytes()
    used: dict[str, list[int]] = {"": [at for at in range(100) if at not in _FREE_IN_HEADER]}
    for name, number, kind in _pages(path):
        if kind == "overflow":
            continue
        base = (number - 1) * PAGE_BYTES
        found = used.setdefault(name, [])
        found.extend(base + at for at in _of_page(content, base))
        for first, size in _chains(content, base):
            found.extend(_of_chain(content, first, size))
    used[""].extend(_of_free_pages(content))
    return used


def _pages(path: Path) -> list[Any]:
    connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute("SELECT name, pageno, pagetype FROM dbstat ORDER BY pageno").fetchall()
    finally:
        connection.close()


def _of_page(content: bytes, base: int) -> set[int]:
    """Offsets in the page of its header, its pointers, its cells and the heads of its free blocks."""
    start = 100 if base == 0 else 0
    kind, free, count = struct.unpack_from(">BHH", content, base + start)
    head_bytes = 12 if kind in (2, 5) else 8
    used = set(range(start, start + head_bytes + 2 * count))
    for pointer in _pointers(content, base):
        used.update(range(pointer, pointer + _cell(content, base, pointer)[0]))
    while free:
        used.update(range(free, free + 4))
        free = struct.unpack_from(">H", content, base + free)[0]
    return used


def _pointers(content: bytes, base: int) -> tuple[int, ...]:
    start = 100 if base == 0 else 0
    kind, _, count = struct.unpack_from(">BHH", content, base + start)
    first = base + start + (12 if kind in (2, 5) else 8)
    return struct.unpack_from(f">{count}H", content, first)


def _cell(content: bytes, base: int, pointer: int) -> tuple[int, int, int]:
    """A cell's bytes in its page, its first overflow page (0: none) and how much of it is there."""
    kind = content[base + (100 if base == 0 else 0)]
    at = base + pointer + (4 if kind in (2, 5) else 0)
    payload, at = _varint(content, at)
    if kind == 5:
        return at - base - pointer, 0, 0
    if kind == 13:
        _, at = _varint(content, at)
    largest = _MAX_TABLE if kind == 13 else _MAX_INDEX
    if payload <= largest:
        return max(4, at + payload - base - pointer), 0, 0
    local = _MIN + (payload - _MIN) % (PAGE_BYTES - 4)
    local = local if local <= largest else _MIN
    at += local
    return at + 4 - base - pointer, struct.unpack_from(">I", content, at)[0], payload - local


def _chains(content: bytes, base: int) -> list[tuple[int, int]]:
    cells = (_cell(content, base, pointer) for pointer in _pointers(content, base))
    return [(first, size) for _, first, size in cells if first]


def _of_chain(content: bytes, number: int, size: int) -> list[int]:
    used: list[int] = []
    while size > 0:
        base = (number - 1) * PAGE_BYTES
        here = min(size, PAGE_BYTES - 4)
        used.extend(range(base, base + 4 + here))
        number, size = struct.unpack_from(">I", content, base)[0], size - here
    return used


def _of_free_pages(content: bytes) -> list[int]:
    used: list[int] = []
    trunk = struct.unpack_from(">I", content, 32)[0]
    while trunk:
        base = (trunk - 1) * PAGE_BYTES
        following, count = struct.unpack_from(">II", content, base)
        used.extend(range(base, base + 8 + 4 * count))
        trunk = following
    return used


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(9):
        byte = content[at]
        at += 1
        if index == 8:
            return (value << 8) | byte, at
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            break
    return value, at
