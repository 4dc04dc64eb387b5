"""Catalog files: bytes to a mapping to checked records, or all that is wrong with them.

Laws: a catalog is taken whole or not at all; nothing in a source makes anything but a `Problem`.
"""

import os
import re
import stat
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from stigg_local.authority.catalog_check import check
from stigg_local.authority.catalog_draft import Draft, Mistake, Problem, shown
from stigg_local.authority.catalog_shape import read_catalog
from stigg_local.core.catalog import CatalogFile
from stigg_local.core.source_lines import (
    Duplicate,
    Keys,
    end_of,
    json_lines,
    line_of,
    sentence,
    toml_lines,
    toml_place,
)
from stigg_local.errors import CatalogInvalid, InvalidInput
from stigg_local.formats.yaml_text import SUFFIXES as YAML_SUFFIXES
from stigg_local.formats.yaml_text import YamlError, YamlText, read_yaml
from stigg_local.store.digest import content_hash

__all__ = ["FILE_SIZE_MAX", "LoadedCatalog", "Problem", "Source", "file_hash", "load", "validate"]

FILE_SIZE_MAX = 16 * 1024 * 1024
DIGITS_MAX = 4_000
MAPPING_NAME = "<mapping>"
SUFFIXES = (".toml", ".json", *YAML_SUFFIXES)

Source = str | os.PathLike[str] | Mapping[str, Any]

# Longer than `int` reads; a plain ValueError of the parser names no place.
_HUGE_NUMBER = re.compile(rf"[0-9_]{{{DIGITS_MAX},}}")


class LoadedCatalog(Struct, frozen=True):
    """A catalog without mistakes.

    Attributes:
        catalog: The records.
        hash: BLAKE2b in hex: of the file's bytes, or of the records of a mapping.
        name: The file's name, or `<mapping>`.
    """

    catalog: CatalogFile
    hash: str
    name: str

    @property
    def meaning(self) -> str:
        """BLAKE2b in hex of what the catalog says: the same in every format, order of keys and spelling of numbers."""
        body = _spelled(msgspec.to_builtins(self.catalog, builtin_types=(Decimal,), str_keys=True))
        return content_hash(msgspec.json.encode(body, order="sorted"))


def load(source: Source) -> LoadedCatalog:
    """Read and check a catalog.

    Args:
        source: Path of a `.toml`, `.json` or `.yaml` file, or a mapping with the same structure.

    Raises:
        CatalogInvalid: With every mistake in `problems`; a file that cannot be read is one.
        InvalidInput: Neither a path nor a mapping.
    """
    loaded, problems = _read(source)
    if loaded is not None:
        return loaded
    count = f"{len(problems)} mistakes" if len(problems) > 1 else "1 mistake"
    raise CatalogInvalid(
        f"the catalog has {count}; {'the first: ' if len(problems) > 1 else ''}{problems[0]}",
        problems=tuple(problems),
        hint="all of them are in `problems`" if len(problems) > 1 else None,
    )


def validate(source: Source) -> list[Problem]:
    """Everything that is wrong with a catalog, in file order; empty for a good one."""
    return _read(source)[1]


def file_hash(path: str | os.PathLike[str]) -> str:
    """BLAKE2b of a file's bytes in hex: what `load` gives as `hash`, without parsing.

    Raises:
        CatalogInvalid: The file cannot be read.
    """
    try:
        return content_hash(_bytes_of(path))
    except _Unreadable as error:
        raise CatalogInvalid(str(error.problem), problems=(error.problem,)) from None


def _spelled(value: Any) -> Any:
    """A value with every amount in one spelling."""
    match value:
        case dict():
            return {key: _spelled(item) for key, item in value.items()}
        case list() | tuple():
            return [_spelled(item) for item in value]
        case Decimal():
            return format(value.normalize(), "f")
    return value


class _Unreadable(Exception):
    """A source of which nothing can be read; one problem says why."""

    def __init__(
        self,
        file: str,
        message: str,
        *,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.problem = Problem(file=file, line=line, path="", id=None, message=message, hint=hint, column=column)


def _read(source: Source) -> tuple[LoadedCatalog | None, list[Problem]]:
    if isinstance(source, Mapping):
        draft = read_catalog(source)
        check(draft)
        if draft.mistakes:
            return None, _problems(draft, MAPPING_NAME, None)
        body = msgspec.json.encode(draft.catalog, order="sorted")
        return LoadedCatalog(draft.catalog, content_hash(body), MAPPING_NAME), []
    if not isinstance(source, str | os.PathLike):
        raise InvalidInput(
            f"a catalog of type `{type(source).__name__}` cannot be read",
            code="InvalidArgumentError",
            hint="pass the path of a .toml, .json or .yaml file, or a mapping",
        )
    try:
        return _read_file(source)
    except _Unreadable as error:
        return None, [error.problem]


def _read_file(path: str | os.PathLike[str]) -> tuple[LoadedCatalog | None, list[Problem]]:
    file = _file_name(path)
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise _Unreadable(file, f"`{file}` is not a catalog file", hint="catalog files end in .toml, .json or .yaml")
    content = _bytes_of(path)
    text = _text_of(content, file)
    duplicates: list[Duplicate] = []
    yaml = _parsed_yaml(text, file) if suffix in YAML_SUFFIXES else None
    if yaml is not None:
        # A file of comments alone says as little as an empty table.
        source, duplicates = {} if yaml.value is None else yaml.value, yaml.duplicates
    elif suffix == ".toml":
        source = _parsed_toml(text, file)
    else:
        source, has_duplicates = _parsed_json(text, file)
        duplicates = json_lines(text)[1] if has_duplicates else []
    if not isinstance(source, Mapping):
        beginning = '{"schema": 1, …' if yaml is None else "schema: 1"
        raise _Unreadable(file, "the file does not hold an object", line=1, hint=f"it begins with {beginning}")
    draft = read_catalog(source)
    for duplicate in duplicates:
        _report_duplicate(draft, duplicate)
    check(draft)
    if draft.mistakes:
        lines = None if yaml is None else yaml.lines
        if lines is None:
            lines = toml_lines(text) if suffix == ".toml" else json_lines(text)[0]
        return None, _problems(draft, file, lines)
    return LoadedCatalog(draft.catalog, content_hash(content), Path(path).name), []


def _report_duplicate(draft: Draft, duplicate: Duplicate) -> None:
    """Report a key that an object states twice."""
    keys = duplicate.keys
    place = draft.place_of(keys)
    around, depth = ("", 0) if place is None else (place.text, len(place.keys))
    rest = "".join(f"[{key}]" if isinstance(key, int) else f".{shown(key)}" for key in keys[depth:])
    text = f"{around}{rest}".removeprefix(".")
    item_id = None if place is None else place.item_id
    draft.add(text, keys, item_id, duplicate.message, hint="keep one of the two")


def _problems(draft: Draft, file: str, lines: dict[Keys, int] | None) -> list[Problem]:
    """The mistakes as problems, in file order; those of a mapping in the order of the sections."""
    sections = {field.encode_name: index for index, field in enumerate(msgspec.structs.fields(CatalogFile))}

    def order(mistake: Mistake) -> tuple[int, int, int]:
        section = sections.get(re.split(r"[.\[]", mistake.text, maxsplit=1)[0], -1)
        entry = mistake.keys[1] if len(mistake.keys) > 1 else 0
        line = 0 if lines is None else line_of(lines, mistake.keys)
        return (line, section, entry if isinstance(entry, int) else 0)

    return [
        Problem(
            file=file,
            line=None if lines is None else line_of(lines, mistake.keys),
            path=mistake.text,
            id=mistake.item_id,
            message=mistake.message,
            hint=mistake.hint,
            code=mistake.code,
        )
        for mistake in sorted(draft.mistakes, key=order)
    ]


# Bytes, text, mappings --------------------------------------------------------------------------------------


def _file_name(path: str | os.PathLike[str]) -> str:
    """The file as the caller named it, in characters that print."""
    name = os.fsdecode(path)
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")


def _bytes_of(path: str | os.PathLike[str]) -> bytes:
    """A regular file's bytes, as many as a catalog may have."""
    file = _file_name(path)
    try:
        # A pipe would block at open and a device never ends, so the kind is asked for first.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _Unreadable(file, "is not a regular file")
        with open(path, "rb") as opened:
            content = opened.read(FILE_SIZE_MAX + 1)
    except FileNotFoundError:
        raise _Unreadable(file, "does not exist") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _Unreadable(file, f"cannot be read: {shown(reason.lower())}") from None
    if len(content) > FILE_SIZE_MAX:
        raise _Unreadable(file, f"is larger than {FILE_SIZE_MAX // 1024 // 1024} MiB, the most that a catalog may be")
    return content


def _text_of(content: bytes, file: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise _Unreadable(file, "is not UTF-8 text", line=line, column=column, hint="save it as UTF-8") from None
    if not text.strip():
        beginning = "schema: 1" if file.lower().endswith(YAML_SUFFIXES) else "schema = 1"
        raise _Unreadable(file, "is empty", line=1, hint=f"a catalog begins with {beginning}")
    return text


def _parsed_toml(text: str, file: str) -> object:
    import tomllib

    try:
        return tomllib.loads(text, parse_float=_decimal)
    except tomllib.TOMLDecodeError as error:
        message, line, column = toml_place(str(error), text)
        raise _Unreadable(file, message, line=line, column=column) from None
    except RecursionError:
        raise _Unreadable(file, "is nested too deeply") from None
    except ValueError:
        raise _unreadable_number(text, file) from None


def _parsed_json(text: str, file: str) -> tuple[object, bool]:
    """What the text holds, and whether an object states a key twice."""
    import json

    has_duplicates = False

    def paired(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal has_duplicates
        made = dict(pairs)
        has_duplicates |= len(made) < len(pairs)
        return made

    try:
        # NaN and Infinity become numbers that are not finite, and are reported with their key path.
        source = json.loads(
            text, parse_float=_decimal, parse_int=_whole, parse_constant=_decimal, object_pairs_hook=paired
        )
    except json.JSONDecodeError as error:
        raise _Unreadable(file, sentence(error.msg), line=error.lineno, column=error.colno) from None
    except RecursionError:
        raise _Unreadable(file, "is nested too deeply") from None
    return source, has_duplicates


def _parsed_yaml(text: str, file: str) -> YamlText:
    try:
        return read_yaml(text, whole=_whole, broken=_decimal)
    except YamlError as error:
        raise _Unreadable(file, error.message, line=error.line, column=error.column, hint=error.hint) from None


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        # Beyond any exponent that a number can have.
        return Decimal("Infinity")


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) <= DIGITS_MAX else _decimal(text)


def _unreadable_number(text: str, file: str) -> _Unreadable:
    found = _HUGE_NUMBER.search(text)
    if found is None:
        return _Unreadable(file, "holds a number that cannot be read")
    line, column = end_of(text[: found.start()])
    return _Unreadable(file, "is a number with too many digits", line=line, column=column)
