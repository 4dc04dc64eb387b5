"""A page of a list with a cursor."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """Part of a list; iterating goes over its items.

    Attributes:
        items: What is on this page.
        next: The cursor of the next page; None on the last.
    """

    items: tuple[T, ...]
    next: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def to_dict(self) -> dict[str, Any]:
        """The page as JSON can hold it."""
        items = [item.to_dict() if hasattr(item, "to_dict") else item for item in self.items]
        return {"items": items, "next": self.next}

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return msgspec.json.encode(self.to_dict()).decode()
