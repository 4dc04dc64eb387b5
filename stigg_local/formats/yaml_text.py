"""YAML 1.2 texts: to plain values, with the line of every key, or the first thing that is wrong with them.

Laws: a text holds what JSON could hold and nothing else, so tags make nothing, times stay text and keys are text.
The only error is `YamlError`. How long a text is, how deep it nests and what its aliases repeat is bounded.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from stigg_local.core.ids import told
from stigg_local.core.source_lines import Duplicate, Keys, end_of, sentence

SUFFIXES = (".yaml", ".yml")
INSTALL = "pip install 'stigg-local[yaml]'"

# The parser is some thirty times slower than those of TOML and JSON.
LENGTH_MAX = 4 * 1024 * 1024
DEPTH_MAX = 64
# How many values all aliases of a text together may stand for.
ALIASED_MAX = 100_000

# The core schema of YAML 1.2 (section 10.3.2). `yes`, `on` and `2025-01-31` are texts in it.
_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_BROKEN = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)")

_SYNTAX_HINT = "look at the indentation and the quotes there"


class YamlError(Exception):
    """A text that is not such a YAML; `line` and `column` from 1, None where no place is to blame."""

    def __init__(self, message: str, line: int | None, column: int | None, hint: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint


class YamlText(NamedTuple):
    """What a text holds.

    Attributes:
        value: Mappings, lists, texts, numbers, truth values and None.
        lines: The line of each key and each entry by its key path; of a key that is stated twice, the last one's.
        duplicates: The keys that a mapping states twice.
    """

    value: object
    lines: dict[Keys, int]
    duplicates: list[Duplicate]


def read_yaml(text: str, *, whole: Callable[[str], object] = int, broken: Callable[[str], object] = float) -> YamlText:
    """Read a YAML text.

    Args:
        text: The text, without a byte order mark.
        whole: Makes a number of decimal digits; a ValueError says that they are too many.
        broken: Makes a number with a point or an exponent, and of `inf` and `nan`, which are for the caller to refuse.

    Raises:
        YamlError: It is not YAML, holds more than JSON could, or goes beyond a limit; or the package is missing.
    """
    if len(text) > LENGTH_MAX:
        hint = "split it, or write it as TOML or JSON"
        raise YamlError(f"is longer than {LENGTH_MAX // 1024 // 1024} MiB, the most for YAML", None, None, hint)
    return _Builder(text, whole, broken).build()


class _Open:
    """A mapping or a list whose end was not met yet.

    Attributes:
        key: The key or index of what comes next; None where a mapping expects a key.
        size: How many values it holds so far, with all inside of them and itself.
        depth: How many levels it has so far, with its own.
    """

    def __init__(self, value: "dict[str, object] | list[object]", path: Keys, anchor: str | None) -> None:
        self.value = value
        self.path = path
        self.anchor = anchor
        self.key: str | int | None = None if isinstance(value, dict) else 0
        self.size = 1
        self.depth = 1


class _Named(NamedTuple):
    """What an anchor stands for."""

    value: object
    size: int
    depth: int


class _Builder:
    """One pass over the events of one text. Nothing here recurses, so no text is too deep for it."""

    def __init__(self, text: str, whole: Callable[[str], object], broken: Callable[[str], object]) -> None:
        self.text = text
        self.whole = whole
        self.broken = broken
        self.root: object = None
        self.lines: dict[Keys, int] = {}
        self.duplicates: list[Duplicate] = []
        self.open: list[_Open] = []
        self.named: dict[str, _Named] = {}
        self.aliased = 0
        self.documents = 0
        # The line of the position that was looked at last; events come in the order of the text.
        self.at, self.line = 0, 1

    def build(self) -> YamlText:
        for event in self._events():
            match type(event).__name__:
                case "DocumentStartEvent":
                    self._document(event)
                case "ScalarEvent":
                    self._scalar(event)
                case "AliasEvent":
                    self._alias(event)
                case "MappingStartEvent":
                    self._begin(event, {})
                case "SequenceStartEvent":
                    self._begin(event, [])
                case "MappingEndEvent" | "SequenceEndEvent":
                    self._end()
        return YamlText(self.root, self.lines, self.duplicates)

    def _events(self) -> Iterator[Any]:
        try:
            from ruamel.yaml import YAML
            from ruamel.yaml.error import MarkedYAMLError
            from ruamel.yaml.reader import ReaderError
        except ImportError:
            raise YamlError("is YAML, which needs a package that is not installed", None, None, INSTALL) from None
        events = YAML(typ="safe", pure=True).parse(self.text)
        while True:
            try:
                event = next(events, None)
            except MarkedYAMLError as error:
                mark = error.problem_mark or error.context_mark
                at = len(self.text) if mark is None else mark.index
                problem = error.problem or "is not YAML"
                if "<block " in problem:
                    # The parser speaks of tokens that stand in no file.
                    problem = "does not fit the indentation around it"
                raise self._wrong(sentence(problem), at, _SYNTAX_HINT) from None
            except ReaderError as error:
                raise self._wrong("holds a character that YAML does not allow", error.position, None) from None
            except Exception:
                # The parser also lets errors of Python's own out, for example of an escape beyond Unicode.
                raise self._wrong("cannot be read as YAML", self.at, _SYNTAX_HINT) from None
            if event is None:
                return
            yield event

    def _wrong(self, message: str, at: int, hint: str | None) -> YamlError:
        return YamlError(message, *end_of(self.text[:at]), hint)

    def _line(self, at: int) -> int:
        if at >= self.at:
            self.line += self.text.count("\n", self.at, at)
            self.at = at
            return self.line
        return self.text.count("\n", 0, at) + 1

    def _document(self, event: Any) -> None:
        self.documents += 1
        at = event.start_mark.index
        if self.documents > 1:
            raise self._wrong("holds a second document", at, "keep one document in a file")
        if event.version not in (None, (1, 2)):
            version = ".".join(str(part) for part in event.version)
            raise self._wrong(f"is YAML {version}", at, "YAML 1.2 is read; leave the directive out")

    # Values -------------------------------------------------------------------------------------------------

    def _scalar(self, event: Any) -> None:
        at = event.start_mark.index
        self._refuse_tag(event)
        if self._expects_key():
            self._key(event, at)
            return
        value = event.value if event.style else self._plain(event.value, at)
        if event.anchor is not None:
            self.named[event.anchor] = _Named(value, 1, 1)
        self._put(value, at, 1, 0)

    def _plain(self, text: str, at: int) -> object:
        if text in _WORDS:
            return _WORDS[text]
        if not text[0].isdigit() and text[0] not in "+-.":
            return text
        if _WHOLE.fullmatch(text):
            try:
                return self.whole(text)
            except ValueError:
                raise self._wrong("is a number with too many digits", at, None) from None
        if _BASED.fullmatch(text):
            return int(text, 0)
        if _BROKEN.fullmatch(text):
            return self.broken(text)
        special = _NOT_FINITE.fullmatch(text)
        return text if special is None else self.broken(special[1] + special[2].lower())

    def _alias(self, event: Any) -> None:
        at, name = event.start_mark.index, event.anchor
        if self._expects_key():
            raise self._wrong(f"the alias `*{told(name)}` stands for a key", at, "write the key itself")
        if any(around.anchor == name for around in self.open):
            raise self._wrong(
                f"the alias `*{told(name)}` stands inside of what it names", at, "write the value itself"
            )
        if name not in self.named:
            raise self._wrong(f"there is no anchor `&{told(name)}` before its alias", at, None)
        value, size, depth = self.named[name]
        self.aliased += size
        if self.aliased > ALIASED_MAX:
            raise self._wrong(f"aliases stand for more than {ALIASED_MAX} values", at, "use fewer of them")
        self._deepen(depth, at)
        self._put(value, at, size, depth)

    def _begin(self, event: Any, value: dict[str, object] | list[object]) -> None:
        at = event.start_mark.index
        self._refuse_tag(event)
        if self._expects_key():
            raise self._wrong("a key is a table or a list", at, "keys are texts")
        self._deepen(1, at)
        if self.open:
            around = self.open[-1]
            path = (*around.path, self._place(around, at))
        else:
            path = ()
            self.lines[()] = self._line(at)
        self.open.append(_Open(value, path, event.anchor))

    def _end(self) -> None:
        ended = self.open.pop()
        if ended.anchor is not None:
            self.named[ended.anchor] = _Named(ended.value, ended.size, ended.depth)
        self._keep(ended.value, ended.size, ended.depth)

    def _refuse_tag(self, event: Any) -> None:
        if event.ctag is not None and str(event.ctag):
            at = event.start_mark.index
            raise self._wrong("has a tag, which is not read", at, "leave it out; put a text in quotes")

    # Places -------------------------------------------------------------------------------------------------

    def _expects_key(self) -> bool:
        return bool(self.open) and self.open[-1].key is None

    def _key(self, event: Any, at: int) -> None:
        around, key = self.open[-1], event.value
        if key == "<<" and not event.style:
            raise self._wrong("`<<` merges in YAML 1.1 only", at, "write the keys themselves")
        if event.anchor is not None:
            raise self._wrong("a key has an anchor", at, "leave it out")
        assert isinstance(around.value, dict), "only mappings have keys"
        path, line = (*around.path, key), self._line(at)
        if key in around.value:
            self.duplicates.append(Duplicate(path, self.lines[path], line))
        self.lines[path] = line
        around.key = key

    def _place(self, around: _Open, at: int) -> str | int:
        """The key or index of the value that begins; an entry of a list has its line from its value."""
        assert around.key is not None, "a value has a place"
        if isinstance(around.key, int):
            self.lines[(*around.path, around.key)] = self._line(at)
        return around.key

    def _deepen(self, levels: int, at: int) -> None:
        if len(self.open) + levels > DEPTH_MAX:
            raise self._wrong(f"is nested more than {DEPTH_MAX} levels deep", at, None)

    def _put(self, value: object, at: int, size: int, depth: int) -> None:
        """A value that is whole already."""
        if self.open:
            self._place(self.open[-1], at)
        self._keep(value, size, depth)

    def _keep(self, value: object, size: int, depth: int) -> None:
        if not self.open:
            self.root = value
            return
        around = self.open[-1]
        around.size += size
        around.depth = max(around.depth, depth + 1)
        if isinstance(around.value, dict):
            assert isinstance(around.key, str), "a value of a mapping has a key"
            around.value[around.key] = value
            around.key = None
        else:
            around.value.append(value)
            assert isinstance(around.key, int), "a value of a list has an index"
            around.key += 1
