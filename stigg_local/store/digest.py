"""Eight-byte digests of rows, and the sums of them that notice a row which is missing.

Law: the encoding is unambiguous and stable; it is part of the file format and pinned by a test.
A digest covers the table's tag, the key and every value except the digest itself.
"""

from typing import Any
from zlib import crc32

from msgspec import msgpack

try:  # The C module itself: `hashlib` would pull OpenSSL into every process that imports the package.
    from _blake2 import blake2b
except ImportError:  # pragma: no cover - an interpreter that builds BLAKE2 elsewhere
    from hashlib import blake2b

# One tag per table; a number in the file format, so never renumber.
CUSTOMER, COUNTER, GRANT, MEASUREMENT, LEDGER, RECORD, SLOT, MEMBER = range(8)
CATALOG_ITEM, CATALOG_FILE, CATALOG_ROOT, IDEMPOTENCY, OWNER, META, SEQUENCE = range(8, 15)
DUE, AUDIT, AUDIT_ROOT, CHECKOUT = range(15, 19)
HOLD = 19
USAGE_EVENT, METER, MEMBER_OF_METER, THRESHOLD = range(20, 24)
MEASUREMENT_PACK = 24

SLOT_COUNT = 4096
MASK = (1 << 64) - 1

_encode = msgpack.Encoder().encode


def row_digest(environment: str, key: str, row: tuple[Any, ...]) -> bytes:
    """Digest of one row.

    Args:
        environment: First column of every key.
        key: Customer id, or whatever the table has in its place.
        row: The table's tag, then the rest of the key and the values, in the order of the table.

    Returns:
        Eight bytes.
    """
    return blake2b(_encode((environment, key, row)), digest_size=8).digest()


def row_sum(environment: str, key: str, row: tuple[Any, ...]) -> int:
    """The digest as the integer that sums are made of, 0 .. 2^64-1."""
    return int.from_bytes(blake2b(_encode((environment, key, row)), digest_size=8).digest(), "little")


def sum_bytes(total: int) -> bytes:
    """A sum as it is stored: eight bytes, little endian, mod 2^64."""
    return (total & MASK).to_bytes(8, "little")


def slot_of(customer_id: str) -> int:
    """The customer's slot in the generation file and in the customer table, 0 .. 4095."""
    return crc32(customer_id.encode()) & 4095


def content_hash(content: bytes) -> str:
    """What tells one file's content from every other's, in hex."""
    return blake2b(content, digest_size=32).hexdigest()


def fingerprint(content: bytes) -> bytes:
    """Sixteen bytes that stand for a command's arguments."""
    return blake2b(content, digest_size=16).digest()
