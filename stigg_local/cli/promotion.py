"""`promotion`: what customers are given by hand, beside their plans."""

from typing import Any

import click

from stigg_local.cli import records
from stigg_local.cli.arguments import choice, instant, key_option
from stigg_local.cli.options import (
    Commands,
    data_dir_option,
    group_data_dir_option,
    json_option,
    number,
    pass_output,
    reader,
    writer,
)
from stigg_local.cli.output import Output
from stigg_local.core.words import PromotionalEntitlementPeriod, ResetPeriod, ResetPeriodConfiguration


@click.group(cls=Commands, short_help="Give features by hand, and take them back.")
@group_data_dir_option
@json_option
def promotion() -> None:
    """Promotional entitlements: features that a customer has by hand, whatever the plan gives.

    \b
    Examples:
      stigg-local promotion grant customer-acme feature-sso --period ONE_MONTH
      stigg-local promotion list customer-acme
    """


@promotion.command(short_help="Give features by hand.")
@click.argument("customer")
@click.argument("features", nargs=-1, metavar="FEATURE...")
@click.option("--group", "groups", metavar="GROUP", multiple=True, help="All features of a group; repeatable.")
@click.option("--limit", metavar="N", show_default="unlimited", help="How much, or the value of a numeric feature.")
@click.option("--values", metavar="A,B", help="The values of an enum feature.")
@click.option("--period", type=choice(PromotionalEntitlementPeriod), show_default="LIFETIME", help="How long.")
@click.option("--until", metavar="DATE", help="Until then; stands for --period CUSTOM.")
@click.option("--soft-limit", is_flag=True, help="Usage may go beyond the limit.")
@click.option("--reset", type=choice(ResetPeriod), help="How often usage begins anew.")
@click.option("--reset-configuration", type=choice(ResetPeriodConfiguration), help="Where those periods begin.")
@click.option("--hidden", is_flag=True, help="Not to be shown to the customer.")
@key_option
@data_dir_option
@json_option
@pass_output
def grant(
    out: Output,
    *,
    customer: str,
    features: tuple[str, ...],
    groups: tuple[str, ...],
    limit: str | None,
    values: str | None,
    period: str | None,
    until: str | None,
    soft_limit: bool,
    reset: str | None,
    reset_configuration: str | None,
    hidden: bool,
    idempotency_key: str | None,
    data_dir: str | None,
) -> int:
    """Give CUSTOMER each FEATURE by hand. A second grant of a feature takes the place of the first.

    Without --limit and --values it is without limit.

    Exit code 0: given; 3: refused by a rule, with its name.

    \b
    Examples:
      stigg-local promotion grant customer-acme feature-sso --period ONE_MONTH
      stigg-local promotion grant customer-acme feature-api-calls --limit 50000 --reset MONTH --until 2025-12-31
      stigg-local promotion grant customer-acme feature-regions --values eu,us,ap
    """
    if not features and not groups:
        raise click.UsageError("name a FEATURE or a --group")
    if until is not None and period not in (None, "CUSTOM"):
        raise click.UsageError(f"--until does not go with --period {period}")
    what: dict[str, Any] = {
        "usage_limit": None if limit is None else number(limit, "--limit"),
        # Values are compared exactly, so blanks are part of them.
        "enum_values": None if values is None else values.split(",") if values else [],
        "period": period,
        "custom_end_date": None if until is None else instant(until),
        "has_soft_limit": soft_limit or None,
        "reset_period": reset,
        "reset_period_configuration": reset_configuration,
        "is_visible": False if hidden else None,
    }
    what = {name: value for name, value in what.items() if value is not None}
    asked = [{"feature_id": feature, **what} for feature in features]
    asked += [{"feature_group_id": group, **what} for group in groups]
    with writer(data_dir, None, out) as client:
        made = client.grant_promotional_entitlements(customer, asked, idempotency_key=idempotency_key)
    if out.as_json:
        out.json({"promotionalEntitlements": [item.to_dict() for item in made]})
        return 0
    out.line(f"{customer} is given", "good")
    records.promotion_table(out, made)
    return 0


@promotion.command(short_help="Take them back.")
@click.argument("customer")
@click.argument("features", nargs=-1, metavar="FEATURE...")
@click.option("--group", "groups", metavar="GROUP", multiple=True, help="What a group gave; repeatable.")
@key_option
@data_dir_option
@json_option
@pass_output
def revoke(
    out: Output,
    *,
    customer: str,
    features: tuple[str, ...],
    groups: tuple[str, ...],
    idempotency_key: str | None,
    data_dir: str | None,
) -> int:
    """Take from CUSTOMER what was given by hand of each FEATURE: all that are named, or none.

    \b
    Example:
      stigg-local promotion revoke customer-acme feature-sso
    """
    if not features and not groups:
        raise click.UsageError("name a FEATURE or a --group")
    with writer(data_dir, None, out) as client:
        revoked = client.revoke_promotional_entitlements(
            customer, features, feature_group_ids=groups, idempotency_key=idempotency_key
        )
    if out.as_json:
        out.json({"featureIds": revoked})
    else:
        out.line(f"taken back from {customer}: {', '.join(revoked)}", "good")
    return 0


@promotion.command("list", short_help="What is in force.")
@click.argument("customer")
@data_dir_option
@json_option
@pass_output
def list_(out: Output, *, customer: str, data_dir: str | None) -> int:
    """List what CUSTOMER has by hand now.

    \b
    Example:
      stigg-local promotion list customer-acme
    """
    with reader(data_dir, None, out) as client:
        found = client.get_customer(customer).promotional_entitlements
    if out.as_json:
        out.json({"promotionalEntitlements": [item.to_dict() for item in found]})
    else:
        records.promotion_table(out, found)
    return 0
