"""What the bodies of measurements and raw events hold: dimensions, or what a compaction folded of many.

Law: the encoding is part of the file format; a folded body tells by what definition of a meter it was made.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import msgpack

from stigg_local.core.catalog import Meter
from stigg_local.core.meter import Dimension
from stigg_local.store.digest import fingerprint

_encode = msgpack.Encoder().encode
_decode_dimensions = msgpack.Decoder(dict[str, str | int | float | bool]).decode
_decode_folded = msgpack.Decoder(tuple[bytes, int, str, tuple[bytes, ...]]).decode


class Folded(NamedTuple):
    """What events came to that are in the log no more.

    Attributes:
        definition: Stands for the meter's definition.
        size, total: As the meter's aggregate; 0 of a set.
        members: Of a set: values.
    """

    definition: bytes
    size: int = 0
    total: int = 0
    members: tuple[bytes, ...] = ()


def definition_of(meter: Meter | None) -> bytes:
    """Eight bytes that stand for a meter's definition."""
    return fingerprint(_encode(meter))[:8]


def dimensions_body(dimensions: Mapping[str, Dimension]) -> bytes:
    """Dimensions as they are stored."""
    return _encode(dimensions) if dimensions else b""


def dimensions_of(body: bytes) -> dict[str, Dimension]:
    """The dimensions that a stored body holds."""
    return _decode_dimensions(body) if body else {}


def folded_body(folded: Folded) -> bytes:
    """What was folded, as it is stored."""
    return _encode((folded.definition, folded.size, str(folded.total), folded.members))


def folded_of(body: bytes) -> Folded:
    """What a stored body says was folded."""
    definition, size, total, members = _decode_folded(body)
    return Folded(definition, size, int(total), members)
