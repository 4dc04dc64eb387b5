"""Fallback files in YAML: the same values, and followed like the others."""

import os
import sys
import time
from pathlib import Path

import pytest

from stigg_local.core.fallback import Fallback
from stigg_local.edge import fallback_file
from stigg_local.edge.fallback_file import FallbackFile
from stigg_local.edge.fallback_reader import read_fallback_file
from stigg_local.errors import FallbackFileError

VALID = Path(__file__).parents[2] / "fixtures" / "fallback" / "valid"
SOON_S = 4.0


def test_the_three_formats_say_the_same() -> None:
    read = [read_fallback_file(VALID / f"example.{suffix}") for suffix in ("toml", "yaml", "json")]
    assert read[0] == read[1] == read[2]


def test_an_alias_stands_for_the_whole_value(tmp_path: Path) -> None:
    path = tmp_path / "fallback.yml"
    path.write_text("schema: 1\nfeatures:\n  a: &ten {hasAccess: true, usageLimit: 10}\n  b: *ten\n")
    ten = Fallback(True, usage_limit=10)
    assert {"a": ten, "b": ten} == read_fallback_file(path).features


def test_words_that_older_yaml_took_for_truth_values_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "fallback.yml"
    path.write_text("schema: 1\nfeatures:\n  a: {hasAccess: true, enumValues: [no, on, 1:30, 2025-01-31]}\n")
    assert ("no", "on", "1:30", "2025-01-31") == read_fallback_file(path).features["a"].enum_values
    path.write_text("schema: 1\nfeatures:\n  a: {hasAccess: yes}\n")
    with pytest.raises(
        FallbackFileError, match=r"fallback\.yml:3: features\[a\]\.hasAccess is `yes`, not true or false"
    ):
        read_fallback_file(path)


def test_a_file_may_name_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "fallback.json"
    path.write_text('{"$schema": "./fallback.schema.json", "schema": 1}')
    assert {} == read_fallback_file(path).features


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "schema: 1\nfeatures:\n  x:\n    hasAccess: true\n    value: " + "9" * 5_000,
            "5:12: is a number with too many",
        ),
        (
            "schema: 1\nfeatures:\n  x:\n    hasAccess: true\n    value: 0x" + "f" * 5_000,
            "5: features[x].value is a huge",
        ),
        ("schema: 1\nfeatures:\n  " + "x" * 900 + ":\n    hasAccess: 1\n", "4: features[xxx"),
        ("schema: 1\nfeatures: " + "[" * 5_000, "is nested more than 64 levels deep"),
    ],
    ids=["digits", "hex", "long", "deep"],
)
def test_hostile_text_is_refused_in_a_short_printable_message(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(text)
    with pytest.raises(FallbackFileError) as caught:
        read_fallback_file(path)
    assert message in caught.value.message
    assert str(caught.value).isprintable()
    assert 400 > len(str(caught.value)) - len(str(path))


def test_without_the_package_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    with pytest.raises(FallbackFileError, match=r"example\.yaml: is YAML, which needs a package") as caught:
        read_fallback_file(VALID / "example.yaml")
    assert "pip install 'stigg-local[yaml]'" == caught.value.hint


def test_a_yaml_file_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback_file, "QUIET_S", 0.1)
    path, other = tmp_path / "fallback.yaml", tmp_path / "new"
    path.write_text("schema: 1\nfeatures:\n  a: {hasAccess: false}\n")
    file = FallbackFile(path)
    try:
        for text, is_broken in (("schema: 1\nfeatures:\n  a: {hasAccess: true}\n", False), ("schema: [1\n", True)):
            other.write_text(text)
            os.replace(other, path)
            end = time.monotonic() + SOON_S
            while time.monotonic() < end and is_broken != (file.status()["last_error"] is not None):
                time.sleep(0.005)
            while time.monotonic() < end and not file.fallbacks().features["a"].has_access:
                time.sleep(0.005)
            assert file.fallbacks().features["a"].has_access
        assert "fallback.yaml:2:1: " in file.status()["last_error"]
    finally:
        file.close()
