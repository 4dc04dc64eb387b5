"""Reading catalogs: the example, every kind of mistake as data, and nothing but problems from garbage."""

import hashlib
import json
import os
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stigg_local.authority import catalog_file
from stigg_local.authority.catalog_file import file_hash, load, validate
from stigg_local.authority.catalog_shape import fields_of
from stigg_local.core.catalog import CatalogFile, Record
from stigg_local.errors import CatalogInvalid, InvalidInput
from tests.authority.catalogs import EXAMPLE, INVALID, Table, catalogs, example, toml_text

EXPECTED: dict[str, list[dict[str, Any]]] = json.loads((INVALID / "expected.json").read_text("utf-8"))


def problems_of(source: Table) -> list[str]:
    """Key path and message of each problem of a mapping."""
    return [f"{problem.path}: {problem.message}" for problem in validate(source)]


def minimal(**sections: Any) -> Table:
    """A valid catalog with a Boolean, a metered feature and a product, and what the test adds."""
    return {
        "schema": 1,
        "features": [
            {"id": "flag", "featureType": "Boolean"},
            {"id": "calls", "featureType": "Numeric", "meterType": "Incremental"},
        ],
        "products": [{"id": "product"}],
        **sections,
    }


def plan(**fields: Any) -> Table:
    """A paid plan of the minimal catalog."""
    return {"id": "plan", "productId": "product", "pricingType": "PAID", **fields}


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a mapping."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, item in inner for place in paths_of(item, (*path, key))]


PLACES = paths_of(example())


def table_at(source: Table, path: tuple[Any, ...]) -> Any:
    """What holds the place."""
    around: Any = source
    for key in path[:-1]:
        around = around[key]
    return around


# The example. ----------------------------------------


def test_the_example_is_valid_and_its_hash_is_that_of_its_bytes() -> None:
    loaded = load(EXAMPLE)
    assert [] == validate(EXAMPLE)
    assert "example.toml" == loaded.name
    assert hashlib.blake2b(EXAMPLE.read_bytes(), digest_size=32).hexdigest() == loaded.hash == file_hash(EXAMPLE)


def test_the_example_states_every_field_of_every_record() -> None:
    """Whatever a record holds can be written in a file, and the example shows how."""

    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {key for item in value.values() for key in keys(item)}
        return {key for item in value for key in keys(item)} if isinstance(value, list) else set()

    def fields(kind: type[Record]) -> set[str]:
        shapes = [field.shape for field in fields_of(kind)[0]]
        inner = [shape.record or (shape.item and shape.item.record) for shape in shapes]
        own = {field.key for field in fields_of(kind)[0]}
        return own.union(*(fields(record) for record in inner if record))

    # What the example speaks of in comments only.
    assert {"blockSize", "budget"} == fields(CatalogFile) - keys(example())


def test_json_of_the_example_means_the_same() -> None:
    catalog = load(EXAMPLE).catalog
    assert catalog == load(msgspec.json.decode(msgspec.json.encode(catalog))).catalog


def test_keys_may_be_in_snake_case() -> None:
    def snake(value: Any, *, verbatim: bool = False) -> Any:
        if isinstance(value, list):
            return [snake(item) for item in value]
        if not isinstance(value, dict):
            return value
        made = {}
        for key, item in value.items():
            name = key if verbatim else "".join(f"_{char.lower()}" if char.isupper() else char for char in key)
            made[name] = snake(item, verbatim=key in {"metadata", "minimumSpend"})
        return made

    assert load(example()).catalog == load(snake(example())).catalog


def test_a_mapping_is_known_by_its_meaning() -> None:
    source = minimal()
    same = {key: source[key] for key in reversed(source)}
    other = minimal(products=[{"id": "another"}])
    assert "<mapping>" == load(source).name
    assert load(source).hash == load(same).hash
    assert load(source).hash != load(other).hash


def test_wire_spellings_of_words_are_understood() -> None:
    source = minimal(features=[{"id": "calls", "featureType": "NUMBER", "meterType": "INCREMENTAL"}])
    feature = load(source).catalog.features[0]
    assert ("Numeric", "Incremental") == (feature.feature_type, feature.meter_type)


def test_numbers_are_exact() -> None:
    text = toml_text(minimal(plans=[plan(entitlements=[{"featureId": "calls", "usageLimit": 10.0}])]))
    prices = '\n[[plans.prices]]\nbillingPeriod = "MONTHLY"\ncurrency = "USD"\namount = 0.1\n'
    loaded = load(tomllib.loads(text + prices, parse_float=Decimal)).catalog.plans[0]
    assert Decimal("0.1") == loaded.prices[0].amount
    limit = loaded.entitlements[0].usage_limit
    assert (10, int) == (limit, type(limit))


# Every kind of mistake, as data. ----------------------------------------


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_invalid_catalog_has_exactly_the_expected_problems(name: str) -> None:
    shown = [problem.to_dict() for problem in validate(INVALID / name)]
    found = [
        {key: value for key, value in problem.items() if key != "file" and value is not None} for problem in shown
    ]
    assert EXPECTED[name] == found
    assert {str(INVALID / name)} == {problem["file"] for problem in shown}


def test_every_invalid_catalog_has_its_expected_problems_written_down() -> None:
    names = {path.name for path in INVALID.iterdir()} - {"expected.json"}
    assert names == set(EXPECTED)


def test_twenty_mistakes_are_twenty_problems_in_every_form(tmp_path: Path) -> None:
    source = tomllib.loads((INVALID / "twenty.toml").read_text("utf-8"))
    path = tmp_path / "twenty.json"
    path.write_text(json.dumps(source, indent=2))
    from_toml, from_json, from_mapping = (
        sorted((problem.path, problem.message) for problem in validate(form))
        for form in (INVALID / "twenty.toml", path, source)
    )
    assert 20 == len(from_toml)
    assert from_toml == from_json == from_mapping


def test_a_problem_in_toml_is_in_the_line_of_its_table() -> None:
    lines = (INVALID / "twenty.toml").read_text("utf-8").splitlines()
    for problem in validate(INVALID / "twenty.toml"):
        assert problem.line is not None
        header = lines[problem.line - 1].strip()
        section = problem.path.split("[")[0]
        assert header.startswith(("[[" + section, "[" + section)), problem


def test_a_problem_in_json_is_in_the_line_of_its_object(tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    text = '{"schema": 1,\n "products": [\n  {"id": "a"},\n  {"id": "b", "text": "{ \\" [",\n   "hiden": 1}]}'
    path.write_text(text)
    assert [4, 4] == [problem.line for problem in validate(path)]


def test_headers_are_told_from_what_only_looks_like_them(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(
        'schema = 1\nenvironment = "[[products]]"\n'
        "features = [\n  # [[products]]\n  { id = 'a', featureType = 'Boolean' },\n]\n"
        '[[ "products" ]] # [[products]]\nid = "first"\n'
        'description = """\n[[products]]\n"quoted\\" text\n"""\n'
        "[[products]]\nid = 'second'\ndescription = '''\n[[products]]\n'''\n"
        "[products.settings]\ndowngradePlanId = 'none'\n[[products]]\nid = 'third'\norder = 1\n"
    )
    assert [("products[second].settings.downgradePlanId", 18), ("products[third].order", 20)] == [
        (problem.path, problem.line) for problem in validate(path)
    ]


def test_a_problem_reads_like_a_compilers() -> None:
    path = INVALID / "twenty.toml"
    found = next(problem for problem in validate(path) if "api-cals" in problem.path)
    assert str(found) == (
        f"{path}:49: plans[plan-basic].entitlements[feature-api-cals].featureId: `feature-api-cals` is not "
        "a feature (did you mean `feature-api-calls`?) [FeatureNotFound]"
    )
    assert "plan-basic" == found.id


def test_load_raises_with_every_problem() -> None:
    with pytest.raises(CatalogInvalid, match="20 mistakes") as caught:
        load(INVALID / "twenty.toml")
    assert validate(INVALID / "twenty.toml") == list(caught.value.problems)
    assert 20 == len(caught.value.to_dict()["problems"])


# One mistake is one problem. ----------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        minimal(plans=[plan(entitlements=[{"featureIdd": "calls", "usageLimit": 1}])]),
        minimal(plans=[plan(entitlements=[{"featureId": "calls", "usageLimt": 1}])]),
        minimal(plans=[plan(entitlements=[{"featureId": "calls", "usageLimit": "1"}])]),
        minimal(plans=[plan(entitlements=[{"featureId": "cals", "enumValues": ["x"]}])]),
        minimal(plans=[plan(parentPlanId="plan2"), {**plan(), "id": "plan2", "productId": "prod"}]),
        minimal(features=5, plans=[plan(entitlements=[{"featureId": "calls", "usageLimit": 1}])]),
        {
            **{key: value for key, value in minimal().items() if key != "features"},
            "featurs": minimal()["features"],
            "plans": [plan(entitlements=[{"featureId": "calls", "usageLimit": 1}])],
        },
        minimal(
            features=[{"idd": "calls", "featureType": "Numeric", "meterType": "Incremental"}],
            plans=[plan(entitlements=[{"featureId": "calls", "usageLimit": 1, "resetPeriod": "DAY"}])],
        ),
        minimal(
            features=[{"id": "calls", "featureType": "Number", "meterType": "Incremental"}],
            plans=[plan(entitlements=[{"featureId": "calls", "usageLimit": 1, "resetPeriod": "DAY"}])],
        ),
        minimal(
            plans=[
                plan(
                    entitlements=[{"featureId": "calls"}],
                    prices=[
                        {
                            "billingModel": "PER_UNIT",
                            "billingPeriod": "MONTHLY",
                            "currency": "USD",
                            "unitAmount": 1,
                            "featureId": "cals",
                        }
                    ],
                )
            ]
        ),
        minimal(products=[{"idd": "product"}], plans=[plan()]),
        minimal(plans=[plan(prices="none", entitlements=[{"featureId": "calls"}])]),
    ],
)
def test_nothing_that_rests_on_a_mistake_is_reported_as_well(source: Table) -> None:
    assert 1 == len(problems_of(source)), problems_of(source)


def test_one_wrong_key_or_value_anywhere_in_the_example_is_one_problem() -> None:
    met = set()
    for path in PLACES:
        *around, key = path
        kind = tuple(part for part in path if isinstance(part, str))
        if not isinstance(key, str) or "metadata" in around or kind in met:
            continue
        met.add(kind)
        source = example()
        table = table_at(source, path)
        table[f"{key}Q"] = value = table.pop(key)
        assert 1 == len(validate(source)), (path, problems_of(source))
        # Who refers to an item whose id is lost altogether refers to nothing.
        if key != "id":
            del table[f"{key}Q"]
            table[key] = object()
            assert 1 == len(validate(source)), (path, value, problems_of(source))


def test_an_item_without_an_id_is_not_what_others_name() -> None:
    nameless = {**plan(), "parentPlanId": "plan"}
    del nameless["id"]
    source = minimal(plans=[plan(), nameless, plan(id="other")])
    assert ["plans[1].id: is missing"] == problems_of(source)


@pytest.mark.parametrize(
    "fields",
    [
        {"entitlements": [{"featureId": "calls", "isGranted": False}]},
        {"entitlements": [{"featureId": "calls", "usageLimit": 0}]},
        {"entitlements": [{"featureId": "calls", "value": 2**62}]},
        {"entitlements": [{"featureId": "calls", "usageLimit": 1, "resetPeriod": "HOUR"}]},
        {"entitlements": [{"featureId": "calls", "isCustom": True}], "pricingType": "CUSTOM"},
        {"prices": []},
        {"pricingType": "FREE"},
        {
            "entitlements": [{"featureId": "calls"}],
            "prices": [
                {
                    "billingModel": "USAGE_BASED",
                    "featureId": "calls",
                    "billingPeriod": "MONTHLY",
                    "currency": "JPY",
                    "amount": "10",
                    "blockSize": 1000,
                }
            ],
        },
        {
            "prices": [
                {"billingPeriod": "MONTHLY", "currency": "USD", "amount": 0},
                {"billingPeriod": "MONTHLY", "currency": "EUR", "amount": 1.5, "billingCountryCode": "DE"},
            ]
        },
        {"overagePrices": [{"featureId": "calls", "billingPeriod": "MONTHLY", "currency": "USD", "unitAmount": 1}]},
    ],
)
def test_what_is_right_is_left_alone(fields: Table) -> None:
    assert [] == problems_of(minimal(plans=[plan(**fields)]))


# Sources that cannot be read. ----------------------------------------


def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    assert ["does not exist"] == [problem.message for problem in validate(path)]
    with pytest.raises(CatalogInvalid, match="does not exist"):
        load(path)
    with pytest.raises(CatalogInvalid, match="does not exist"):
        file_hash(path)


@pytest.mark.parametrize("name", ["catalog.yam", "catalog", "catalog.toml.bak"])
def test_another_suffix_is_refused_with_those_that_are_read(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"catalog files end in \.toml, \.json or \.yaml"):
        load(name)


def test_what_is_no_regular_file_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "directory.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    for name in ("directory.toml", "pipe.toml"):
        assert ["is not a regular file"] == [problem.message for problem in validate(tmp_path / name)]
    assert ["cannot be read: embedded null byte"] == [problem.message for problem in validate("a\0.toml")]


def test_a_file_beyond_the_limit_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_file, "FILE_SIZE_MAX", 1024 * 1024)
    path = tmp_path / "catalog.toml"
    path.write_bytes(b"schema = 1\n" + b"#" * 1024 * 1024)
    assert ["is larger than 1 MiB, the most that a catalog may be"] == [problem.message for problem in validate(path)]


def test_what_is_neither_path_nor_mapping_is_the_callers_mistake() -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("a.toml", b"schema = 1\n\xff", 2, "is not UTF-8 text"),
        ("a.json", b'{"a": "\xff"}', 1, "is not UTF-8 text"),
        ("a.toml", b"schema = 1\nx = " + b"[" * 20_000, None, "is nested too deeply"),
        ("a.json", b"[" * 200_000, None, "is nested too deeply"),
        ("a.toml", b"schema = 1\n\nx = " + b"9" * 5_000, 3, "is a number with too many digits"),
        ("a.toml", b"schema = 1\nx = \0", 2, "invalid value"),
        ("a.toml", b'schema = 1\nx = "open', 2, "unterminated string"),
        ("a.toml", b"schema = 1\nschema = 1", 2, "cannot overwrite a value, the first is in line 1"),
        ("a.json", b'{"schema": 1,\n"a": tru}', 2, "expecting value"),
        ("a.json", b"7", 1, "the file does not hold an object"),
        ("a.toml", b" \n\t\n", 1, "is empty"),
    ],
)
def test_a_file_that_does_not_parse_is_one_problem(
    tmp_path: Path, name: str, content: bytes, line: int | None, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert [(line, message)] == [(problem.line, problem.message.removesuffix(": `x`")) for problem in validate(path)]


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    path.write_bytes(b"\xef\xbb\xbfschema = 1\r\n")
    assert CatalogFile(schema=1) == load(path).catalog


# Absurd values, and garbage. ----------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x" * 1_000_000,
        "a\0b",
        "line\nbreak",
        "\ud800",
        None,
        True,
        7,
        [],
        {},
        float("nan"),
        10**5000,
        b"bytes",
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_absurd_id_is_a_short_problem(value: object) -> None:
    for section in ("features", "plans", "coupons"):
        item = {"id": value, "productId": "product", "featureType": "Boolean", "type": "FIXED"}
        found = validate(minimal(**{section: [item]}))
        assert any(problem.path.endswith(".id") for problem in found)
        assert all(len(str(problem)) < 500 and str(problem).isprintable() for problem in found)


@pytest.mark.parametrize(
    "value",
    ["ten", True, -1, float("nan"), float("inf"), 10**5000, Decimal("1e999999"), 1e-300, [], {}],
    ids=lambda value: type(value).__name__,
)
def test_an_absurd_limit_is_one_short_problem(value: object) -> None:
    source = minimal(plans=[plan(entitlements=[{"featureId": "calls", "usageLimit": value}])])
    found = validate(source)
    assert 1 == len(found)
    assert len(str(found[0])) < 300


ABSURD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.none() | st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.just(10**5000),
    st.decimals(),
    st.sampled_from(["feature-sso", "plan-revvenu-growth", "MONTH", "addon-10k-calls", "FREE", "PER_UNIT"]),
)


@given(st.lists(st.tuples(st.sampled_from(PLACES), ABSURD, st.booleans()), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_an_example_with_absurd_values_gives_problems_and_nothing_else(
    edits: list[tuple[tuple[Any, ...], object, bool]],
) -> None:
    source = example()
    for path, value, is_dropped in edits:
        try:
            around = table_at(source, path)
            if is_dropped:
                del around[path[-1]]
            else:
                around[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    found = validate(source)
    assert all(problem.message and len(str(problem)) < 1_000 for problem in found)
    if not found:
        assert load(source).catalog == load(msgspec.json.decode(msgspec.json.encode(load(source).catalog))).catalog


@given(
    name=st.sampled_from(["a.toml", "a.json"]),
    at=st.floats(0, 1),
    inserted=st.binary(max_size=6) | st.sampled_from([b'"', b"[", b"]]", b"\n", b"{", b"=", b"'''", b"\\"]),
    cut=st.integers(0, 40),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_gives_problems_and_nothing_else(
    tmp_path: Path, name: str, at: float, inserted: bytes, cut: int
) -> None:
    content = EXAMPLE.read_bytes()
    if name.endswith("json"):
        content = msgspec.json.format(msgspec.json.encode(load(EXAMPLE).catalog), indent=1)
    position = int(at * len(content))
    path = tmp_path / name
    path.write_bytes(content[:position] + inserted + content[position + cut :])
    for problem in validate(path):
        assert problem.line is None or 1 <= problem.line <= path.read_bytes().count(b"\n") + 1
        assert str(problem).isprintable()


@given(catalogs())
@settings(max_examples=60, deadline=None)
def test_a_catalog_is_the_same_in_toml_in_json_and_as_a_mapping(source: Table) -> None:
    from_mapping = load(source).catalog
    from_toml = load(tomllib.loads(toml_text(source), parse_float=Decimal)).catalog
    from_json = load(json.loads(msgspec.json.encode(from_toml), parse_float=Decimal)).catalog
    assert from_mapping == from_toml == from_json


def test_hints_do_not_make_a_file_full_of_mistakes_slow() -> None:
    """Comparing names is bounded, so that a wrong file of any size is answered."""
    names = [{"featureId": f"feature-{index}", "usageLimit": 1} for index in range(3_000)]
    found = validate(minimal(plans=[plan(entitlements=names)]))
    assert 3_000 == len(found)
