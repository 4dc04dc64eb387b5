"""`subscription provision|update|cancel|get|list|active`: give, change, end and look at subscriptions."""

from typing import Any

import click

from stigg_local.cli import records
from stigg_local.cli.arguments import (
    addon_option,
    anchor_option,
    billing_period_option,
    changes,
    choice,
    instant,
    instant_or_none,
    key_option,
    metadata_option,
    page_options,
    pairs,
    promotion_code_option,
    quantities,
    schedule_option,
    subscription_arguments,
    subscription_options,
    units_option,
)
from stigg_local.cli.options import (
    Commands,
    data_dir_option,
    group_data_dir_option,
    json_option,
    pass_output,
    reader,
    writer,
)
from stigg_local.cli.output import Output
from stigg_local.cli.subscription_moves import cancel_updates, delegate, migrate, settle, transfer
from stigg_local.core.words import SubscriptionCancellationTime, SubscriptionStatus

CLEARED = {"promotion-code": "promotion_code", "metadata": "metadata"}


@click.group(cls=Commands, short_help="Give, change, cancel, move and list subscriptions.")
@group_data_dir_option
@json_option
def subscription() -> None:
    """Subscriptions of customers to plans.

    The command line collects no money: what is made here is due to nobody, as in an application without a payment
    provider. `settle` tells of payments that an application with one has begun.

    \b
    Examples:
      stigg-local subscription provision customer-acme plan-revvenu-growth --billing-period ANNUALLY
      stigg-local subscription list customer-acme
    """


@subscription.command(short_help="Give a customer a plan.")
@click.argument("customer")
@click.argument("plan")
@subscription_options
@click.option("--coupon", metavar="COUPON", help="A discount of this subscription, by its coupon.")
@metadata_option
@key_option
@data_dir_option
@json_option
@pass_output
def provision(
    out: Output,
    /,
    *,
    customer: str,
    plan: str,
    coupon: str | None,
    metadata: tuple[str, ...],
    idempotency_key: str | None,
    data_dir: str | None,
    **given: Any,
) -> int:
    """Give CUSTOMER a subscription to the latest version of PLAN.

    It ends the running one of the same product and resource when it starts. A plan with a default trial is trialed
    beside what runs, once for each product, unless --skip-trial says otherwise. A change that the product puts off is
    scheduled on the running subscription, which is what is shown then.

    Exit code 0: done; 3: refused by a rule, with its name.

    \b
    Examples:
      stigg-local subscription provision customer-acme plan-revvenu-growth --billing-period ANNUALLY --skip-trial
      stigg-local subscription provision customer-acme plan-revvenu-growth --billing-period ANNUALLY --start 2025-03-01
      stigg-local subscription provision customer-acme plan-revvenu-enterprise --entitlement feature-seats=25
      stigg-local subscription provision customer-acme plan-site-pro --billing-period MONTHLY --resource site-2
    """
    arguments = subscription_arguments(given)
    if coupon is not None:
        arguments["coupon_id"] = coupon
    if metadata:
        arguments["metadata"] = pairs(metadata, "--metadata")
    with writer(data_dir, None, out) as client:
        result = client.provision_subscription(customer, plan, idempotency_key=idempotency_key, **arguments)
    if out.as_json:
        out.json(result.to_dict())
        return 0
    if result.checkout_url is not None:
        out.line(f"{result.status}: {result.checkout_url}", "bad")
    if result.subscription is not None:
        records.show_subscription(out, result.subscription)
    return 0


@subscription.command(short_help="Change one in place.")
@click.argument("subscription")
@units_option
@addon_option
@click.option("--no-addons", is_flag=True, help="Take all add-ons away.")
@billing_period_option
@promotion_code_option
@metadata_option
@click.option("--cancel-at", metavar="DATE|none", help="When it ends; none takes that back.")
@click.option("--trial-until", metavar="DATE", help="When the running trial ends.")
@schedule_option
@anchor_option
@click.option("--clear", type=click.Choice(tuple(CLEARED)), multiple=True, help="Take it away; repeatable.")
@key_option
@data_dir_option
@json_option
@pass_output
def update(
    out: Output,
    *,
    subscription: str,
    units: tuple[str, ...],
    addons: tuple[str, ...],
    no_addons: bool,
    billing_period: str | None,
    promotion_code: str | None,
    metadata: tuple[str, ...],
    cancel_at: str | None,
    trial_until: str | None,
    schedule: str | None,
    billing_cycle_anchor: str | None,
    clear: tuple[str, ...],
    idempotency_key: str | None,
    data_dir: str | None,
) -> int:
    """Change what is named of SUBSCRIPTION; all else stays. Another plan is for `subscription provision`.

    --addon is the full list of add-ons from now on; of --units those that are not named stay. What lowers anything
    is a downgrade as a whole, at once or at the end of the billing period as the product says.

    \b
    Examples:
      stigg-local subscription update subscription-revvenu-growth-1a2b3c --units feature-seats=8
      stigg-local subscription update subscription-revvenu-growth-1a2b3c --addon addon-10k-calls=3 --metadata team=ops
      stigg-local subscription update subscription-revvenu-growth-1a2b3c --no-addons
      stigg-local subscription update subscription-revvenu-growth-1a2b3c --cancel-at 2025-06-30
      stigg-local subscription update subscription-revvenu-growth-1a2b3c --cancel-at none
    """
    if no_addons and addons:
        raise click.UsageError("--addon does not go with --no-addons")
    named: dict[str, Any] = {
        "billable_features": quantities(units, "--units", "feature_id") or None,
        "billing_period": billing_period,
        "promotion_code": promotion_code,
        "metadata": pairs(metadata, "--metadata") or None,
        "trial_end_date": None if trial_until is None else instant(trial_until),
        "schedule_strategy": schedule,
        "billing_cycle_anchor": billing_cycle_anchor,
    }
    if addons or no_addons:
        named["addons"] = quantities(addons, "--addon", "addon_id", default=1)
    arguments = changes(clear, CLEARED, named)
    if cancel_at is not None:
        arguments["cancellation_date"] = instant_or_none(cancel_at)
    if not arguments:
        raise click.UsageError("there is nothing to change: name an option")
    with writer(data_dir, None, out) as client:
        result = client.update_subscription(subscription, idempotency_key=idempotency_key, **arguments)
    return records.show_one(out, result)


@subscription.command(short_help="End one, now or later.")
@click.argument("subscription")
@click.option(
    "--time", type=choice(SubscriptionCancellationTime), show_default="what the product says", help="When it ends."
)
@click.option("--at", metavar="DATE", help="When it ends; stands for --time SPECIFIC_DATE.")
@click.option("--prorate/--no-prorate", default=None, help="Whether an end at once gives unused time back.")
@click.option("--revoke", is_flag=True, help="No free plan goes on after it.")
@key_option
@data_dir_option
@json_option
@pass_output
def cancel(
    out: Output,
    *,
    subscription: str,
    time: str | None,
    at: str | None,
    prorate: bool | None,
    revoke: bool,
    idempotency_key: str | None,
    data_dir: str | None,
) -> int:
    """End SUBSCRIPTION, when the product says or when it is said here. A trial ends at once.

    \b
    Examples:
      stigg-local subscription cancel subscription-revvenu-growth-1a2b3c
      stigg-local subscription cancel subscription-revvenu-growth-1a2b3c --at 2025-06-30
      stigg-local subscription cancel subscription-revvenu-growth-1a2b3c --time IMMEDIATE --revoke
    """
    if at is not None and time not in (None, "SPECIFIC_DATE"):
        raise click.UsageError(f"--at does not go with --time {time}")
    arguments: dict[str, Any] = {"cancellation_time": "SPECIFIC_DATE" if at is not None else time}
    if at is not None:
        arguments["end_date"] = instant(at)
    if revoke:
        arguments["action"] = "REVOKE_ENTITLEMENTS"
    with writer(data_dir, None, out) as client:
        result = client.cancel_subscription(
            subscription, prorate=prorate, idempotency_key=idempotency_key, **arguments
        )
    return records.show_one(out, result)


@subscription.command(short_help="One as it is now.")
@click.argument("subscription")
@data_dir_option
@json_option
@pass_output
def get(out: Output, *, subscription: str, data_dir: str | None) -> int:
    """Show SUBSCRIPTION as it is now, also one that has ended.

    \b
    Example:
      stigg-local subscription get subscription-revvenu-growth-1a2b3c
    """
    with reader(data_dir, None, out) as client:
        result = client.get_subscription(subscription)
    return records.show_one(out, result)


@subscription.command("list", short_help="All of a customer.")
@click.argument("customer")
@click.option(
    "--status", "statuses", type=choice(SubscriptionStatus), multiple=True, help="Only of this one; repeatable."
)
@page_options
@data_dir_option
@json_option
@pass_output
def list_(
    out: Output, *, customer: str, statuses: tuple[str, ...], limit: int, cursor: str | None, data_dir: str | None
) -> int:
    """List the subscriptions of CUSTOMER, newest first, those that have ended too.

    \b
    Examples:
      stigg-local subscription list customer-acme
      stigg-local subscription list customer-acme --status ACTIVE --status IN_TRIAL --json
    """
    with reader(data_dir, None, out) as client:
        page = client.get_subscriptions(customer, statuses=statuses or None, limit=limit, cursor=cursor)
    if out.as_json:
        out.json(page.to_dict())
        return 0
    out.table(records.SUBSCRIPTION_HEADER, [records.subscription_row(item) for item in page])
    records.more(out, page)
    return 0


@subscription.command(short_help="What entitles a customer now.")
@click.argument("customer")
@click.option("--resource", "resources", metavar="R", multiple=True, help="Those of this resource; repeatable.")
@data_dir_option
@json_option
@pass_output
def active(out: Output, *, customer: str, resources: tuple[str, ...], data_dir: str | None) -> int:
    """List what entitles CUSTOMER now: without a resource, or those of the resources that are named.

    \b
    Examples:
      stigg-local subscription active customer-acme
      stigg-local subscription active customer-acme --resource site-1 --json
    """
    with reader(data_dir, None, out) as client:
        found = client.get_active_subscriptions_list(customer, list(resources) or None)
    if out.as_json:
        out.json({"subscriptions": [item.to_dict() for item in found]})
    else:
        out.table(records.SUBSCRIPTION_HEADER, [records.slim_row(item) for item in found])
    return 0


for command in (cancel_updates, delegate, migrate, settle, transfer):
    subscription.add_command(command)
