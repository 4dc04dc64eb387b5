"""What `client.status()` tells: one record of plain values; asking never raises and never waits."""

from typing import Any

import msgspec
from msgspec import Struct

from stigg_local.edge.fallback_file import FallbackFile
from stigg_local.embedded import Embedded
from stigg_local.errors import StiggError


class Status(Struct, frozen=True, kw_only=True, rename="camel"):
    """The state of a client.

    Attributes:
        state: FRESH (embedded: this process is the authority), STORAGE (the file cannot be used), OFFLINE, CLOSED.
        version: `epoch:seq` of the last transaction; None offline.
        age: Seconds since the authority was last heard of: 0 embedded, None offline.
        lag: Changes not yet seen: 0 embedded.
        outbox_depth: Usage not yet delivered; embedded: queued reports that are not stored yet.
        last_error: The last failure as text; None after a success.
        fallback_file: The followed file, its version and its last error; None without one.
        storage: Where and how the state is kept: path, leader, size of the write-ahead log; None offline.
        clock_suspect: True where the wall clock jumped further ahead than can be believed.
        memory_bytes: What is held in memory of customers, estimated.
    """

    state: str
    environment: str | None = None
    version: str | None = None
    age: float | None = None
    lag: int = 0
    outbox_depth: int = 0
    last_error: str | None = None
    fallback_file: dict[str, Any] | None = None
    storage: dict[str, Any] | None = None
    clock_suspect: bool = False
    memory_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return dict(msgspec.to_builtins(self))

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return msgspec.json.encode(self).decode()


def status_of(embedded: Embedded | None, fallback_file: FallbackFile | None, *, closed: bool) -> Status:
    """The state of a client's parts."""
    followed = None if fallback_file is None else fallback_file.status()
    file_error = None if followed is None else followed.get("last_error")
    if closed:
        return Status(state="CLOSED", fallback_file=followed)
    if embedded is None:
        return Status(state="OFFLINE", fallback_file=followed, last_error=file_error)
    try:
        # Reads that memory answers look at the wall clock alone, so the suspicion may be out of date.
        embedded.store.now_ms()
        storage = embedded.store.status()
    except StiggError as error:
        storage = {"storage": "corrupt", "last_error": str(error)}
    is_sound = storage.get("storage") in ("ok", "readonly") and not storage.get("lost")
    return Status(
        state="FRESH" if is_sound else "STORAGE",
        environment=embedded.store.environment,
        version=f"{storage.get('epoch', 0)}:{storage.get('seq', 0)}",
        age=0.0,
        outbox_depth=0 if embedded.store.queue is None else embedded.store.queue.depth,
        last_error=embedded.last_error() or storage.get("last_error") or file_error,
        fallback_file=followed,
        storage=storage,
        clock_suspect=bool(storage.get("clock_suspect")),
        memory_bytes=embedded.replica.held_bytes(),
    )
