"""`catalog validate|diff|apply|show|schema`: a catalog file, what is stored of it and what it may say."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from stigg_local.cli.options import (
    Commands,
    command_clock,
    data_dir_option,
    group_data_dir_option,
    holds_catalog,
    json_option,
    named_directory,
    no_data_dir_option,
    open_stored,
    pass_output,
)
from stigg_local.cli.output import Output, Tone
from stigg_local.client import Stigg
from stigg_local.errors import CatalogInvalid

if TYPE_CHECKING:
    from stigg_local.authority.catalog_file import Problem
    from stigg_local.authority.publish import Applied

INVALID = 2

_SIGNS: dict[str, tuple[str, Tone]] = {
    "added": ("+", "good"),
    "changed": ("~", "title"),
    "published": ("^", "title"),
    "removed": ("-", "bad"),
}


@click.group(cls=Commands, short_help="Check, compare, publish and show a catalog.")
@group_data_dir_option
@json_option
def catalog() -> None:
    """Features, plans and add-ons: check a file, compare it, publish it, look at what is in force.

    \b
    Examples:
      stigg-local catalog validate catalog.toml
      stigg-local catalog apply catalog.toml --data-dir var/stigg
    """


@catalog.command(short_help="Print everything that is wrong with a file.")
@click.argument("file")
@no_data_dir_option
@json_option
@pass_output
def validate(out: Output, *, file: str) -> int:
    """Print everything that is wrong with FILE (TOML, JSON or YAML); nothing is stored.

    With --json a good file also has its `hash`: of what it says, so the same in all three formats.

    Exit code 0: no mistakes; 2: mistakes, each with file, line and key path.

    \b
    Examples:
      stigg-local catalog validate catalog.toml
      stigg-local catalog validate catalog.yaml --json
    """
    from stigg_local.authority.catalog_file import load

    problems: Sequence[Problem] = ()
    try:
        with out.progress("reading the catalog"):
            meaning = load(Path(file)).meaning
    except CatalogInvalid as error:
        problems = error.problems
    if not problems:
        if out.as_json:
            out.json({"valid": True, "file": file, "hash": meaning, "problems": []})
        else:
            out.line(f"{file}: no mistakes", "good")
        return 0
    count = f"{len(problems)} mistakes" if len(problems) > 1 else "1 mistake"
    if out.as_json:
        out.failure(code="CatalogInvalid", message=f"the catalog has {count}", hint=None, problems=problems)
        return INVALID
    for problem in problems:
        out.line(str(problem))
    out.note(f"error: CatalogInvalid: the catalog has {count}")
    return INVALID


@catalog.command(short_help="Print what applying a file would change.")
@click.argument("file")
@data_dir_option
@json_option
@pass_output
def diff(out: Output, *, file: str, data_dir: str | None) -> int:
    """Print what applying FILE (TOML, JSON or YAML) would change; nothing is changed, and no directory is made.

    \b
    Example:
      stigg-local catalog diff catalog.toml --data-dir var/stigg
    """
    if holds_catalog(named_directory(data_dir)):
        with out.progress("comparing the catalog"), open_stored(data_dir) as client:
            found = client.catalog.diff(Path(file))
    else:
        found = _all_new(file)
    _show_changes(out, found, done=False)
    return 0


@catalog.command(short_help="Publish a file.")
@click.argument("file")
@click.option(
    "--migrate",
    type=click.Choice(("new", "all")),
    default="new",
    show_default=True,
    help="all: move existing subscriptions to the latest entitlements too, never to new prices.",
)
@data_dir_option
@json_option
@pass_output
def apply(out: Output, *, file: str, migrate: str, data_dir: str | None) -> int:
    """Publish FILE (TOML, JSON or YAML): new package versions, changed and removed items, in one transaction.

    The same file twice changes nothing. A missing directory is made.

    \b
    Examples:
      stigg-local catalog apply catalog.toml --data-dir var/stigg
      stigg-local catalog apply catalog.toml --migrate all
    """
    path = named_directory(data_dir)
    if holds_catalog(path):
        with out.progress("applying the catalog"), open_stored(data_dir) as client:
            applied = client.catalog.apply(Path(file), migrate=migrate)
        _show_changes(out, applied, done=True)
        return 0
    first = _all_new(file)
    with (
        out.progress("applying the catalog"),
        Stigg(catalog=Path(file), data_dir=path, clock=command_clock()) as client,
    ):
        # Another process may have been first; then this says what is left to do, else it changes nothing.
        applied = client.catalog.apply(Path(file), migrate=migrate)
    _show_changes(out, applied if applied.changes else replace(first, migrated=applied.migrated), done=True)
    return 0


@catalog.command(short_help="Print the catalog in force.")
@click.option(
    "--catalog",
    "file",
    metavar="FILE",
    help="Show a file as it would be in force, without a directory.",
)
@data_dir_option
@json_option
@pass_output
def show(out: Output, *, file: str | None, data_dir: str | None) -> int:
    """Print the catalog in force: the latest version of everything.

    \b
    Examples:
      stigg-local catalog show --data-dir var/stigg
      stigg-local catalog show --catalog catalog.toml --json
    """
    with out.progress("opening"):
        opened = open_stored(data_dir) if file is None else Stigg(catalog=Path(file), clock=command_clock())
    with opened as client:
        found = client.catalog.show()
    if out.as_json:
        out.json(found)
    else:
        _show_catalog(out, found)
    return 0


@catalog.command(short_help="Print the JSON Schema of catalog files.")
@click.option("--fallback", is_flag=True, help="The schema of fallback files instead.")
@no_data_dir_option
@json_option
@pass_output
def schema(out: Output, *, fallback: bool) -> int:
    """Print the JSON Schema (2020-12) of catalog files, by which an editor completes and checks keys and words.

    \b
    A file names the schema that it goes by at its beginning:
      #:schema ./catalog.schema.json                         TOML: Taplo, Even Better TOML
      # yaml-language-server: $schema=catalog.schema.json    YAML
      "$schema": "./catalog.schema.json",                    JSON

    \b
    Examples:
      stigg-local catalog schema > catalog.schema.json
      stigg-local catalog schema --fallback > fallback.schema.json
    """
    from stigg_local.cli.schema import catalog_schema, fallback_schema

    made = fallback_schema() if fallback else catalog_schema()
    if out.as_json:
        out.json(made)
        return 0
    for line in json.dumps(made, indent=2).split("\n"):
        out.line(line)
    return 0


def _all_new(file: str) -> "Applied":
    """What a file adds to a directory that holds nothing."""
    from stigg_local.authority.catalog_diff import plan_publish
    from stigg_local.authority.catalog_file import load
    from stigg_local.authority.publish import Applied

    loaded = load(Path(file))
    return Applied(changes=tuple(plan_publish((), loaded.catalog, file=loaded.name).changes))


def _show_changes(out: Output, found: "Applied", *, done: bool) -> None:
    if out.as_json:
        out.json(found.to_dict())
        return
    for change in found.changes:
        sign, tone = _SIGNS[change.action]
        version = "" if change.version is None else f" version {change.version}"
        out.line(f"{sign} {change.action} {change.kind} {change.id}{version}", tone)
        for path, before, after in change.fields:
            out.line(f"    {path}: {_value(before)} -> {_value(after)}")
    count = len(found.changes)
    if not count:
        out.line("no changes")
    else:
        out.line(f"{count} change{'s' if count > 1 else ''}{'' if done else ', none of them made'}")
    if found.migrated:
        count = len(found.migrated)
        out.line(f"{count} customer{'s' if count > 1 else ''} moved")


def _value(value: object) -> str:
    text = "nothing" if value is None else f"`{value}`"
    return text if len(text) <= 80 else text[:76] + "...`"


def _show_catalog(out: Output, found: dict[str, Any]) -> None:
    out.line(f"environment {found['environment']}", "title")
    _section(out, "features", ("id", "type", "meter", "name"), [
        (item["id"], item["featureType"], item.get("meterType", "-"), item.get("displayName", ""))
        for item in found["features"]
    ])  # fmt: skip
    _section(out, "credit currencies", ("id", "name"), [
        (item["id"], item.get("displayName", "")) for item in found["creditCurrencies"]
    ])  # fmt: skip
    _section(out, "products", ("id", "name"), [
        (item["id"], item.get("displayName", "")) for item in found["products"]
    ])  # fmt: skip
    for name in ("plans", "addons"):
        _section(out, "add-ons" if name == "addons" else name, ("id", "version", "product", "entitles to"), [
            (item["id"], str(item["version"]), item["productId"], _entitlements(item)) for item in found[name]
        ])  # fmt: skip


def _section(out: Output, title: str, header: Sequence[str], rows: list[tuple[str, ...]]) -> None:
    if rows:
        out.line()
        out.line(title, "title")
        out.table(header, rows, indent=2)


def _entitlements(package: dict[str, Any]) -> str:
    features = [
        item["featureId"] if item.get("isGranted", True) else f"no {item['featureId']}"
        for item in package.get("entitlements", ())
    ]
    currencies = [item["currencyId"] for item in package.get("creditEntitlements", ())]
    own = ", ".join([*features, *currencies]) or "-"
    parent = package.get("parentPlanId")
    return f"all of {parent}; {own}" if parent else own
