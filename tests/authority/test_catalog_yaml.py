"""Catalogs in YAML: the same meaning, the same mistakes, each in the line of its very key."""

import json
import re
import sys
import tomllib
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from ruamel.yaml import YAML

from stigg_local.authority.catalog_file import load, validate
from stigg_local.client import Stigg
from stigg_local.errors import CatalogInvalid
from stigg_local.testing import ManualClock
from tests.authority.catalogs import EXAMPLE, INVALID, Table, catalogs

EXAMPLE_YAML = EXAMPLE.with_suffix(".yaml")
FORMATS = [EXAMPLE, EXAMPLE_YAML, EXAMPLE.with_suffix(".json")]


def yaml_text(source: Table) -> str:
    """A catalog as another program would write it."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Decimal) else value

    written = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.dump(plain(source), written)
    return written.getvalue()


def test_the_three_formats_say_the_same_and_have_one_hash() -> None:
    loaded = [load(path) for path in FORMATS]
    assert 1 == len({item.meaning for item in loaded})
    assert loaded[0].catalog == loaded[1].catalog == loaded[2].catalog
    # The files differ, and so do the hashes of their bytes.
    assert 3 == len({item.hash for item in loaded})


@pytest.mark.parametrize(
    ("text", "is_same"),
    [
        ("12.50", True),
        ("12.5", True),
        ("'12.50'", True),
        ("'12.500'", True),
        ("1.25e1", True),
        ("12.51", False),
        ("12.500000000001", False),
    ],
)
def test_the_hash_is_of_the_number_and_not_of_its_spelling(tmp_path: Path, text: str, is_same: bool) -> None:
    path = tmp_path / "catalog.yaml"
    written = EXAMPLE_YAML.read_text("utf-8")
    changed = re.sub(r"unitAmount: ['\"]?12\.50['\"]?", f"unitAmount: {text}", written)
    assert written.count("12.50") == 1
    path.write_text(changed, "utf-8")
    assert is_same is (load(EXAMPLE).meaning == load(path).meaning)


def test_the_three_formats_give_the_same_answers_and_nothing_to_change(tmp_path: Path) -> None:
    answers = []
    for path in FORMATS:
        clock = ManualClock("2025-01-31T10:00:00Z")
        with Stigg(catalog=path, data_dir=tmp_path / path.suffix[1:], clock=clock) as client:
            client.provision_customer("acme", subscription_params=None)
            client.provision_subscription(
                "acme",
                "plan-revvenu-growth",
                billing_period="MONTHLY",
                billable_features=[{"feature_id": "feature-seats", "quantity": 3}],
                skip_trial=True,
            )
            client.report_usage("acme", "feature-api-calls", 7)
            found = [*client.get_entitlements("acme"), client.get_credit_entitlement("acme", "currency-ai-credits")]
            answers.append(([answer.to_dict() for answer in found], client.catalog.show()))
            assert [()] * 3 == [client.catalog.diff(other).changes for other in FORMATS]
    assert answers[0] == answers[1] == answers[2]


def test_the_example_in_yaml_means_what_the_one_in_toml_means() -> None:
    assert load(EXAMPLE).catalog == load(EXAMPLE_YAML).catalog
    assert "example.yaml" == load(EXAMPLE_YAML).name


def test_a_client_opens_on_a_yaml_catalog() -> None:
    with Stigg(catalog=EXAMPLE_YAML) as client:
        client.provision_customer("acme", subscription_params={"plan_id": "plan-revvenu-basic"})
        assert 100 == client.get_metered_entitlement("acme", "feature-api-calls").usage_limit


@settings(max_examples=25, deadline=None)
@given(catalogs())
def test_a_catalog_means_the_same_in_yaml(tmp_path_factory: pytest.TempPathFactory, source: Table) -> None:
    path = tmp_path_factory.mktemp("yaml") / "catalog.yml"
    path.write_text(yaml_text(source), "utf-8")
    assert load(source).catalog == load(path).catalog


def test_the_mistakes_are_those_of_toml_and_json() -> None:
    def found(path: Path) -> list[tuple[str, str, str | None, str | None]]:
        return sorted((problem.path, problem.message, problem.hint, problem.code) for problem in validate(path))

    assert 20 == len(found(INVALID / "twenty.yaml"))
    assert found(INVALID / "twenty.toml") == found(INVALID / "twenty.yaml")


def test_a_mistake_is_in_the_line_of_its_key() -> None:
    """Also what a check finds that looks at several tables: the line is that of the key that it blames."""
    lines = (INVALID / "twenty.yaml").read_text("utf-8").splitlines()
    for problem in validate(INVALID / "twenty.yaml"):
        assert problem.line is not None
        key = problem.path.split(".")[-1].split("[")[0]
        text = lines[problem.line - 1]
        # Where a key is missing, and where a whole entry is meant, the line is the first of the table.
        is_table = key == "entitlements" or "is missing" in problem.message
        assert f"{key}:" in text or (is_table and text.lstrip().startswith("- ")), problem


def test_a_mistake_in_an_entry_of_a_list_is_in_the_line_of_the_entry(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(
        "schema: 1\n"
        "features:\n"
        "  - id: regions\n"
        "    featureType: Enum\n"
        "    enumValues:\n"
        "      - eu\n"
        "      - us\n"
        "      - eu\n"
        "featureGroups:\n"
        "  - id: group\n"
        "    featureIds:\n"
        "      - regions\n"
        "      - regons\n"
    )
    assert [("features[regions].enumValues[eu]", 8), ("featureGroups[group].featureIds[regons]", 13)] == [
        (problem.path, problem.line) for problem in validate(path)
    ]


def test_a_long_unknown_key_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(f"schema: 1\n{'x' * 200}: 1\nproducts:\n  - id: a\n    {'y' * 200}: 2\n    hiden: 1\n")
    assert [2, 5, 6] == [problem.line for problem in validate(path)]


def test_amounts_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    source = tomllib.loads(EXAMPLE.read_text("utf-8"), parse_float=Decimal)
    path.write_text(yaml_text(source).replace("'0.002'", "0.002000000001"))
    price = load(path).catalog.plans[1].overage_prices[0]
    assert Decimal("0.002000000001") == price.unit_amount


def test_without_the_package_the_catalog_has_one_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    assert [("is YAML, which needs a package that is not installed", "pip install 'stigg-local[yaml]'", None)] == [
        (problem.message, problem.hint, problem.line) for problem in validate(EXAMPLE_YAML)
    ]
    with pytest.raises(CatalogInvalid, match=r"pip install 'stigg-local\[yaml\]'"):
        load(EXAMPLE_YAML)


def test_a_json_catalog_is_a_yaml_one(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    source = tomllib.loads(EXAMPLE.read_text("utf-8"))
    path.write_text(json.dumps(source, indent=2))
    assert load(EXAMPLE).catalog == load(path).catalog
