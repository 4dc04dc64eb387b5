"""`subscription cancel-updates|migrate|transfer|delegate|settle`: what becomes of subscriptions that are there."""

import click

from stigg_local.cli import records
from stigg_local.cli.arguments import choice, key_option
from stigg_local.cli.options import data_dir_option, json_option, pass_output, writer
from stigg_local.cli.output import Output
from stigg_local.core.words import SubscriptionMigrationTime

WAITING = ("Scheduled", "PendingPayment")


@click.command("cancel-updates", short_help="Take back the changes that wait.")
@click.argument("subscription")
@click.option(
    "--status", type=click.Choice(WAITING, case_sensitive=False), default="Scheduled", help="What they wait for."
)
@key_option
@data_dir_option
@json_option
@pass_output
def cancel_updates(
    out: Output, *, subscription: str, status: str, idempotency_key: str | None, data_dir: str | None
) -> int:
    """Take back all changes of SUBSCRIPTION that wait for their time, or for their payment.

    \b
    Examples:
      stigg-local subscription cancel-updates subscription-revvenu-growth-1a2b3c
      stigg-local subscription cancel-updates subscription-revvenu-growth-1a2b3c --status Scheduled --json
    """
    with writer(data_dir, None, out) as client:
        result = client.cancel_subscription_scheduled_updates(
            subscription, status=status, idempotency_key=idempotency_key
        )
    if out.as_json:
        out.json(result.to_dict())
    else:
        out.line(f"{result.subscription_id}: the changes that waited are taken back", "good")
    return 0


@click.command(short_help="Move one to the latest versions.")
@click.argument("subscription")
@click.option(
    "--time", type=choice(SubscriptionMigrationTime), default="END_OF_BILLING_PERIOD", help="When it is moved."
)
@key_option
@data_dir_option
@json_option
@pass_output
def migrate(out: Output, *, subscription: str, time: str, idempotency_key: str | None, data_dir: str | None) -> int:
    """Move SUBSCRIPTION to the latest version of its plan and add-ons, entitlements and prices.

    Exit code 3: it is on the latest version already, or to be moved already.

    \b
    Examples:
      stigg-local subscription migrate subscription-revvenu-growth-1a2b3c
      stigg-local subscription migrate subscription-revvenu-growth-1a2b3c --time IMMEDIATE
    """
    with writer(data_dir, None, out) as client:
        result = client.migrate_subscription_to_latest(
            subscription, subscription_migration_time=time, idempotency_key=idempotency_key
        )
    return records.show_one(out, result)


@click.command(short_help="Move one to another resource.")
@click.argument("subscription")
@click.argument("resource")
@key_option
@data_dir_option
@json_option
@pass_output
def transfer(
    out: Output, *, subscription: str, resource: str, idempotency_key: str | None, data_dir: str | None
) -> int:
    """Move SUBSCRIPTION to another RESOURCE of its customer.

    \b
    Example:
      stigg-local subscription transfer subscription-site-pro-7a8b9c site-2
    """
    with writer(data_dir, None, out) as client:
        result = client.transfer_subscription(subscription, resource, idempotency_key=idempotency_key)
    return records.show_one(out, result)


@click.command(short_help="Hand one over to another customer.")
@click.argument("subscription")
@click.argument("customer")
@key_option
@data_dir_option
@json_option
@pass_output
def delegate(
    out: Output, *, subscription: str, customer: str, idempotency_key: str | None, data_dir: str | None
) -> int:
    """Hand SUBSCRIPTION over to CUSTOMER; who had it until now goes on paying.

    \b
    Example:
      stigg-local subscription delegate subscription-revvenu-growth-1a2b3c customer-globex
    """
    with writer(data_dir, None, out) as client:
        result = client.delegate_subscription(subscription, customer, idempotency_key=idempotency_key)
    return records.show_one(out, result)


@click.command(short_help="Tell that a payment came in, or failed.")
@click.argument("subject", metavar="SUBSCRIPTION|URL")
@click.argument("outcome", type=click.Choice(("PAID", "FAILED"), case_sensitive=False))
@click.option("--error-message", metavar="TEXT", help="Why it failed.")
@key_option
@data_dir_option
@json_option
@pass_output
def settle(
    out: Output,
    *,
    subject: str,
    outcome: str,
    error_message: str | None,
    idempotency_key: str | None,
    data_dir: str | None,
) -> int:
    """Tell what became of the open payment of SUBSCRIPTION, or of the checkout page at URL: PAID or FAILED.

    It is what a webhook of the billing system tells. A checkout that is given up leaves no subscription.

    Exit code 3: there is nothing to pay.

    \b
    Examples:
      stigg-local subscription settle subscription-revvenu-growth-4d5e6f PAID
      stigg-local subscription settle subscription-revvenu-growth-4d5e6f FAILED --error-message "card declined"
    """
    with writer(data_dir, None, out) as client:
        result = client.payments.settle(subject, outcome, error_message=error_message, idempotency_key=idempotency_key)
    if result is not None:
        return records.show_one(out, result)
    if out.as_json:
        out.json({"subscription": None})
    else:
        out.line("the checkout is given up; no subscription was made")
    return 0
