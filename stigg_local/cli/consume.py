"""`consume`, `reserve`, `settle`, `release` and `reservations`: use what there is room for, or hold it for a while."""

from typing import TYPE_CHECKING

import click

from stigg_local.cli.arguments import options
from stigg_local.cli.options import data_dir_option, json_option, number, open_stored, pass_output
from stigg_local.cli.output import Output
from stigg_local.cli.words import amount as amount_of
from stigg_local.cli.words import details, instant, verdict
from stigg_local.core.answer import Entitlement, MeteredEntitlement
from stigg_local.core.ids import told
from stigg_local.errors import InvalidInput

if TYPE_CHECKING:
    from stigg_local.core.consume_result import ConsumeResult
    from stigg_local.reserve_calls import Hold

REFUSED = 3


# What `consume` and `reserve` share.
_options = options(
    click.option("--currency", metavar="C", help="Credits of a currency alone, instead of a feature."),
    click.option("--resource", metavar="R", help="The resource whose usage it is."),
    click.option("--idempotency-key", metavar="K", help="The same key with the same request counts once."),
)


@click.command(short_help="Use what there is room for, or nothing.")
@click.argument("customer")
@click.argument("feature", required=False)
@click.argument("units", metavar="[VALUE]", required=False)
@click.option("--value", metavar="N", help="Units, or credits with --currency.  [default: 1]")
@_options
@data_dir_option
@json_option
@pass_output
def consume(
    out: Output,
    *,
    customer: str,
    feature: str | None,
    units: str | None,
    value: str | None,
    currency: str | None,
    resource: str | None,
    idempotency_key: str | None,
    data_dir: str | None,
) -> int:
    """Record that CUSTOMER uses VALUE of FEATURE if there is room for it; check and record are one step.

    Exit code 0: recorded, on disk; 3: refused with the reason, and nothing recorded.

    \b
    Examples:
      stigg-local consume customer-acme feature-api-calls
      stigg-local consume customer-acme feature-api-calls 25 --idempotency-key request-8d1f
      stigg-local consume customer-acme --currency currency-ai-credits --value 50
    """
    if units is not None and value is not None:
        raise InvalidInput(f"VALUE is `{told(units)}` and --value `{told(value)}`", hint="say it once")
    with open_stored(data_dir) as client:
        result = client.consume(
            customer,
            feature,
            number(value or "1", "--value") if units is None else number(units, "VALUE"),
            currency_id=currency,
            resource_id=resource,
            idempotency_key=idempotency_key,
        )
    rows = [("customer", customer), ("feature" if feature else "currency", feature or currency or "")]
    if result.allowed:
        rows += [("now", _state(result.entitlement)), ("measurement", str(result.measurement_id))]
        rows.append(("durability", str(result.durability)))
    return _told(out, result, "consumed", rows)


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
    rows = [("customer", customer), ("feature" if feature else "currency", feature or currency or "")]
    if hold.allowed:
        rows += [("reservation", str(hold.id)), ("until", f"{hold.expires_at:%Y-%m-%d %H:%M:%S} UTC")]
        rows.append(("now", _state(hold.entitlement)))
    return _told(out, hold, "held", rows)


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
    out.fields([*rows, ("now", _state(result.entitlement))])
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


def _told(out: Output, result: "ConsumeResult | Hold", done: str, rows: list[tuple[str, str]]) -> int:
    """What came of asking for room; returns the exit code."""
    if out.as_json:
        out.json(result.to_dict())
    elif result.allowed:
        out.line(done, "good")
        out.fields(rows)
    else:
        amounts = _amounts(result.entitlement)
        out.line(f"refused: {result.access_denied_reason}", "bad")
        out.fields([*rows, ("now", amounts)] if amounts else rows)
    return 0 if result.allowed else REFUSED


def _state(answer: Entitlement) -> str:
    return ", ".join(part for part in (verdict(answer), _amounts(answer)) if part)


def _amounts(answer: Entitlement) -> str:
    parts = [details(answer)]
    if isinstance(answer, MeteredEntitlement) and answer.reserved_usage:
        parts.append(f"{amount_of(answer.reserved_usage)} reserved")
    return ", ".join(part for part in parts if part)
