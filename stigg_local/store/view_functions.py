"""The functions that the readable views call: times, packed bodies, amounts and states for people.

Law: what is damaged is empty, never an error, so that the rows beside it can be looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from stigg_local.core.customer import Subscription, status_of
from stigg_local.core.period import FOREVER_MS, to_text
from stigg_local.core.quantity import from_raw, raw_to_decimal

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw


def add_functions(connection: apsw.Connection, now_ms: int) -> None:
    """Give a connection the functions, for as long as it is open."""

    def function(name: str, arguments: int, call: Callable[..., Any]) -> None:
        connection.create_scalar_function(name, call, arguments, deterministic=True, flags=apsw.SQLITE_INNOCUOUS)

    part = _Parts()
    function("iso", 1, _iso)
    function("decoded", 1, _decoded)
    function("part", 2, part.of)
    function("part", 3, part.inside)
    function("amount", 3, _amount)
    function("now_ms", 0, lambda: now_ms)
    function("subscription_status", 1, lambda body: _status(body, now_ms))


class _Parts:
    """Places in arrays that are stored as msgpack; the columns of one row ask for the same body one after another."""

    def __init__(self) -> None:
        self._body: object = None
        self._items: Any = None

    def of(self, body: object, place: int) -> Any:
        """One item; None where there is none."""
        return _plain(self._item(body, place))

    def inside(self, body: object, outer: int, place: int) -> Any:
        """One item of an item."""
        items = self._item(body, outer)
        return _plain(items[place]) if isinstance(items, list) and place < len(items) else None

    def _item(self, body: object, place: int) -> Any:
        if body is not self._body:
            try:
                self._items = msgspec.msgpack.decode(body) if isinstance(body, bytes) else None
            except msgspec.MsgspecError:
                # A damaged body: its columns are empty, and the stored table has the bytes.
                self._items = None
            self._body = body
        items = self._items
        return items[place] if isinstance(items, list) and place < len(items) else None


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _iso(ms: object) -> str | None:
    if not isinstance(ms, int) or not 0 <= ms < FOREVER_MS:
        return None
    try:
        return to_text(ms)
    except (ValueError, OverflowError):
        return None


def _decoded(body: object) -> str | None:
    if not isinstance(body, bytes):
        return None if body is None else str(body)
    try:
        return msgspec.json.encode(msgspec.msgpack.decode(body)).decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError):
        return None


def _amount(raw: object, scale: object, known: object) -> int | float | str | None:
    """A stored number in the units of its feature or currency; nobody knows them of one that the catalog lost.

    Where no float is exactly that number, its text is.
    """
    if known is None or not isinstance(raw, int) or not isinstance(scale, int):
        return None
    exact, seen = raw_to_decimal(raw, scale), from_raw(raw, scale)
    return seen if isinstance(seen, int) or Decimal(repr(seen)) == exact else str(exact)


def _status(body: object, now_ms: int) -> str | None:
    try:
        return status_of(msgspec.json.decode(str(body), type=Subscription), now_ms)
    except msgspec.MsgspecError:
        return None
