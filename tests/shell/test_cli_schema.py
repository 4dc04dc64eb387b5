"""The JSON Schemas of the file formats: an editor refuses by them what the reader refuses, and nothing else."""

import copy
import json
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stigg_local.authority.catalog_file import load, validate
from stigg_local.authority.catalog_shape import read_catalog
from stigg_local.cli.main import main
from stigg_local.cli.schema import catalog_schema, fallback_schema
from stigg_local.edge.fallback_reader import parse_fallback_file, read_fallback_file
from stigg_local.errors import CatalogInvalid, FallbackFileError, InvalidInput
from stigg_local.formats.yaml_text import YamlError, read_yaml
from tests.authority.catalogs import Table, catalogs, example

FIXTURES = Path(__file__).parents[2] / "fixtures"
VALID = sorted(path for path in (FIXTURES / "catalogs").iterdir() if path.is_file())
INVALID = sorted(path for path in (FIXTURES / "catalogs/invalid").iterdir() if path.name != "expected.json")
FALLBACK_VALID = sorted((FIXTURES / "fallback/valid").iterdir())
FALLBACK_INVALID = sorted(path for path in (FIXTURES / "fallback/invalid").iterdir() if path.name != "expected.json")

CATALOG = Draft202012Validator(catalog_schema())
FALLBACK = Draft202012Validator(fallback_schema())
# What a reader says of single characters and digits, which no schema can say of every spelling of a number.
BEYOND = ("holds a character", "digits after the point", "is too small", "is not a finite number")


def held(path: Path) -> Any:
    """What a file holds; None for one that cannot be parsed."""
    try:
        text = path.read_text("utf-8")
        if path.suffix == ".toml":
            return tomllib.loads(text, parse_float=Decimal)
        if path.suffix == ".json":
            return json.loads(text, parse_float=Decimal, parse_constant=Decimal)
        return read_yaml(text, broken=Decimal).value
    except (YamlError, ValueError):
        return None


def structural(source: Table) -> list[str]:
    """The mistakes of shape in a catalog: keys, types, words and ranges, whatever the names mean."""
    found = [f"{mistake.text}: {mistake.message}" for mistake in read_catalog(source).mistakes]
    return [text for text in found if not any(words in text for words in BEYOND)]


# Fixtures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [CATALOG.schema, FALLBACK.schema], ids=["catalog", "fallback"])
def test_the_schemas_are_schemas(schema: Any) -> None:
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_a_valid_catalog_is_valid_by_the_schema(path: Path) -> None:
    assert [] == validate(path)
    assert [] == [error.message for error in CATALOG.iter_errors(held(path))]


@pytest.mark.parametrize("path", FALLBACK_VALID, ids=lambda path: path.name)
def test_a_valid_fallback_file_is_valid_by_the_schema(path: Path) -> None:
    assert read_fallback_file(path).features
    assert [] == [error.message for error in FALLBACK.iter_errors(held(path))]


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_a_catalog_of_a_wrong_shape_is_refused_by_the_schema(path: Path) -> None:
    source = held(path)
    if not isinstance(source, dict):
        assert source is None or not CATALOG.is_valid(source)
        return
    assert bool(structural(source)) is not CATALOG.is_valid(source), structural(source)


# What the reader judges beyond shape: numbers that no JSON can hold.
NOT_SHAPE = {"not-a-number.json", "not-a-number.yaml", "limit-not-a-number.toml", "limit-huge.toml"}


@pytest.mark.parametrize("path", FALLBACK_INVALID, ids=lambda path: path.name)
def test_a_fallback_file_of_a_wrong_shape_is_refused_by_the_schema(path: Path) -> None:
    source = held(path)
    if source is None or path.name in NOT_SHAPE or "twice" in path.name:
        return
    assert not FALLBACK.is_valid(source)


# Editors and readers agree --------------------------------------------------------------------------------------


STRANGE: list[Any] = [None, True, False, "", "x", "12.50", "-3", "0", 0, -1, 1, 0.5, 2.0, 10**20, 1e301, [], {}, [1],
                      ["x"], {"a": 1}, [None], "x" * 300, "MONTHLY", "Incremental"]  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The key path of everything in a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


PLACES = list(places(example()))


@st.composite
def damaged(draw: st.DrawFn) -> Table:
    """The example catalog with one thing changed."""
    source = copy.deepcopy(example())
    *inner, key = draw(st.sampled_from(PLACES))
    around: Any = source
    for step in inner:
        around = around[step]
    match draw(st.sampled_from(["replace", "drop", "rename"])):
        case "drop":
            del around[key]
        case "rename" if isinstance(around, dict):
            around[str(key) + draw(st.sampled_from(["s", "X"]))] = around.pop(key)
        case _:
            around[key] = draw(st.sampled_from(STRANGE))
    return source


@given(damaged())
@settings(max_examples=150, deadline=None)
def test_the_schema_refuses_a_damaged_catalog_just_where_its_shape_is_wrong(source: Table) -> None:
    assert bool(structural(source)) is not CATALOG.is_valid(source), (structural(source), next_error(source))


@pytest.mark.stress
@given(damaged())
@settings(max_examples=5_000, deadline=None)
def test_the_schema_refuses_just_where_the_shape_is_wrong_many_times(source: Table) -> None:
    assert bool(structural(source)) is not CATALOG.is_valid(source), (structural(source), next_error(source))


def next_error(source: Table) -> str:
    """The schema's first complaint."""
    return next((f"{error.json_path}: {error.message[:200]}" for error in CATALOG.iter_errors(source)), "none")


@given(catalogs())
@settings(max_examples=25, deadline=None)
def test_every_catalog_that_loads_is_valid_by_the_schema(source: Table) -> None:
    assert "<mapping>" == load(source).name
    assert "none" == next_error(source)


FALLBACK_KEYS = (
    "hasAccess isGranted value usageLimit isUnlimited hasUnlimitedUsage hasSoftLimit enumValues currentBalance "
    "remaining totalGranted totalConsumed usageLimt"
).split()
FALLBACK_VALUES: list[Any] = [True, False, 1, 0, -1, 2.5, 10**30, "x", ["x"], [1], {}, None]
HEADS: list[Table] = [
    {"schema": 1},
    {"schema": 2},
    {},
    {"schema": 1, "$schema": "x"},
    {"schema": 1, "$schema": 1},
]


@pytest.mark.parametrize("section", ["features", "credits"])
@pytest.mark.parametrize("key", FALLBACK_KEYS)
def test_the_schema_takes_what_the_reader_takes_of_a_key_that_says_nothing(section: str, key: str) -> None:
    """A key of the other section may be there as long as it says nothing."""
    for value in FALLBACK_VALUES:
        source = {"schema": 1, section: {"an-id": {"hasAccess": True, key: value}}}
        try:
            parse_fallback_file(json.dumps(source).encode(), "fallback.json")
        except (FallbackFileError, InvalidInput):
            assert not FALLBACK.is_valid(source)
        else:
            assert FALLBACK.is_valid(source), (key, value)


@given(
    st.sampled_from(["features", "credits", "feature"]),
    st.dictionaries(st.sampled_from(FALLBACK_KEYS), st.sampled_from(FALLBACK_VALUES), max_size=4),
    st.sampled_from(HEADS),
)
@settings(max_examples=300)
def test_the_schema_refuses_a_fallback_file_just_where_the_reader_does(
    section: str, value: Table, head: Table
) -> None:
    source = head | {section: {"an-id": value}}
    try:
        parse_fallback_file(json.dumps(source).encode(), "fallback.json")
    except (FallbackFileError, InvalidInput) as error:
        assert not FALLBACK.is_valid(source), error.message
    else:
        assert [] == [error.message for error in FALLBACK.iter_errors(source)]


# What an editor shows -------------------------------------------------------------------------------------------


def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every property of a schema, by where it stands."""
    for name, value in schema.items() if isinstance(schema, dict) else ():
        if name == "properties":
            yield from ((f"{schema.get('description', '')[:20]}.{key}", item) for key, item in value.items())
        if name != "examples":
            yield from properties(value)


@pytest.mark.parametrize("schema", [CATALOG.schema, FALLBACK.schema], ids=["catalog", "fallback"])
def test_every_field_is_described(schema: Any) -> None:
    found = list(properties(schema))
    assert [] == [where for where, item in found if "description" not in item and "MoneyAmount" not in str(item)]
    assert [] == [where for where, item in found if not item.get("description", "A.").endswith(".")]


def test_every_example_is_valid_by_what_it_is_an_example_of() -> None:
    count = 0

    def look(schema: Any, definitions: Any) -> None:
        nonlocal count
        for key, item in schema.items():
            if key == "examples" and isinstance(item, list):
                for one in item:
                    count += 1
                    Draft202012Validator({**schema, "$defs": definitions}).validate(one)
            elif isinstance(item, dict):
                look(item, definitions)

    look(CATALOG.schema, CATALOG.schema["$defs"])
    look(FALLBACK.schema, {})
    assert 100 < count


def test_words_are_offered_and_defaults_are_told() -> None:
    feature = CATALOG.schema["$defs"]["Feature"]["properties"]
    assert {"None", "Incremental", "Fluctuating"} <= set(feature["meterType"]["enum"])
    assert "None" == feature["meterType"]["default"]
    assert (0, 9, 6) == (feature["scale"]["minimum"], feature["scale"]["maximum"], feature["scale"]["default"])
    assert ["id", "featureType"] == CATALOG.schema["$defs"]["Feature"]["required"]


def test_a_file_may_name_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    path.write_text('{"$schema": "./catalog.schema.json", "schema": 1}')
    assert "production" == load(path).catalog.environment
    path.write_text('{"$schema": 1, "schema": 1}')
    with pytest.raises(CatalogInvalid, match=r"\$schema: `1` is a number, expected text"):
        load(path)


@pytest.mark.parametrize(("option", "schema"), [((), CATALOG.schema), (("--fallback",), FALLBACK.schema)])
def test_the_command_prints_them(capsys: pytest.CaptureFixture[str], option: tuple[str, ...], schema: Any) -> None:
    assert 0 == main(["catalog", "schema", *option])
    shown = capsys.readouterr()
    assert (schema, "") == (json.loads(shown.out), shown.err)
    assert 0 == main(["catalog", "schema", *option, "--json"])
    assert schema == json.loads(capsys.readouterr().out)
