"""`consume`, `reserve`, `settle`, `release` and `reservations`: use what there is room for, or hold it for a while."""

from typing import Any

import click

from stigg_local.cli.options import data_dir_option, json_option, number, open_stored, pass_output
from stigg_local.cli.output import Output
from stigg_local.cli.words import amount as amount_of
from stigg_local.cli.words import details, instant, verdict
from stigg_local.core.answer import Entitlement, MeteredEntitlement

REFUSED = 3


def _options(command: Any) -> Any:
    """What `consume` and `reserve` share."""
    for option in (
        click.option("--idempotency-key", metavar="K", help="The same key with the same request counts once."),
        click.option("--resource", metavar="R", help="The resource whose usage it is."),
        click.option("--currency", metavar="C", help="Credits of a currency alone, instead of a feature."),
    ):
        command = option(command)
    return command


@click.command(short_help="Use what there is room for, or nothing.")
@click.argument("customer")
@click.argument("feature", required=False)
@click.option("--value", default="1", metavar="N", show_default=True, help="Units, or credits with --currency.")
@_options
@data_dir_option
@json_option
@pass_output
def consume(
    out: Output,
    *,
    customer: str,
    feature: str | None,
    value: str,
    currency: str | None,
    resource: str | None,
    idempotency_key: str | None,
    data_dir: str | None,
) -> int:
    """Record that CUSTOMER uses FEATURE if there is room for it; check and record are one step.

    Exit code 0: recorded, on disk; 3: refused with the reason, and nothing recorded.

    \b
    Examples:
      stigg-local consume customer-acme feature-api-calls
      stigg-local consume customer-acme feature-api-calls --value 25 --idempotency-key request-8d1f
      stigg-local consume customer-acme --currency currency-ai-credits --value 50
    """
    with open_stored(data_dir) as client:
        result = client.consume(
            customer,
            feature,
            number(value, "--value"),
            currency_id=currency,
            resource_id=resource,
            idempotency_key=idempotency_key,
        )
    if out.as_json:
        out.json(result.to_dict())
        return 0 if result.allowed else REFUSED
    rows = [("customer", customer), ("feature" if feature else "currency", feature or currency or "")]
    if not result.allowed:
        _refused(out, result.access_denied_reason, rows, result.entitlement)
        return REFUSED
    out.line("consumed", "good")
    rows.append(("now", _state(result.entitlement)))
    _pairs(out, [*rows, ("measurement", str(result.measurement_id)), ("durability", str(result.durability))])
    return 0


@click.command(short_help="Hold an upper bound for a while.")
@click.argument("customer")
@click.argument("feature", required=False)
@click.option("--amount", default="1", metavar="N", show_default=True, help="Units, or credits with --currency.")
@click.option(
    "--ttl", default="60", metavar="SECONDS", show_default=True, help="When it is over by itself; a day at most."
)
@_options
@data_dir_option
@json_option
@pass_output
def reserve(
    out: Output,
    *,
    customer: str,
    feature: str | None,
    amount: str,
    ttl: str,
    currency: str | None,
    resource: str | None,
    idempotency_key: str | None,
    data_dir: str | None,
) -> int:
    """Hold AMOUNT of FEATURE for CUSTOMER; `settle` says later what was used, `release` gives it back.

    Exit code 0: held; 3: refused with the reason, and nothing held.

    \b
    Examples:
      stigg-local reserve customer-acme feature-api-calls --amount 40 --ttl 120
      stigg-local reserve customer-acme feature-api-calls --amount 40 --idempotency-key job-17
    """
    with open_stored(data_dir) as client:
        hold = client.reserve(
            customer,
            feature,
            number(amount, "--amount"),
            currency_id=currency,
            resource_id=resource,
            ttl_seconds=float(number(ttl, "--ttl")),
            idempotency_key=idempotency_key,
        )
    if out.as_json:
        out.json(hold.to_dict())
        return 0 if hold.allowed else REFUSED
    rows = [("customer", customer), ("feature" if feature else "currency", feature or currency or "")]
    if not hold.allowed:
        _refused(out, hold.access_denied_reason, rows, hold.entitlement)
        return REFUSED
    out.line("held", "good")
    rows += [("reservation", str(hold.id)), ("until", f"{hold.expires_at:%Y-%m-%d %H:%M:%S} UTC")]
    _pairs(out, [*rows, ("now", _state(hold.entitlement))])
    return 0


@click.command(short_help="Say what was used of a reservation.")
@click.argument("reservation")
@click.argument("actual")
@data_dir_option
@json_option
@pass_output
def settle(out: Output, *, reservation: str, actual: str, data_dir: str | None) -> int:
    """Record that ACTUAL was used of RESERVATION and give the rest back; a repeat counts once.

    \b
    Example:
      stigg-local settle job-17 27
    """
    with open_stored(data_dir) as client:
        result = client.settle(reservation, number(actual, "ACTUAL"))
    if out.as_json:
        out.json(result.to_dict())
        return 0
    out.line("settled late, recorded like a report" if result.is_late else "settled", "good")
    rows = [("reservation", reservation), ("held", str(result.held)), ("used", actual)]
    _pairs(out, [*rows, ("now", _state(result.entitlement))])
    return 0


@click.command(short_help="Give a reservation back.")
@click.argument("reservation")
@data_dir_option
@json_option
@pass_output
def release(out: Output, *, reservation: str, data_dir: str | None) -> int:
    """Give RESERVATION back; one that was settled, released or is over is left alone.

    \b
    Example:
      stigg-local release job-17
    """
    with open_stored(data_dir) as client:
        result = client.release(reservation)
    if out.as_json:
        out.json(result.to_dict())
    else:
        out.line("released" if result.released else "nothing was held any more", "good")
    return 0


@click.command(short_help="What is held now.")
@click.argument("customer")
@data_dir_option
@json_option
@pass_output
def reservations(out: Output, *, customer: str, data_dir: str | None) -> int:
    """What is held for CUSTOMER now, soonest over first.

    \b
    Example:
      stigg-local reservations customer-acme
    """
    with open_stored(data_dir) as client:
        found = client.get_reservations(customer)
    if out.as_json:
        out.json({"reservations": [row.to_dict() for row in found]})
        return 0
    columns = ["reservation", "of", "amount", "credits", "until"]
    rows = [
        [
            row.id,
            row.feature_id or row.currency_id or "",
            str(row.amount),
            str(row.credits or ""),
            instant(row.expires_at),
        ]
        for row in found
    ]
    if rows:
        out.table(columns, rows)
    else:
        out.line("nothing is held")
    return 0


def _refused(out: Output, reason: object, rows: list[tuple[str, str]], answer: Entitlement) -> None:
    out.line(f"refused: {reason}", "bad")
    if _amounts(answer):
        rows.append(("now", _amounts(answer)))
    _pairs(out, rows)


def _state(answer: Entitlement) -> str:
    return ", ".join(part for part in (verdict(answer), _amounts(answer)) if part)


def _amounts(answer: Entitlement) -> str:
    parts = [details(answer)]
    if isinstance(answer, MeteredEntitlement) and answer.reserved_usage:
        parts.append(f"{amount_of(answer.reserved_usage)} reserved")
    return ", ".join(part for part in parts if part)


def _pairs(out: Output, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        out.line(f"  {name.ljust(width)}  {text}")
