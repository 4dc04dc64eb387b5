"""YAML texts: what is read is what JSON could say, every key has its very line, and hostile texts end in one error."""

import json
import sys
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stigg_local.core.source_lines import Keys
from stigg_local.formats import yaml_text
from stigg_local.formats.yaml_text import ALIASED_MAX, DEPTH_MAX, LENGTH_MAX, YamlError, read_yaml

EXAMPLE = (Path(__file__).parents[2] / "fixtures" / "catalogs" / "example.yaml").read_text("utf-8")


def value_of(text: str) -> Any:
    """What a text holds."""
    return read_yaml(text).value


def refusal(text: str) -> tuple[str, int | None, int | None]:
    """Why and where a text is refused."""
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert caught.value.message.isprintable()
    return caught.value.message, caught.value.line, caught.value.column


# What is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("~", None),
        ("[null, Null, NULL, ~, ]", [None, None, None, None]),
        ("[true, True, TRUE, false, False, FALSE]", [True, True, True, False, False, False]),
        ("[yes, no, on, off, y, n, Yes, tRUE]", ["yes", "no", "on", "off", "y", "n", "Yes", "tRUE"]),
        ("[0, 12, -3, +4, 012, 0o17, 0x1F]", [0, 12, -3, 4, 12, 15, 31]),
        ("[1.5, .5, 5., 1e3, -2.5E-1]", [1.5, 0.5, 5.0, 1000.0, -0.25]),
        ("[1_000, 0b11, 1:30, 0o8, 0xg, 1.2.3]", ["1_000", "0b11", "1:30", "0o8", "0xg", "1.2.3"]),
        ("[--1, +, '-', .]", ["--1", "+", "-", "."]),
        ("[2025-01-31, 2025-01-31T10:00:00Z, 10:30]", ["2025-01-31", "2025-01-31T10:00:00Z", "10:30"]),
        ("['1', \"true\", 'null', '', \"\"]", ["1", "true", "null", "", ""]),
        ("{1: a, true: b, null: c, 2025-01-31: d}", {"1": "a", "true": "b", "null": "c", "2025-01-31": "d"}),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y\n", {"a": "x\ny\n", "b": "x y"}),
        ("a: &x [1, {b: 2}]\nc: *x\n", {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}),
        ("a: &x 1\nb: *x\nc: &x 2\nd: *x\n", {"a": 1, "b": 1, "c": 2, "d": 2}),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
        ("a:\n- b:\n  - c\n-\n", {"a": [{"b": ["c"]}, None]}),
    ],
)  # fmt: skip
def test_a_text_holds_what_the_core_schema_says(text: str, value: Any) -> None:
    found = value_of(text)
    assert value == found
    # True equals 1, so the kinds are compared as well.
    assert repr(value) == repr(found)


def test_what_is_not_finite_is_left_to_the_caller() -> None:
    met: list[str] = []
    read_yaml("[.inf, -.INF, +.Inf, .nan, .NaN]", broken=met.append)
    assert ["inf", "-inf", "+inf", "nan", "nan"] == met


def test_numbers_are_made_by_the_caller() -> None:
    assert ["<1>", "~2.50~"] == read_yaml(
        "[1, 2.50]", whole=lambda text: f"<{text}>", broken=lambda text: f"~{text}~"
    ).value


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029\ufeff"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_what_json_can_say_is_read_as_it_is(value: Any) -> None:
    assert value == value_of(json.dumps(value, ensure_ascii=False, indent=1))


@given(VALUES)
def test_what_another_writer_wrote_is_read_as_it_was(value: Any) -> None:
    from ruamel.yaml import YAML

    written = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    # Aliases of equal texts and numbers would be of identity alone.
    writer.representer.ignore_aliases = lambda _: True
    writer.dump(value, written)
    text = written.getvalue()
    # The writer leaves times and 1.1's words in quotes; tags it needs for nothing that JSON can say.
    assert value == value_of(text)


# Lines ----------------------------------------------------------------------------------------------------------


def test_every_key_and_entry_has_its_very_line() -> None:
    text = (
        "# a comment\r\n"
        "schema: 1\r\n"
        "list:\n"
        "  - id: a\n"
        "    text: |\n"
        "      id: no key\n"
        "    deep: {x: 1,\n"
        "      y: [1,\n"
        "        2]}\n"
        "  -\n"
        "    id: b\n"
        "  # between\n"
        "  - c\n"
        "'last': x\n"
    )
    assert {
        (): 2,
        ("schema",): 2,
        ("list",): 3,
        ("list", 0): 4,
        ("list", 0, "id"): 4,
        ("list", 0, "text"): 5,
        ("list", 0, "deep"): 7,
        ("list", 0, "deep", "x"): 7,
        ("list", 0, "deep", "y"): 8,
        ("list", 0, "deep", "y", 0): 8,
        ("list", 0, "deep", "y", 1): 9,
        ("list", 1): 11,
        ("list", 1, "id"): 11,
        ("list", 2): 13,
        ("last",): 14,
    } == read_yaml(text).lines


def test_lines_of_the_example_are_those_where_the_keys_stand() -> None:
    lines = EXAMPLE.splitlines()
    found = read_yaml(EXAMPLE).lines
    keys = [path for path in found if path and isinstance(path[-1], str)]
    assert 300 < len(keys)
    assert [] == [path for path in keys if f"{path[-1]}:" not in lines[found[path] - 1]]


@given(VALUES)
def test_every_place_of_a_value_has_a_line(value: Any) -> None:
    def places(inner: Any, path: Keys = ()) -> list[Keys]:
        items = inner.items() if isinstance(inner, dict) else enumerate(inner) if isinstance(inner, list) else ()
        return [place for key, item in items for place in ((*path, key), *places(item, (*path, key)))]

    assert set(places(value)) == set(read_yaml(json.dumps(value, ensure_ascii=False)).lines) - {()}


def test_a_key_that_is_stated_twice_is_told_with_both_lines() -> None:
    found = read_yaml("a:\n  b: 1\n  c: 2\n  b: 3\na: 4\n")
    assert [(("a", "b"), 2, 4), (("a",), 1, 5)] == found.duplicates
    assert "is stated twice in one object, in lines 2 and 4" == found.duplicates[0].message
    assert (4, 5) == (found.lines["a", "b"], found.lines["a",])


# Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("a: !!python/object/apply:os.system [x]", "has a tag, which is not read", 1, 4),
        ("- !!str 1", "has a tag, which is not read", 1, 3),
        ("!local {a: 1}", "has a tag, which is not read", 1, 1),
        ("a: 1\n<<: {b: 2}", "`<<` merges in YAML 1.1 only", 2, 1),
        ("a: 1\n---\nb: 2", "holds a second document", 2, 1),
        ("%YAML 1.1\n---\na: 1", "is YAML 1.1", 2, 1),
        ("a: *b", "there is no anchor `&b` before its alias", 1, 4),
        ("a: &b\n  - *b", "the alias `*b` stands inside of what it names", 2, 5),
        ("a: &b x\n*b : 1", "the alias `*b` stands for a key", 2, 1),
        ("&a a: 1", "a key has an anchor", 1, 1),
        ("? [a]\n: 1", "a key is a table or a list", 1, 3),
        ("{{a: 1}: 2}", "a key is a table or a list", 1, 2),
        ("a: 1\n   b: 2", "mapping values are not allowed here", 2, 5),
        ("a:\n  - b\n - c", "does not fit the indentation around it", 3, 2),
        ("a:\n\t- b", "found character '\\t' that cannot start any token", 2, 1),
        ("a: 'b\n", "found unexpected end of stream", 2, 1),
        ("a: @b", "found character '@' that cannot start any token", 1, 4),
        ('a: "\\UFFFFFFFF"', "cannot be read as YAML", 1, 1),
        ("a: b\x07", "holds a character that YAML does not allow", 1, 5),
        ("a: " + "9" * 5_000, "is a number with too many digits", 1, 4),
    ],
)
def test_what_is_refused_is_told_with_line_and_column(text: str, message: str, line: int, column: int) -> None:
    assert (message, line, column) == refusal(text)


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "a:\n"])
def test_depth_is_bounded(opening: str) -> None:
    text = "".join(" " * level + opening for level in range(200)) if "\n" in opening else opening * 10_000
    assert f"is nested more than {DEPTH_MAX} levels deep" == refusal(text)[0]


def test_as_deep_as_it_may_be_is_read() -> None:
    value = read_yaml("[" * DEPTH_MAX + "]" * DEPTH_MAX).value
    for _ in range(DEPTH_MAX - 1):
        assert isinstance(value, list)
        (value,) = value
    assert [] == value


def test_depth_through_aliases_is_bounded() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 100))
    assert f"is nested more than {DEPTH_MAX} levels deep" == refusal(text)[0]


def test_laughs_by_the_billion_are_refused_at_once() -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    text = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise(names)
    )
    message, line, _ = refusal(text)
    assert f"aliases stand for more than {ALIASED_MAX} values" == message
    assert 6 == line


def test_length_is_bounded() -> None:
    assert ("is longer than 4 MiB, the most for YAML", None, None) == refusal("#" * (LENGTH_MAX + 1))


def test_without_the_package_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    with pytest.raises(YamlError, match="needs a package that is not installed") as caught:
        read_yaml("a: 1")
    assert "pip install 'stigg-local[yaml]'" == caught.value.hint == yaml_text.INSTALL


PIECES = st.sampled_from(
    ["a", "a:", " ", "\n", "  ", "- ", "[", "]", "{", "}", ",", ":", "&x ", "*x", "!t ", "'", '"', "|", ">", "#", "? ",
     "%YAML 1.2\n", "---\n", "...\n", "\t", "\\", "1", ".inf", "<<", "\r", "\x85", "\u2028", "\ufeff", "\x00", "é",
     "0x", "~"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_a_value_or_one_error(text: str) -> None:
    _is_a_value_or_one_error(text)


@pytest.mark.stress
@settings(max_examples=20_000, deadline=None)
@given(st.lists(PIECES, max_size=80).map("".join) | st.text(max_size=200))
def test_any_text_is_a_value_or_one_error_many_times(text: str) -> None:
    _is_a_value_or_one_error(text)


@given(st.integers(0, len(EXAMPLE) - 1), st.integers(0, 3), PIECES)
@settings(max_examples=15, deadline=None)
def test_a_damaged_example_is_a_value_or_one_error(at: int, length: int, piece: str) -> None:
    _is_a_value_or_one_error(EXAMPLE[max(0, at - 400) : at] + piece + EXAMPLE[at + length : at + 400])


def _is_a_value_or_one_error(text: str) -> None:
    try:
        found = read_yaml(text)
    except YamlError as error:
        assert error.message.isprintable()
        assert error.line is None or 1 <= error.line <= text.count("\n") + 1
    else:
        assert all(1 <= line <= text.count("\n") + 1 for line in found.lines.values())
