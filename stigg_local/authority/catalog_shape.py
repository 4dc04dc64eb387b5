"""From a mapping to catalog records, field by field: unknown and missing keys, wrong types, words and ranges.

Laws: every mistake is found in one pass and none stops it; every table makes a record, with something neutral
in place of a broken field. What names and numbers mean together is for `catalog_check`.
"""

import functools
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import msgspec.inspect as inspect
from msgspec import NODEFAULT, Struct

from stigg_local.authority.catalog_draft import Draft, Place, shown
from stigg_local.authority.catalog_scalar import (
    AMOUNT,
    NAME_LISTS,
    NAMES,
    RANGES,
    WHOLE,
    Range,
    Wrong,
    amount_of,
    described,
    number_of,
    plain,
    text_of,
    within,
)
from stigg_local.core.catalog import (
    CatalogFile,
    CreditEntitlement,
    PackageEntitlement,
    PromotionCode,
    Record,
)
from stigg_local.core.ids import is_id
from stigg_local.core.words import BillingPeriod, FeatureType, MeterType

# Which field names an entry of a list; entries of other lists go by their index.
LABELS = {PackageEntitlement: "feature_id", CreditEntitlement: "currency_id", PromotionCode: "code"}
ALIASES: dict[str, type[StrEnum]] = {
    "feature_type": FeatureType,
    "meter_type": MeterType,
    "billing_period": BillingPeriod,
}

# By which editors find the JSON Schema of a file; it says nothing about the catalog.
SCHEMA_KEY = "$schema"

Kind = Literal["text", "flag", "whole", "number", "amount", "word", "scalar", "list", "map", "record"]


class Shape(NamedTuple):
    """What a value has to be."""

    kind: Kind
    nullable: bool = False
    words: tuple[Any, ...] = ()
    item: Any = None
    record: Any = None


class Field(NamedTuple):
    """One field of a record."""

    name: str
    key: str
    shape: Shape
    required: bool
    default: Any


class _Here(NamedTuple):
    """The place of a value: key path for people, keys as written, item."""

    text: str
    keys: tuple[str | int, ...]
    item_id: str | None

    def key(self, name: str, written: str) -> "_Here":
        return _Here(f"{self.text}.{name}" if self.text else name, (*self.keys, written), self.item_id)

    def entry(self, index: int, label: str, item_id: str | None) -> "_Here":
        return _Here(f"{self.text}[{label}]", (*self.keys, index), item_id)


def read_catalog(source: Mapping[Any, Any]) -> Draft:
    """The records of a catalog, and every mistake of shape in it.

    Args:
        source: What a catalog file holds, keys in camel case or snake case.
    """
    reader = _Reader(Draft())
    stated = {key: value for key, value in source.items() if key != SCHEMA_KEY}
    if not isinstance(source.get(SCHEMA_KEY, ""), str):
        wrong = Wrong(f"{described(source[SCHEMA_KEY])}, expected text", "name a JSON Schema, or leave it out")
        reader.wrong(_Here(SCHEMA_KEY, (SCHEMA_KEY,), None), wrong)
    catalog = reader.record(CatalogFile, stated, _Here("", (), None))
    assert isinstance(catalog, CatalogFile), "a record is of the kind that was asked for"
    reader.draft.catalog = catalog
    return reader.draft


class _Reader:
    """One pass over one source."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def wrong(self, here: _Here, error: Wrong) -> None:
        # In TOML and JSON the line that is looked for is that of the table around the value.
        self.draft.add(here.text, here.keys, here.item_id, error.message, hint=error.hint)

    def record(self, kind: type[Record], value: object, here: _Here) -> Record:
        """A record of a table; raises where the value is not one, reports what is wrong inside it."""
        if not isinstance(value, Mapping):
            raise Wrong(f"{described(value)}, expected a table")
        fields, names = fields_of(kind)
        stated, broken = self._stated(fields, names, value, here)
        values: dict[str, Any] = {}
        for field in fields:
            values[field.name] = _neutral(field) if field.required else field.default
            if field.name in stated:
                item, written = stated[field.name]
                place = here.key(field.key, written)
                try:
                    values[field.name] = self.value(kind, field, item, place)
                except Wrong as error:
                    if field.shape.kind == "list":
                        self.draft.gaps.add(place.text)
                    if field.name in NAMES and isinstance(item, str):
                        # A bad id is still what others mean by it.
                        values[field.name] = item
                    if field.name not in broken:
                        broken.add(field.name)
                        self.wrong(place, error)
            elif field.required:
                broken.add(field.name)
                missing = Wrong("is missing", f"expected {_expected(field.shape)}")
                self.wrong(here.key(field.key, field.key), missing)
        made = kind(**values)
        written_as = {name: written for name, (_, written) in stated.items()}
        self.draft.place(made, Place(here.text, here.keys, here.item_id, written_as, broken))
        return made

    def _stated(
        self, fields: tuple[Field, ...], names: dict[str, Field], value: Mapping[Any, Any], here: _Here
    ) -> tuple[dict[str, tuple[object, str]], set[str]]:
        """What a table says about which field, and which fields are misspelt; unknown keys are reported."""
        stated: dict[str, tuple[object, str]] = {}
        strangers: list[tuple[object, object]] = []
        for written, item in value.items():
            field = names.get(written) if isinstance(written, str) else None
            if field is None:
                strangers.append((written, item))
            elif field.name in stated:
                other = stated[field.name][1]
                self.wrong(here.key(written, written), Wrong(f"is stated twice, also as `{other}`"))
            else:
                stated[field.name] = (item, written)
        misspelt: set[str] = set()
        keys = [field.key for field in fields]
        for written, item in strangers:
            text, key = shown(written), _key(written)
            meant = self.draft.nearest(written, keys)
            hint = f"did you mean `{meant}`?" if meant else f"known keys: {', '.join(keys)}"
            self.wrong(here.key(text, key), Wrong("is not a known key", hint))
            # What was probably meant is neither missing nor unknown to others.
            if meant is not None and names[meant].name not in stated:
                stated[names[meant].name] = (item, key)
                misspelt.add(names[meant].name)
        return stated, misspelt

    def value(self, kind: type[Record], field: Field, value: object, here: _Here) -> object:
        """A field's value; raises where it is wrong as a whole, reports what is wrong inside it."""
        shape = field.shape
        if value is None and (shape.nullable or field.default is None):
            return None
        match shape.kind:
            case "list":
                return self._list(kind, field, value, here)
            case "map":
                return self._map(shape, value, here)
            case "record":
                return self.record(shape.record, value, here)
        return self._scalar(shape, value, field.name, RANGES.get((kind, field.name)))

    def _list(self, kind: type[Record], field: Field, value: object, here: _Here) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise Wrong(f"{described(value)}, expected a list")
        item: Shape = field.shape.item
        made: list[object] = []
        for index, entry in enumerate(value):
            place = here.entry(index, str(index), here.item_id)
            try:
                if item.kind == "record":
                    label = _label(item.record, entry)
                    if not here.item_id and "[" not in here.text:
                        place = place._replace(item_id=label)
                    if label is not None:
                        place = place._replace(text=f"{here.text}[{label}]")
                    made.append(self.record(item.record, entry, place))
                else:
                    name = "id" if (kind, field.name) in NAME_LISTS else ""
                    made.append(self._scalar(item, entry, name, None))
            except Wrong as error:
                self.draft.gaps.add(here.text)
                self.wrong(place, error)
        return tuple(made)

    def _map(self, shape: Shape, value: object, here: _Here) -> dict[str, object]:
        if not isinstance(value, Mapping):
            raise Wrong(f"{described(value)}, expected a table")
        made: dict[str, object] = {}
        for written, entry in value.items():
            place = here.key(shown(written), _key(written))
            try:
                key = self._word(written, shape.words, "billing_period") if shape.words else text_of(written, "")
                if shape.item.kind == "record":
                    made[key] = self.record(shape.item.record, entry, place)
                else:
                    made[key] = self._scalar(shape.item, entry, "", None)
            except Wrong as error:
                self.wrong(place, error)
        return made

    def _scalar(self, shape: Shape, value: object, name: str, limits: Range | None) -> object:
        match shape.kind:
            case "text":
                return text_of(value, name)
            case "flag":
                if not isinstance(value, bool):
                    raise Wrong(f"{described(value)}, expected true or false")
                return value
            case "whole":
                number = number_of(value, "a whole number")
                if number != number.to_integral_value():
                    raise Wrong(f"`{shown(value)}` is not a whole number")
                return int(within(number, limits or WHOLE))
            case "number":
                return plain(within(number_of(value, "a number"), limits or WHOLE))
            case "amount":
                return within(amount_of(value), limits or AMOUNT)
            case "scalar":
                if isinstance(value, bool):
                    return value
                if isinstance(value, str):
                    return text_of(value, "")
                return plain(within(number_of(value, "text, a number, true or false"), WHOLE))
        assert shape.kind == "word", "lists, maps and records are no scalars"
        return self._word(value, shape.words, name)

    def _word(self, value: object, words: tuple[Any, ...], name: str) -> Any:
        for word in words:
            if type(word) is type(value) and word == value:
                return word
        expected = " | ".join(str(word) for word in words)
        if not isinstance(value, str) or not isinstance(words[0], str):
            raise Wrong(f"{described(value)}, expected {expected}")
        if name in ALIASES and value in ALIASES[name].__members__:
            return str(ALIASES[name](value))
        raise Wrong(f"`{shown(value)}` is not one of {expected}", self.draft.hint(value, words))


@functools.cache
def fields_of(kind: type[Struct]) -> tuple[tuple[Field, ...], dict[str, Field]]:
    """The fields of a record, and each by both of its spellings."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType), "records are structs"
    fields = []
    for field in info.fields:
        default = field.default
        if default is NODEFAULT and field.default_factory is not NODEFAULT:
            default = field.default_factory()
        fields.append(Field(field.name, field.encode_name, _shape(field.type), field.required, default))
    return tuple(fields), {name: field for field in fields for name in (field.name, field.key)}


def _shape(info: inspect.Type) -> Shape:
    match info:
        case inspect.UnionType(types=types):
            rest = [item for item in types if not isinstance(item, inspect.NoneType)]
            nullable = len(rest) < len(types)
            if len(rest) == 1:
                return _shape(rest[0])._replace(nullable=nullable)
            has_text = any(isinstance(item, inspect.StrType) for item in rest)
            return Shape("scalar" if has_text else "number", nullable)
        case inspect.StrType():
            return Shape("text")
        case inspect.BoolType():
            return Shape("flag")
        case inspect.IntType():
            return Shape("whole")
        case inspect.DecimalType():
            return Shape("amount")
        case inspect.LiteralType(values=values):
            return Shape("word", words=values)
        case inspect.VarTupleType(item_type=item):
            return Shape("list", item=_shape(item))
        case inspect.DictType(key_type=key, value_type=item):
            return Shape("map", words=_shape(key).words, item=_shape(item))
        case inspect.StructType(cls=record):
            return Shape("record", record=record)
    raise AssertionError(f"no catalog record holds {info}")


def _expected(shape: Shape) -> str:
    return {
        "text": "text",
        "flag": "true or false",
        "whole": "a whole number",
        "number": "a number",
        "amount": "an amount",
        "word": " | ".join(str(word) for word in shape.words),
        "list": "a list",
    }.get(shape.kind, "a table")


def _neutral(field: Field) -> Any:
    match field.shape.kind:
        case "list":
            return ()
        case "whole" | "number":
            return 1
        case "amount":
            return Decimal(1)
        case "word":
            return field.shape.words[0]
        case "record":
            return field.shape.record(
                **{item.name: _neutral(item) for item in fields_of(field.shape.record)[0] if item.required}
            )
    return ""


def _key(written: object) -> str:
    """A key of any type as a part of a key path."""
    return written if isinstance(written, str) else shown(written)


def _label(kind: type[Record], entry: object) -> str | None:
    name = LABELS.get(kind, "id")
    if not isinstance(entry, Mapping) or name not in fields_of(kind)[1]:
        return None
    value = entry.get(fields_of(kind)[1][name].key, entry.get(name))
    if not isinstance(value, str) or not value:
        return None
    return value if is_id(value) else shown(value)
