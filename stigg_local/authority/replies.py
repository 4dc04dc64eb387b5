"""The stored replies of commands: what the same command gives a second time.

Law: what stands for a command's arguments cannot be turned back into them, nor compared with a guess where they were
only passed on.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from stigg_local.clock import new_id
from stigg_local.core.command import canonical
from stigg_local.errors import IdempotencyConflict
from stigg_local.store.digest import fingerprint
from stigg_local.store.tx import Tx

T = TypeVar("T", bound=Struct)

# Where the key of hashes over passed-on arguments is kept.
_KEY_NAME = "passed_on_key"


def stands_for(command: Struct) -> bytes:
    """What stands for a command's arguments."""
    return fingerprint(repr(canonical(command)).encode(errors="replace"))


def stored_reply(tx: Tx, operation: str, key: str, body: bytes, reply_type: type[T]) -> T | None:
    """What the command of that key gave; None for a new key."""
    stored = tx.idempotency(operation, key)
    if stored is None:
        return None
    if stored[0] != body:
        raise IdempotencyConflict(
            f"idempotency_key `{key}` was used for another {operation}",
            hint="use a new key for a new request, and the same arguments with the same key",
        )
    return msgspec.msgpack.decode(stored[1], type=reply_type)


def passed_on(*arguments: Mapping[str, Any] | None) -> object:
    """Arguments that go to others and are kept nowhere; None where none of them was given."""
    return None if all(item is None for item in arguments) else arguments


def keyed(tx: Tx, plain: bytes, passed_on: object) -> bytes:
    """What stands for arguments of which nothing may be kept, not even what a guess could be compared with."""
    secret = tx.meta(_KEY_NAME)
    if secret is None:
        secret = new_id()
        tx.set_meta(_KEY_NAME, secret)
    return fingerprint(secret.encode() + plain + repr(canonical(passed_on)).encode(errors="replace"))
