"""`check`, `report`, `status` and `clock`: what a customer may do, what was used, and how the state is kept."""

from typing import Any

import click

from stigg_local.cli.options import (
    Commands,
    data_dir_option,
    group_data_dir_option,
    json_option,
    number,
    open_stored,
    pass_output,
    reader,
    writer,
)
from stigg_local.cli.output import Output
from stigg_local.cli.words import details, instant, verdict
from stigg_local.core.answer import CreditEntitlement, Entitlement, EnumEntitlement, MeteredEntitlement

DENIED = 3
BROKEN = 1

TYPES = ("boolean", "numeric", "metered", "enum", "credit")


@click.command(short_help="May a customer use a feature?")
@click.argument("customer")
@click.argument("feature")
@click.option("--requested", metavar="N", help="How many units, or credits, are about to be used.  [default: 0]")
@click.option("--values", metavar="A,B", help="Values about to be used, of an enum feature.")
@click.option("--resource", metavar="R", help="Id of the resource, for products with several subscriptions.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(TYPES),
    show_default="the feature's own",
    help="Ask as the getter of that type does.",
)
@click.option(
    "--fallback-file",
    metavar="FILE",
    help="Fallback values (TOML, JSON or YAML); without a data directory they are all there is.",
)
@data_dir_option
@json_option
@pass_output
def check(
    out: Output,
    *,
    customer: str,
    feature: str,
    requested: str | None,
    values: str | None,
    resource: str | None,
    kind: str | None,
    fallback_file: str | None,
    data_dir: str | None,
) -> int:
    """May CUSTOMER use FEATURE (or spend a credit currency)?

    Exit code 0: access; 3: denied, with the reason.

    \b
    Examples:
      stigg-local check customer-acme feature-sso
      stigg-local check customer-acme feature-api-calls --requested 10
      stigg-local check customer-acme feature-regions --values eu,us
      stigg-local check customer-acme currency-ai-credits --type credit --requested 50
    """
    asked = request(requested=requested, values=values, resource=resource, kind=kind)
    with reader(data_dir, fallback_file, out) as client:
        getter = client.get_entitlement if kind is None else getattr(client, f"get_{kind}_entitlement")
        answer: Entitlement = getter(customer, feature, **asked)
        error = client.status().last_error if answer.is_fallback else None
    if out.as_json:
        out.json(answer.to_dict())
    else:
        _show(out, customer, feature, answer)
    if error:
        out.note(f"warning: {error}")
    return 0 if answer.has_access else DENIED


def request(*, requested: str | None, values: str | None, resource: str | None, kind: str | None) -> dict[str, Any]:
    """The arguments of the getter of a type, None for the generic one, from the options of `check`.

    Raises:
        click.UsageError: An option does not go with the type.
    """
    asked: dict[str, Any] = {"resource_id": resource}
    if requested is not None:
        if kind not in (None, "metered", "credit"):
            raise click.UsageError(f"--requested does not go with --type {kind}")
        asked["requested_usage"] = number(requested, "--requested")
    if values is not None:
        if kind not in (None, "enum"):
            raise click.UsageError(f"--values does not go with --type {kind}")
        # Values are compared exactly, so blanks are part of them.
        asked["requested_values"] = tuple(values.split(",")) if values else ()
    return asked


def _show(out: Output, customer: str, feature: str, answer: Entitlement) -> None:
    out.line(verdict(answer), "good" if answer.has_access else "bad")
    rows = [("customer", customer), ("feature", feature), ("type", answer.type)]
    if details(answer):
        rows.append(("state", details(answer)))
    if isinstance(answer, MeteredEntitlement | CreditEntitlement) and answer.requested_usage:
        rows.append(("requested", str(answer.requested_usage)))
    if isinstance(answer, EnumEntitlement) and answer.requested_values:
        rows.append(("requested", ", ".join(answer.requested_values)))
    if isinstance(answer, MeteredEntitlement | CreditEntitlement) and answer.next_reset_date is not None:
        rows.append(("resets", instant(answer.next_reset_date)))
    rows.append(("source", answer.source))
    if answer.valid_until is not None:
        rows.append(("valid until", instant(answer.valid_until)))
    out.fields(rows)


# A negative VALUE looks like an option; unknown options therefore become arguments here and are refused as such.
@click.command(context_settings={"ignore_unknown_options": True}, short_help="Record usage.")
@click.argument("customer")
@click.argument("feature")
@click.argument("value")
@click.option("--set", "is_set", is_flag=True, help="VALUE is the new usage, not a change of it.")
@click.option("--resource", metavar="R", help="Id of the resource whose usage it is.")
@click.option(
    "--created-at", metavar="T", show_default="now", help="When it happened, ISO-8601, like 2025-01-31T10:00:00Z."
)
@click.option("--idempotency-key", metavar="K", help="The same key with the same report counts once.")
@click.option(
    "--catalog", metavar="FILE", help="A catalog file (TOML, JSON or YAML), applied first if its content never was."
)
@data_dir_option
@json_option
@pass_output
def report(
    out: Output,
    *,
    customer: str,
    feature: str,
    value: str,
    is_set: bool,
    resource: str | None,
    created_at: str | None,
    idempotency_key: str | None,
    catalog: str | None,
    data_dir: str | None,
) -> int:
    """Record that CUSTOMER used VALUE of FEATURE; on return it is on disk.

    VALUE is in the feature's units; below 0 it takes usage back. What the plan does not give is refused.

    Exit code 0: recorded; 3: refused by a rule, with its name.

    \b
    Examples:
      stigg-local report customer-acme feature-api-calls 25
      stigg-local report customer-acme feature-seats 4 --set
      stigg-local report customer-acme feature-seats -1
      stigg-local report customer-acme feature-api-calls 1 --idempotency-key request-8d1f
    """
    amount = number(value, "VALUE")
    with writer(data_dir, catalog, out) as client:
        result = client.report_usage(
            customer,
            feature,
            amount,
            resource_id=resource,
            update_behavior="SET" if is_set else "DELTA",
            created_at=created_at,
            idempotency_key=idempotency_key,
        )
        after = client.get_entitlement(customer, feature, resource)
    if result is None:
        raise RuntimeError("an embedded client kept nothing")
    if out.as_json:
        out.json(result.to_dict())
        return 0
    out.line("recorded", "good")
    rows = [("customer", customer), ("feature", feature), ("usage", str(result.current_usage))]
    rows.append(("now", f"{verdict(after)}, {details(after)}"))
    if result.next_reset_date is not None:
        rows.append(("resets", instant(result.next_reset_date)))
    out.fields([*rows, ("measurement", result.measurement_id), ("durability", result.durability)])
    return 0


@click.command(short_help="How the state is kept.")
@click.option("--fallback-file", metavar="FILE", help="Look at a fallback file too, or alone.")
@data_dir_option
@json_option
@pass_output
def status(out: Output, *, fallback_file: str | None, data_dir: str | None) -> int:
    """How the state is kept: version, storage, last error.

    Exit code 1: the stored state cannot be used.

    \b
    Examples:
      stigg-local status --data-dir var/stigg
      stigg-local status --fallback-file fallback.toml
    """
    with reader(data_dir, fallback_file, out) as client:
        found = client.status()
    if out.as_json:
        out.json(found.to_dict())
    else:
        out.line(found.state, "good" if found.state in ("FRESH", "OFFLINE") else "bad")
        out.fields([(name, text) for name, text in _flat(found.to_dict()) if name != "state"])
    return BROKEN if found.state == "STORAGE" else 0


@click.group(cls=Commands, short_help="Believe the clock.")
@group_data_dir_option
@json_option
def clock() -> None:
    """The wall clock, where it ran further ahead than can be believed without asking.

    \b
    Example:
      stigg-local clock confirm --data-dir var/stigg
    """


@clock.command(short_help="Believe the clock as it is now.")
@data_dir_option
@json_option
@pass_output
def confirm(out: Output, *, data_dir: str | None) -> int:
    """Believe the wall clock as it is now, for this directory and everything that uses it.

    `status` tells whether the clock is suspect. Confirm it when the machine was off or away for more than a day.

    \b
    Example:
      stigg-local clock confirm --data-dir var/stigg
    """
    with open_stored(data_dir) as client:
        client.confirm_clock()
        found = client.status()
    if out.as_json:
        out.json({"clockSuspect": found.clock_suspect})
    else:
        out.line("the clock is believed", "good")
    return 0


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as pairs of a dotted name and a text; what is unset is left out."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        elif value is not None:
            pairs.append((prefix + name, str(value).lower() if isinstance(value, bool) else str(value)))
    return pairs
