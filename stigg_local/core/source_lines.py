"""Where things stand in a TOML or JSON file: key path as written -> line, by a scan of the text; a parser's messages.

Laws: a text that is scanned was parsed before, so the scan only has to tell strings and comments from structure.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

Keys = tuple[str | int, ...]

_STRING = r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\''
_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_KEY = re.compile(r'[ \t]*("(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+)[ \t]*(\.)?')
_VALUE = re.compile(rf"{_STRING}|[\[\]{{}}\n]|#[^\n]*|[^\[\]{{}}\n#\"']+", re.DOTALL)
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
# How the parser writes the parts of a dotted key.
_NAME_TUPLE = re.compile(r"\((?:'[^']*',? ?)+\)")
_NAME = re.compile(r"'([^']*)'")
_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]', re.DOTALL)
# What the parser says of a key or a table that is there already.
_TOML_TWICE = re.compile(r"Cannot (overwrite a value|declare .* twice)")


class Duplicate(NamedTuple):
    """A key that a table states twice, and the lines of both."""

    keys: Keys
    first: int
    second: int

    @property
    def message(self) -> str:
        """What is wrong with it."""
        lines = f"in line {self.second}"
        if self.first != self.second:
            lines = f"in lines {self.first} and {self.second}"
        return f"is stated twice in one object, {lines}"


class _Statement(NamedTuple):
    """A header, with the key path of its table, or a key below one, with the parts of its name."""

    table: Keys
    names: tuple[str, ...]
    line: int

    @property
    def keys(self) -> Keys:
        return (*self.table, *self.names)


def line_of(lines: dict[Keys, int], keys: Keys) -> int:
    """The line of the innermost table around a key path."""
    for length in range(len(keys), 0, -1):
        if keys[:length] in lines:
            return lines[keys[:length]]
    return lines.get((), 1)


def toml_lines(text: str, *, every_key: bool = False) -> dict[Keys, int]:
    """The line of each `[table]` and `[[table]]` header, and of each key above the first of them.

    Args:
        text: The file.
        every_key: Also the keys inside of tables, and the tables that only a header below them implies.
    """
    lines: dict[Keys, int] = {}
    inside = False
    for statement in _statements(text):
        if not statement.names:
            lines[statement.table] = statement.line
            for length in range(1, len(statement.table) if every_key else 1):
                lines.setdefault(statement.table[:length], statement.line)
            inside = True
        elif every_key or not inside:
            for length in range(1, len(statement.names) + 1 if every_key else 2):
                lines.setdefault((*statement.table, *statement.names[:length]), statement.line)
    return lines


def _statements(text: str) -> Iterator[_Statement]:
    """The headers and keys of a text, in order."""
    counts: dict[Keys, int] = {}
    counter = _Counter(text)
    at = 0
    table: Keys = ()
    while True:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if at >= len(text):
            return
        start = at
        if text[at] == "[":
            is_list = text.startswith("[[", at)
            names, at = _names(text, at + 1 + is_list)
            table = _resolved(names, counts, is_list)
            yield _Statement(table, (), counter.line(start))
            at += 1 + is_list
        else:
            names, at = _names(text, at)
            yield _Statement(table, tuple(names), counter.line(start))
            at = _after_value(text, at + 1)


def _resolved(names: list[str], counts: dict[Keys, int], is_list: bool) -> Keys:
    """The key path of a header: a list that was met before means its last entry."""
    keys: Keys = ()
    for name in names[:-1]:
        keys = (*keys, name)
        if keys in counts:
            keys = (*keys, counts[keys] - 1)
    keys = (*keys, names[-1])
    if is_list:
        counts[keys] = counts.get(keys, 0) + 1
        keys = (*keys, counts[keys] - 1)
    return keys


def _names(text: str, at: int) -> tuple[list[str], int]:
    """A dotted key, and where it ends."""
    names: list[str] = []
    while True:
        found = _KEY.match(text, at)
        if found is None:
            return names or [""], at
        names.append(_plain(found[1]))
        at = found.end()
        if not found[2]:
            return names, at


def _plain(name: str) -> str:
    """A key without its quotes; the escapes that only TOML has stay as written."""
    if name[0] == '"' and "\\" in name:
        import json

        try:
            return str(json.loads(name))
        except ValueError:
            return name[1:-1]
    return name[1:-1] if name[0] in "\"'" else name


def _after_value(text: str, at: int) -> int:
    """Where the statement ends whose value begins here: at a line end outside of brackets."""
    depth = 0
    for found in _VALUE.finditer(text, at):
        sign = found[0]
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        elif sign == "\n" and depth <= 0:
            return found.end()
    return len(text)


def json_lines(text: str) -> tuple[dict[Keys, int], list[Duplicate]]:
    """The line of each object, and the keys that are stated twice in one, which also have the line of the last."""
    import json

    lines: dict[Keys, int] = {}
    duplicates: list[Duplicate] = []
    counter = _Counter(text)
    # For each open bracket its key path and the lines of the keys met in it (None in a list); beside it the key or
    # index.
    stack: list[tuple[Keys, dict[str, int] | None]] = []
    current: list[str | int] = []
    expects_key = False
    for found in _JSON.finditer(text):
        sign = found[0]
        if sign in "{[":
            keys: Keys = (*stack[-1][0], current[-1]) if stack else ()
            if sign == "{":
                lines[keys] = counter.line(found.start())
            stack.append((keys, {} if sign == "{" else None))
            current.append("" if sign == "{" else 0)
            expects_key = sign == "{"
        elif sign in "]}":
            stack.pop()
            current.pop()
            expects_key = False
        elif sign == ",":
            expects_key = stack[-1][1] is not None
            if not expects_key:
                current[-1] = int(current[-1]) + 1
        elif expects_key:
            key = json.loads(sign, strict=False)
            path, met = stack[-1]
            assert met is not None, "keys stand in objects"
            line = counter.line(found.start())
            if key in met:
                duplicates.append(Duplicate((*path, key), met[key], line))
                lines[*path, key] = line
            met[key] = line
            current[-1] = key
            expects_key = False
    return lines, duplicates


def toml_place(message: str, text: str) -> tuple[str, int, int]:
    """The TOML parser's message apart from the line and column that it names.

    Of what is stated twice the message also names the line of the first.
    """
    place = _TOML_PLACE.search(message)
    line, column = end_of(text)
    if place is not None:
        message = message[: place.start()]
        if place[1] is not None:
            line, column = int(place[1]), int(place[2])
    first = _first_of_two(text, line) if _TOML_TWICE.match(message) else None
    return sentence(message) + ("" if first is None else f", the first is in line {first}"), line, column


def _first_of_two(text: str, line: int) -> int | None:
    """Where that was stated first which the statement of a line states again."""
    met: dict[Keys, int] = {}
    first = None
    for statement in _statements(text):
        if statement.line > line:
            break
        keys = statement.keys
        # A table and a list of tables of one name are in each other's way, too.
        first = met.get(keys, met.get((*keys, 0), met.get(keys[:-1]) if keys[-1:] == (0,) else None))
        met.setdefault(keys, statement.line)
    return first


def sentence(message: str) -> str:
    """A parser's message the way ours are written."""
    message = _NAME_TUPLE.sub(lambda names: f"`{'.'.join(_NAME.findall(names[0]))}`", message)
    return message[:1].lower() + message[1:].removesuffix(".")


def end_of(text: str) -> tuple[int, int]:
    """Line and column of the end of a text."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")


class _Counter:
    """Line numbers of ever later positions, counted once through."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.number = 1

    def line(self, at: int) -> int:
        """The line of a position, which is not before the last one asked for."""
        self.number += self.text.count("\n", self.at, at)
        self.at = at
        return self.number
