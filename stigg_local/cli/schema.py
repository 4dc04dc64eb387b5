"""JSON Schemas of the file formats, made from the records that the files become, for editors to complete and check by.

Law: what a schema refuses, the reader refuses; what the reader judges beyond shape, no schema says.
"""

import inspect
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from stigg_local.authority.catalog_file import load
from stigg_local.authority.catalog_scalar import (
    AMOUNT,
    AMOUNT_TEXT,
    LIMIT_MAX,
    NAME_LISTS,
    NAMES,
    RANGES,
    TEXT_LENGTH_MAX,
    WHOLE,
    Range,
)
from stigg_local.authority.catalog_shape import ALIASES, SCHEMA_KEY, Field, Shape, fields_of
from stigg_local.cli.schema_words import words_of
from stigg_local.core.catalog import CatalogFile
from stigg_local.core.fallback import FOREIGN, OTHER_KEYS, SIGNED, Fallback
from stigg_local.core.ids import ID_LENGTH_MAX

DIALECT = "https://json-schema.org/draft/2020-12/schema"
EXAMPLE = Path(__file__).with_name("example") / "catalog.toml"
FALLBACK_EXAMPLE = EXAMPLE.with_name("fallback.toml")
EXAMPLES_MAX = 3

Schema = dict[str, Any]

_OWN_KEY = {"type": "string", "description": "The JSON Schema that an editor checks this file by."}


def catalog_schema() -> Schema:
    """The schema of a catalog file, keys in camel case."""
    records: dict[str, Schema] = {}
    root = _record(CatalogFile, records)
    root["properties"] = {SCHEMA_KEY: _OWN_KEY} | root["properties"]
    head = {"$schema": DIALECT, "title": "stigg-local catalog"}
    return head | root | {"$defs": dict(sorted(records.items()))}


def fallback_schema() -> Schema:
    """The schema of a fallback file, keys in camel case."""
    examples = _fallback_examples()
    sections: Schema = {}
    for section, foreign in FOREIGN.items():
        value = _record(Fallback, {}) | {"description": "One fallback value, in the words of an answer."}
        fields = {field.name: field for field in fields_of(Fallback)[0]}
        for name, field in fields.items():
            if field.shape.kind == "number":
                # Of these only the sign is judged.
                property_ = value["properties"][field.key]
                del property_["maximum"], property_["minimum"]
                property_ |= {} if name in SIGNED else {"minimum": 0}
        for name in foreign:
            # Left out, or said to be nothing.
            nothing = {"type": "null"} if fields[name].default is None else {"const": fields[name].default}
            value["properties"][fields[name].key] = nothing | {"description": "Of the other section."}
        # Keys that mean a field under another name; one of its names is enough where the field is required.
        for other, meant in OTHER_KEYS.items():
            key = fields[meant].key
            if key in value["properties"]:
                value["properties"][other] = value["properties"][key] | {"description": f"The same as `{key}`."}
                if key in value["required"]:
                    value["required"].remove(key)
                    value["anyOf"] = [{"required": [spelling]} for spelling in (key, other)]
        sections[section] = {
            "type": "object",
            "description": f"What is answered when there is no data, for {section} by id.",
            "additionalProperties": value,
            "examples": [examples[section]],
        }
    return {
        "$schema": DIALECT,
        "title": "stigg-local fallback values",
        "type": "object",
        "description": "What is answered when there is no data.",
        "properties": {
            SCHEMA_KEY: _OWN_KEY,
            "schema": {"const": 1, "description": words_of(CatalogFile, "schema")},
            **sections,
        },
        "required": ["schema"],
        "additionalProperties": False,
    }


# Examples: what the example files say, so that they are right ------------------------------------------------


@cache
def _catalog_examples() -> dict[tuple[type[Struct], str], list[Any]]:
    """What the example catalog says, by record and field, some different values of each."""
    found: dict[tuple[type[Struct], str], list[Any]] = {}

    def collect(value: object) -> None:
        if isinstance(value, Struct):
            for field in fields_of(type(value))[0]:
                item = getattr(value, field.name)
                if item != field.default and item not in (None, ()):
                    _keep(found.setdefault((type(value), field.name), []), field.shape, item)
                collect(item)
        elif isinstance(value, Mapping):
            for item in value.values():
                collect(item)
        elif isinstance(value, tuple):
            for item in value:
                collect(item)

    collect(load(EXAMPLE).catalog)
    return found


def _keep(kept: list[Any], shape: Shape, value: object) -> None:
    """Keep a value as an example, where it is one of a few plain ones; words stand in the schema already."""
    inner = shape.item if shape.kind in ("list", "map") else shape
    if inner.kind in ("record", "word", "flag") or len(kept) >= EXAMPLES_MAX:
        return
    plain = _plain(value)
    if plain not in kept:
        kept.append(plain)


@cache
def _record_example(kind: type[Struct]) -> Any:
    """The record of the example catalog that says most."""

    def all_of(value: object) -> list[Any]:
        if isinstance(value, Struct):
            inner = [item for name in value.__struct_fields__ for item in all_of(getattr(value, name))]
            return [value, *inner] if type(value) is kind else inner
        items = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
        return [found for item in items for found in all_of(item)]

    made = [_plain(item) for item in all_of(load(EXAMPLE).catalog)]
    return max(made, key=lambda item: len(json.dumps(item)), default=None)


def _plain(value: object) -> Any:
    """A value as JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _fallback_examples() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(FALLBACK_EXAMPLE.read_text("utf-8"))


# Records, fields, values ---------------------------------------------------------------------------------------


def _record(kind: type[Struct], records: dict[str, Schema]) -> Schema:
    """An object with the fields of a record; the records inside of it are added to `records`."""
    fields = fields_of(kind)[0]
    return {
        "type": "object",
        "description": " ".join((inspect.getdoc(kind) or "").split()),
        "properties": {field.key: _field(kind, field, records) for field in fields},
        "required": [field.key for field in fields if field.required],
        "additionalProperties": False,
    }


def _field(kind: type[Struct], field: Field, records: dict[str, Schema]) -> Schema:
    shape = field.shape
    if shape.kind == "list":
        name = "id" if (kind, field.name) in NAME_LISTS else ""
        schema: Schema = {"type": "array", "items": _value(shape.item, name, None, records)}
    else:
        schema = _value(shape, field.name, RANGES.get((kind, field.name)), records)
    if shape.nullable or (not field.required and field.default is None):
        schema = _or_null(schema)
    # Beside a reference these stand as well: that is so since the dialect of 2019.
    told: Schema = {"description": words_of(kind, field.name), **schema}
    if isinstance(field.default, str | int | bool) and field.default != "" and not field.required:
        told["default"] = field.default
    examples = [] if kind is Fallback else _catalog_examples().get((kind, field.name), [])
    return told | ({"examples": examples} if examples else {})


def _value(shape: Shape, name: str, limits: Range | None, records: dict[str, Schema]) -> Schema:
    match shape.kind:
        case "text":
            low, high = (1, ID_LENGTH_MAX) if name in NAMES else (0, TEXT_LENGTH_MAX)
            return {"type": "string"} | ({"minLength": low} if low else {}) | {"maxLength": high}
        case "flag":
            return {"type": "boolean"}
        case "whole":
            return {"type": "integer"} | _bounds(limits or WHOLE)
        case "number":
            return {"type": "number"} | _bounds(limits or WHOLE)
        case "amount":
            return {"type": ["string", "number"], "pattern": _amount_pattern(limits or AMOUNT)} | _bounds(
                limits or AMOUNT
            )
        case "scalar":
            return {"type": ["string", "number", "boolean"], "maxLength": TEXT_LENGTH_MAX} | _bounds(WHOLE)
        case "word":
            return _words(shape.words, name)
        case "map":
            item = _value(shape.item, "", None, records)
            if not shape.words:
                return {"type": "object", "additionalProperties": item}
            keys = _words(shape.words, "billing_period")["enum"]
            return {"type": "object", "properties": dict.fromkeys(keys, item), "additionalProperties": False}
    assert shape.kind == "record", "lists are the fields' own"
    name = shape.record.__name__
    if name not in records:
        records[name] = {}
        records[name] |= _record(shape.record, records)
        example = _record_example(shape.record)
        records[name] |= {} if example is None else {"examples": [example]}
    return {"$ref": f"#/$defs/{name}"}


def _words(words: tuple[Any, ...], name: str) -> Schema:
    """One of some words; the wire's spellings of them are read, too."""
    others = [word for word in ALIASES[name].__members__ if word != "None_"] if name in ALIASES else []
    known = list(dict.fromkeys([*words, *others]))
    return {"const": known[0]} if len(known) == 1 else {"enum": known}


def _amount_pattern(limits: Range) -> str:
    """How an amount is written as text; that it is not below its range is seen from its sign and its digits."""
    assert limits.low == 0, "no amount may be negative"
    no_minus = "(?!-[0-9.]*[1-9])"
    some_digit = "(?=[^eE]*[1-9])" if limits.above else ""
    return f"^{no_minus}{some_digit}{AMOUNT_TEXT.pattern}$"


def _bounds(limits: Range) -> Schema:
    # Written out, the largest limit has 301 digits.
    high = float(limits.high) if limits.high == LIMIT_MAX else limits.high
    return {"exclusiveMinimum" if limits.above else "minimum": limits.low, "maximum": high}


def _or_null(schema: Schema) -> Schema:
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return schema | {"type": [*kinds, "null"]}
