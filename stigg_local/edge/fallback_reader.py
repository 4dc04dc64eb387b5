"""Fallback files, from bytes to checked fallback values, or the first thing that is wrong with them.

Laws: a file is taken whole or not at all; whatever a file holds, the only error is `FallbackFileError`.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from typing import Any

from stigg_local.core.fallback import FOREIGN, Fallback, Fallbacks, parse_fallback
from stigg_local.core.nearest import nearest
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
from stigg_local.errors import FallbackFileError, InvalidInput
from stigg_local.formats.yaml_text import SUFFIXES as YAML_SUFFIXES
from stigg_local.formats.yaml_text import YamlError, YamlText, read_yaml

FILE_SIZE_MAX = 16 * 1024 * 1024
SCHEMA = 1
SUFFIXES = (".toml", ".json", *YAML_SUFFIXES)
SECTIONS = ("features", "credits")
# By which editors find the JSON Schema of a file; it says nothing about the values.
SCHEMA_KEY = "$schema"
_NUMBER, _BOOLEAN = "write a number, without quotes", "write true or false"
# The keys as the file's words have them, each with how its value is written.
HINTS = {
    "hasAccess": _BOOLEAN,
    "value": _NUMBER,
    "usageLimit": _NUMBER,
    "isUnlimited": _BOOLEAN,
    "hasSoftLimit": _BOOLEAN,
    "enumValues": 'write a list of texts, like ["eu"]',
    "currentBalance": _NUMBER,
    "remaining": _NUMBER,
    "totalGranted": _NUMBER,
    "totalConsumed": _NUMBER,
}
# Longer than `int` reads; the parsers name no place for it.
DIGITS_MAX = 4_000
BITS_MAX = 200
SHOWN_MAX = 60

_HUGE_NUMBER = re.compile(rf"[0-9_]{{{DIGITS_MAX},}}")
_EMPTY = Fallback(False)


def read_fallback_file(path: str | os.PathLike[str]) -> Fallbacks:
    """Read and check a fallback file.

    Args:
        path: A `.toml`, `.json` or `.yaml` file of at most 16 MiB.

    Raises:
        FallbackFileError: The file is missing, cannot be read or is invalid; names file, line and key path.
        InvalidInput: Not a path.
    """
    name = file_name(path)
    return parse_fallback_file(fallback_bytes(path, name), name)


def file_name(path: str | os.PathLike[str]) -> str:
    """The file as the caller named it, in characters that print.

    Raises:
        FallbackFileError: Neither `.toml` nor `.json` nor `.yaml`.
        InvalidInput: Not a path.
    """
    if not isinstance(path, str | os.PathLike):
        raise InvalidInput(
            f"a fallback file of type `{type(path).__name__}` cannot be read",
            code="InvalidArgumentError",
            hint="pass the path of a .toml, .json or .yaml file, or a mapping as entitlements_fallback",
        )
    name = _printable(os.fsdecode(path))
    if not name.lower().endswith(SUFFIXES):
        raise FallbackFileError(f"`{name}` is not a fallback file", hint="fallback files end in .toml, .json or .yaml")
    return name


def fallback_bytes(path: str | os.PathLike[str], name: str) -> bytes:
    """A regular file's bytes, as many as a fallback file may have.

    Args:
        path: What to open.
        name: What to call it in an error.

    Raises:
        FallbackFileError: Missing, not readable, not a regular file or too large.
    """
    try:
        # Without O_NONBLOCK the open of a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FallbackFileError(f"{name}: is not a regular file", hint="name a .toml, .json or .yaml file")
            content = file.read(FILE_SIZE_MAX + 1)
    except FileNotFoundError:
        raise FallbackFileError(
            f"{name}: does not exist", hint="create it, correct the path, or leave fallback_file out"
        ) from None
    except IsADirectoryError:
        raise FallbackFileError(f"{name}: is not a regular file", hint="name a .toml, .json or .yaml file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FallbackFileError(
            f"{name}: cannot be read: {_printable(reason.lower())}", hint="let this user read the file"
        ) from None
    if len(content) > FILE_SIZE_MAX:
        raise FallbackFileError(
            f"{name}: is larger than {FILE_SIZE_MAX // 1024 // 1024} MiB, the most that a fallback file may be",
            hint="keep to the features that matter when there is no data",
        )
    return content


def parse_fallback_file(content: bytes, name: str) -> Fallbacks:
    """The fallback values that a file's bytes hold.

    Args:
        content: The bytes.
        name: The file's name, which also says what is in it: `.json`, `.yaml`, else TOML.

    Raises:
        FallbackFileError: The first thing that is wrong.
    """
    text = _text_of(content, name)
    is_json = name.lower().endswith(".json")
    yaml = _yaml(text, name) if name.lower().endswith(YAML_SUFFIXES) else None
    try:
        if yaml is not None:
            return _checked(_yaml_value(yaml), name)
        return _checked(_json(text, name) if is_json else _toml(text, name), name)
    except _Wrong as wrong:
        lines = None if yaml is None else yaml.lines
        if lines is None:
            lines = json_lines(text)[0] if is_json else toml_lines(text, every_key=True)
        raise _error(name, line_of(lines, wrong.keys), None, wrong.message, wrong.hint) from None
    except RecursionError:
        raise FallbackFileError(
            f"{name}: is nested too deeply", hint="a fallback value has no tables inside"
        ) from None
    except ValueError:
        # A number inside of something that a message would have shown.
        raise _huge_number(text, name) from None


class _Wrong(Exception):
    """Something is wrong at a key path; the line is looked up by whom has the text."""

    def __init__(self, keys: Keys, message: str, hint: str | None) -> None:
        super().__init__(message)
        self.keys = keys
        self.message = message
        self.hint = hint


def _error(name: str, line: int, column: int | None, message: str, hint: str | None) -> FallbackFileError:
    where = f"{name}:{line}" if column is None else f"{name}:{line}:{column}"
    return FallbackFileError(f"{where}: {_printable(message)}", hint=None if hint is None else _printable(hint))


# Text to tables ---------------------------------------------------------------------------------------------


def _text_of(content: bytes, name: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise _error(name, line, column, "is not UTF-8 text", "save it as UTF-8") from None
    if not text.strip():
        raise _error(name, 1, None, "is empty", _beginning(name))
    return text


def _toml(text: str, name: str) -> object:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, line, column = toml_place(str(error), text)
        raise _error(name, line, column, message, "correct the syntax of the TOML") from None
    except ValueError:
        raise _huge_number(text, name) from None


def _json(text: str, name: str) -> object:
    import json

    has_duplicates = False

    def paired(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal has_duplicates
        made = dict(pairs)
        has_duplicates |= len(made) < len(pairs)
        return made

    try:
        # NaN and Infinity become floats that are not finite, and are refused with their key path.
        source = json.loads(text, object_pairs_hook=paired)
    except json.JSONDecodeError as error:
        message = sentence(error.msg)
        raise _error(name, error.lineno, error.colno, message, "correct the syntax of the JSON") from None
    except ValueError:
        raise _huge_number(text, name) from None
    if has_duplicates:
        raise _twice(json_lines(text)[1][0])
    return source


def _yaml(text: str, name: str) -> YamlText:
    try:
        return read_yaml(text)
    except YamlError as error:
        if error.line is None:
            raise FallbackFileError(f"{name}: {error.message}", hint=error.hint) from None
        raise _error(name, error.line, error.column, error.message, error.hint) from None


def _yaml_value(yaml: YamlText) -> object:
    if yaml.duplicates:
        raise _twice(yaml.duplicates[0])
    # A file of comments alone says as little as an empty table.
    return {} if yaml.value is None else yaml.value


def _twice(duplicate: Duplicate) -> _Wrong:
    return _Wrong(duplicate.keys, f"{_path(duplicate.keys)} {duplicate.message}", "keep one of the two")


def _huge_number(text: str, name: str) -> FallbackFileError:
    found = _HUGE_NUMBER.search(text)
    line, column = end_of(text if found is None else text[: found.start()])
    return _error(name, line, column, "is a number with too many digits", "write `isUnlimited` for no limit")


# Tables to fallback values ----------------------------------------------------------------------------------


def _beginning(name: str) -> str:
    sign = ":" if name.lower().endswith(YAML_SUFFIXES) else " ="
    return f"a fallback file begins with schema{sign} {SCHEMA}"


def _checked(source: object, name: str) -> Fallbacks:
    if not isinstance(source, Mapping):
        is_json = name.lower().endswith(".json")
        hint = f'it begins with {{"schema": {SCHEMA}, …' if is_json else _beginning(name)
        raise _Wrong((), "the file does not hold an object", hint)
    known = ("schema", *SECTIONS)
    if not isinstance(source.get(SCHEMA_KEY, ""), str):
        message = f"`{SCHEMA_KEY}` is `{_short(source[SCHEMA_KEY])}`, not text"
        raise _Wrong((SCHEMA_KEY,), message, "name a JSON Schema, or leave it out")
    for key in source:
        if key not in known and key != SCHEMA_KEY:
            near = nearest(key, known)
            hint = f"did you mean `{near}`" if near else f"known are {', '.join(f'`{one}`' for one in known)}"
            raise _Wrong((key,), f"{_short(key)} is an unknown key", hint)
    if "schema" not in source:
        raise _Wrong((), "`schema` is missing", _beginning(name))
    schema = source["schema"]
    if type(schema) is not int or schema != SCHEMA:
        stated = f'"{_short(schema)}"' if isinstance(schema, str) else _short(schema)
        message = f"schema is `{stated}`, not the number {SCHEMA}"
        raise _Wrong(("schema",), message, f"this version reads schema {SCHEMA}")
    features, credits = (_section(section, source.get(section, {})) for section in SECTIONS)
    return Fallbacks(features, credits)


def _section(section: str, entries: object) -> dict[str, Fallback]:
    if not isinstance(entries, Mapping):
        raise _Wrong((section,), f"{section} is `{_short(entries)}`, not a table", f"write [{section}.an-id]")
    return {key: _entry(section, key, value) for key, value in entries.items()}


def _entry(section: str, key: str, value: object) -> Fallback:
    keys = (section, key)
    where = _path(keys)
    if not isinstance(value, Mapping):
        raise _Wrong(keys, f"{where} is `{_short(value)}`, not a table", "write hasAccess = true or false in it")
    for name, item in value.items():
        if isinstance(item, int) and item.bit_length() > BITS_MAX:
            message = f"{where}.{_short(name)} is a huge number"
            raise _Wrong((*keys, name), message, "write `isUnlimited` for no limit")
    try:
        fallback = parse_fallback(value, where=where)
    except InvalidInput as error:
        broken = _first_key(value, lambda one: one is None)
        # A number below 0 is written well enough.
        is_number = broken in HINTS and type(value[broken]) in (int, float) and value[broken] < 0
        hint = error.hint if broken is None or is_number else _hint(broken)
        raise _Wrong(keys if broken is None else (*keys, broken), error.message, hint) from None
    if _says_foreign(section, fallback):
        # Looked for one by one, for the file may have it under another spelling.
        foreign = _first_key(value, lambda one: one is not None and _says_foreign(section, one))
        other = SECTIONS[section == SECTIONS[0]]
        raise _Wrong((*keys, str(foreign)), f"{where}.{foreign} is a key of {other}", f"leave `{foreign}` out")
    return fallback


def _says_foreign(section: str, fallback: Fallback) -> bool:
    return any(getattr(fallback, name) != getattr(_EMPTY, name) for name in FOREIGN[section])


def _first_key(value: Mapping[str, object], is_meant: Callable[[Fallback | None], bool]) -> str | None:
    """The first key of a fallback value that is meant, judged by what it says alone; None: it cannot be read."""
    for name, item in value.items():
        try:
            one = parse_fallback({"hasAccess": True, name: item}, where="")
        except InvalidInput:
            one = None
        if is_meant(one):
            return name
    return None


def _hint(name: str) -> str:
    """How a key is written that could not be read."""
    near = nearest(name, HINTS)
    if near is None:
        return f"known are {', '.join(f'`{known}`' for known in HINTS)}"
    is_known = name.replace("_", "").casefold() == near.casefold()
    return HINTS[near] if is_known else f"did you mean `{near}`"


def _path(keys: Keys) -> str:
    """A key path as people read it, for example `features[feature-sso].hasAccess`."""
    head, *rest = [_short(key) for key in keys]
    for index, key in enumerate(rest):
        head += f"[{key}]" if index == 0 and head in SECTIONS else f".{key}"
    return head


def _short(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > BITS_MAX:
        return "a huge number"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape", "surrogatepass").decode("ascii")
