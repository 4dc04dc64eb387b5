"""A catalog on its way in: records that may still hold mistakes, where each stands and what is wrong.

Laws: one mistake is reported once. A field that was reported is `broken`, and nothing that rests on it is
reported as well.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from stigg_local.core.catalog import CatalogFile, Record
from stigg_local.core.nearest import nearest

# Nearest names cost time: in a file with more mistakes than this the later ones come without.
HINTS_MAX = 300
SHOWN_MAX = 60
# What a reference names -> the section that holds it.
SECTIONS = {
    "a feature": "features",
    "a credit currency": "creditCurrencies",
    "a product": "products",
    "a plan": "plans",
    "an add-on": "addons",
    "a coupon": "coupons",
}


class Problem(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One mistake of a catalog.

    Attributes:
        file: The file as the caller named it; `<mapping>` for a mapping.
        line: Line of the mistake for syntax and in YAML, else of the table (JSON: object) around it; None for a
            mapping.
        path: Key path with ids, for example `plans[plan-x].entitlements[feature-y].resetPeriod`.
        id: The id of the item (plan, feature, coupon…) that holds the mistake.
        message: What is wrong and what was expected.
        hint: The way out, often the nearest known name.
        code: The field's own word for the rule that is broken, where it has one.
        column: Column of a syntax mistake, from 1.
    """

    file: str
    line: int | None
    path: str
    id: str | None
    message: str
    hint: str | None = None
    code: str | None = None
    column: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The problem as JSON can hold it; `code` and `column` only where they say something."""
        shown: dict[str, Any] = {
            "file": self.file,
            "line": self.line,
            "path": self.path,
            "id": self.id,
            "message": self.message,
            "hint": self.hint,
        }
        shown |= {"code": self.code} if self.code is not None else {}
        return shown | ({"column": self.column} if self.column is not None else {})

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        path = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        code = f" [{self.code}]" if self.code else ""
        return f"{where}:{path} {self.message}{hint}{code}"


class Place(Struct):
    """Where a record stands: key path for people and as written, its item, its fields stated and broken.

    A field that is stated goes with the key that states it.
    """

    text: str
    keys: tuple[str | int, ...]
    item_id: str | None
    stated: Mapping[str, str]
    broken: set[str]


class Mistake(Struct, frozen=True):
    """A mistake before it is known in which line it stands."""

    text: str
    keys: tuple[str | int, ...]
    item_id: str | None
    message: str
    hint: str | None
    code: str | None


class Draft:
    """A catalog and what is wrong with it so far.

    Attributes:
        catalog: The records; a broken field holds its default or something neutral.
        mistakes: In the order in which they were found.
        gaps: Key paths of lists of which an entry could not be read at all, so that something may be missing.
    """

    def __init__(self) -> None:
        self.catalog = CatalogFile(schema=1)
        self.mistakes: list[Mistake] = []
        self.gaps: set[str] = set()
        self._places: dict[int, Place] = {}
        self._kept: list[Record] = []
        self._hints = 0

    def place(self, record: Record, place: Place) -> None:
        """Remember where a record stands; it is known by its identity, so it is kept alive."""
        self._places[id(record)] = place
        self._kept.append(record)

    def at(self, record: Record) -> Place:
        """Where a record stands."""
        return self._places[id(record)]

    def place_of(self, keys: tuple[str | int, ...]) -> Place | None:
        """The innermost record around a key path as written."""
        places = {place.keys: place for place in self._places.values()}
        found = (places.get(keys[:length]) for length in range(len(keys) - 1, -1, -1))
        return next((place for place in found if place is not None), None)

    def sound(self, record: Record, *fields: str) -> bool:
        """Whether the fields (snake case) of a record can be relied on."""
        place = self._places.get(id(record))
        return place is None or place.broken.isdisjoint(fields)

    def whole(self, record: Record, field: str) -> bool:
        """Whether a list of a record was read without gaps."""
        return self.sound(record, field) and f"{self.at(record).text}.{camel(field)}" not in self.gaps

    def report(
        self,
        record: Record,
        field: str,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        needs: Iterable[str] = (),
        entry: object = None,
    ) -> None:
        """Report a mistake of a record's field, unless the field or one that it rests on is broken already.

        Args:
            record: The record, placed before.
            field: Its field in snake case; empty for the record as a whole.
            message: What is wrong, lower case.
            hint: The way out.
            code: The field's own word for the rule.
            needs: Other fields of the record on which the judgement rests.
            entry: The entry of the list `field` that is meant; then other entries may be reported, too.
        """
        place = self.at(record)
        mark = field if entry is None else f"{field}[{entry}]"
        if not place.broken.isdisjoint((field, mark, *needs)):
            return
        place.broken.add(mark or "*")
        text, keys = place.text, place.keys
        if field:
            text += f".{camel(field)}" if entry is None else f".{camel(field)}[{shown(entry)}]"
            keys = (*keys, place.stated.get(field, camel(field)))
            values = getattr(record, field)
            if entry is not None and isinstance(values, tuple) and entry in values:
                # Of two entries that are the same the last one is too many.
                keys = (*keys, len(values) - 1 - values[::-1].index(entry))
        self.add(text.removeprefix("."), keys, place.item_id, message, hint=hint, code=code)

    def unknown(
        self,
        record: Record,
        field: str,
        name: str,
        known: Mapping[str, object] | Iterable[str],
        what: str,
        *,
        code: str | None = None,
        entry: object = None,
    ) -> None:
        """Report a reference to something that is not there, unless it may be what could not be read."""
        if SECTIONS[what] in self.gaps:
            return
        hint = self.hint(name, known) or f"there is no `{shown(name)}` in this catalog"
        self.report(record, field, f"`{shown(name)}` is not {what}", hint=hint, code=code, entry=entry)

    def add(
        self,
        text: str,
        keys: tuple[str | int, ...],
        item_id: str | None,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
    ) -> None:
        """Add a mistake by its place."""
        self.mistakes.append(Mistake(text, keys, item_id, message, hint, code))

    def nearest(self, word: object, known: Iterable[str]) -> str | None:
        """The nearest known name, while there are few mistakes."""
        self._hints += 1
        return nearest(word, known) if self._hints <= HINTS_MAX else None

    def hint(self, word: object, known: Iterable[str]) -> str | None:
        """`did you mean …?`, where there is a nearest name."""
        name = self.nearest(word, known)
        return None if name is None else f"did you mean `{shown(name)}`?"


def camel(field: str) -> str:
    """A field's name as catalog files have it."""
    first, *rest = field.split("_")
    return first + "".join(part.capitalize() for part in rest)


def shown(value: object) -> str:
    """A value as a message shows it: short, and without characters that do not print."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "a huge number"
    text = value if isinstance(value, str) else str(value)
    text = text[: SHOWN_MAX + 1]
    if not text.isprintable():
        text = text.encode("unicode_escape", "surrogatepass").decode("ascii")
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"
