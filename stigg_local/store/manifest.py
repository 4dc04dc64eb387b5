"""The end of a backup file: what the file holds, and a digest over every byte before it.

Laws: a file that does not end so is no backup, and one changed bit makes it none; before the end it is a plain
database, so SQLite's own tools can look into it.
"""

import hashlib
import os
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from stigg_local.errors import InvalidInput, SchemaTooNew, StoreCorrupt

FORMAT = 1
# What it is, the lengths of the database and of the manifest behind it; then the digest of all of that.
_HEAD = struct.Struct(">16sQQ")
_MAGIC = b"stigg-backup-v1\n"
_DIGEST_BYTES = 32
_FOOT_BYTES = _HEAD.size + _DIGEST_BYTES
_MANIFEST_BYTES_MAX = 1 << 20
_BLOCK_BYTES = 1 << 20

Told = Callable[[int, int], object]
"""Called with bytes done and bytes in all."""


class Manifest(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a backup holds.

    Attributes:
        environment: Whose records.
        file_id, epoch: Of the database that it was made of.
        seq: Number of the last transaction in it.
        made_ms: When it was begun; everything that was acknowledged before is in it.
        schema_version: Of the database.
        database_bytes: Length of the database, which is the file's first part.
        rows: Number of rows by stored table.
        damage: What was found damaged in the original and kept all the same; empty for a whole backup.
    """

    environment: str
    file_id: str
    epoch: int
    seq: int
    made_ms: int
    schema_version: int
    database_bytes: int
    rows: dict[str, int]
    damage: tuple[str, ...] = ()
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return dict(msgspec.to_builtins(self))


def seal(path: str, manifest: Manifest) -> None:
    """Put the end behind a finished database, and bring all of it to disk."""
    told = msgspec.json.encode(manifest)
    digest = hashlib.sha256()
    with open(path, "r+b") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        assert file.tell() == manifest.database_bytes
        foot = told + _HEAD.pack(_MAGIC, manifest.database_bytes, len(told))
        digest.update(foot)
        file.write(foot + digest.digest())
        file.flush()
        os.fsync(file.fileno())


def read_manifest(path: str) -> Manifest:
    """What a backup says that it holds, without a look at the rest of it.

    Raises:
        InvalidInput: No such file.
        StoreCorrupt: It does not end as a backup does.
        SchemaTooNew: A newer version of this package made it.
    """
    with _opened(path) as file:
        return _read(file, path)[0]


def unpack(path: str, target: BinaryIO, told: Told) -> Manifest:
    """Write the database of a backup to `target`, and compare every byte of the backup with its digest.

    Raises:
        InvalidInput: No such file.
        StoreCorrupt: It is not as it was when it was made.
        SchemaTooNew: A newer version of this package made it.
    """
    digest = hashlib.sha256()
    with _opened(path) as file:
        manifest, tail = _read(file, path)
        file.seek(0)
        done = 0
        while done < manifest.database_bytes:
            block = file.read(min(_BLOCK_BYTES, manifest.database_bytes - done))
            if not block:
                raise _damaged(path, "it became shorter while it was read")
            digest.update(block)
            target.write(block)
            done += len(block)
            told(done, manifest.database_bytes)
    digest.update(tail[:-_DIGEST_BYTES])
    if digest.digest() != tail[-_DIGEST_BYTES:]:
        raise _damaged(path, "it was changed since it was made")
    return manifest


def _opened(path: str) -> BinaryIO:
    if not os.path.isfile(path):
        raise InvalidInput(f"`{path}` is not a file", hint="name a file that `db backup` made")
    try:
        return open(path, "rb")
    except OSError as error:
        raise InvalidInput(f"`{path}` cannot be read: {error.strerror}", hint="let this user read it") from error


def _read(file: BinaryIO, path: str) -> tuple[Manifest, bytes]:
    """The manifest, and everything behind the database."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - _FOOT_BYTES))
    foot = file.read(_FOOT_BYTES)
    if len(foot) < _FOOT_BYTES:
        raise _no_backup(path)
    magic, database_bytes, manifest_bytes = _HEAD.unpack_from(foot)
    if magic != _MAGIC:
        raise _no_backup(path)
    if manifest_bytes > _MANIFEST_BYTES_MAX or database_bytes + manifest_bytes + _FOOT_BYTES != size:
        raise _damaged(path, "its length is not what its end says")
    file.seek(database_bytes)
    tail = file.read(manifest_bytes + _FOOT_BYTES)
    try:
        fields = msgspec.json.decode(tail[:manifest_bytes], type=dict[str, Any])
        if isinstance(made := fields.get("format"), int) and made > FORMAT:
            raise SchemaTooNew(
                f"`{path}` is a backup of format {made}, this program knows {FORMAT}", hint="upgrade this program"
            )
        manifest = msgspec.convert(fields, Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _damaged(path, "its manifest cannot be read") from error
    if manifest.database_bytes != database_bytes:
        raise _damaged(path, "its manifest is of another database")
    return manifest, tail


def _no_backup(path: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"`{path}` is no backup, or one that was cut short: it does not end as one",
        code="BackupDamaged",
        hint="name a file that `db backup` made, or take another copy of it",
    )


def _damaged(path: str, why: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"`{path}` does not match its digest: {why}",
        code="BackupDamaged",
        hint="nothing was changed; take another copy of it, or an older backup",
    )
