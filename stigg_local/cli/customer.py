"""`customer`: provision, patch, look at, archive, erase, export and import customers."""

import json
import sys
from typing import Any

import click

from stigg_local.cli import records
from stigg_local.cli import rows as shared
from stigg_local.cli.arguments import (
    changes,
    key_option,
    metadata_option,
    options,
    page_options,
    pairs,
    subscription_arguments,
    subscription_options,
)
from stigg_local.cli.files import import_file
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

RUNNING = ("NOT_STARTED", "PAYMENT_PENDING", "IN_TRIAL", "ACTIVE")
CLEARED = {"name": "name", "email": "email", "coupon": "coupon_id", "metadata": "metadata"}

_identity_options = options(
    click.option("--name", metavar="TEXT", help="The customer's name."),
    click.option("--email", metavar="ADDRESS", help="The customer's e-mail address."),
    click.option("--coupon", metavar="COUPON", help="A discount of all that the customer has."),
    metadata_option,
    click.option("--clear", type=click.Choice(tuple(CLEARED)), multiple=True, help="Take it away; repeatable."),
)
_yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group(cls=Commands, short_help="Provision, patch, list, archive, export, import customers.")
@group_data_dir_option
@json_option
def customer() -> None:
    """Customers: who they are, what they have, and everything that is kept of them.

    \b
    Examples:
      stigg-local customer provision acme --name "Acme Ltd" --metadata region=eu
      stigg-local customer list --data-dir var/stigg
    """


@customer.command(short_help="Make a customer, or patch one, with a first subscription.")
@click.argument("customer")
@_identity_options
@click.option("--plan", metavar="PLAN", help="A first subscription; with the options of one.")
@click.option("--no-subscription", is_flag=True, help="None at all, whatever the product says.")
@subscription_options
@key_option
@data_dir_option
@json_option
@pass_output
def provision(
    out: Output,
    /,
    *,
    customer: str,
    plan: str | None,
    no_subscription: bool,
    idempotency_key: str | None,
    data_dir: str | None,
    **given: Any,
) -> int:
    """Make CUSTOMER, or patch one that exists.

    What a new customer starts with is what the product says: its free plan, a trial, or nothing, and only where it
    says nothing it is --plan. Without --plan it is the first product of the catalog that is asked. What is not named
    of a customer who exists stays.

    \b
    Examples:
      stigg-local customer provision acme --name "Acme Ltd" --email ops@acme.example --metadata region=eu
      stigg-local customer provision acme --no-subscription
      stigg-local customer provision acme --plan plan-site-pro --billing-period MONTHLY --resource site-1
    """
    arguments = _patch(given)
    asked = subscription_arguments(given)
    if plan is not None:
        if no_subscription:
            raise click.UsageError("--plan does not go with --no-subscription")
        arguments["subscription_params"] = {"plan_id": plan, **asked}
    elif asked:
        raise click.UsageError("options of a subscription go with --plan")
    elif no_subscription:
        arguments["subscription_params"] = None
    with writer(data_dir, None, out) as client:
        result = client.provision_customer(customer, idempotency_key=idempotency_key, **arguments)
    if out.as_json:
        out.json(result.to_dict())
        return 0
    records.show_customer(out, result.customer)
    if result.checkout_url is not None:
        out.line(f"to be paid for at {result.checkout_url}", "bad")
    out.line(f"decision: {result.subscription_decision_strategy}", "dim")
    if result.subscription is not None:
        records.show_subscription(out, result.subscription)
    return 0


@customer.command(short_help="Patch a customer.")
@click.argument("customer")
@_identity_options
@key_option
@data_dir_option
@json_option
@pass_output
def update(out: Output, /, *, customer: str, idempotency_key: str | None, data_dir: str | None, **given: Any) -> int:
    """Change what is named of CUSTOMER; all else stays.

    \b
    Examples:
      stigg-local customer update customer-acme --name "Acme Corporation" --metadata region=us
      stigg-local customer update customer-acme --coupon coupon-launch
      stigg-local customer update customer-acme --clear email --clear metadata
    """
    arguments = _patch(given)
    if not arguments:
        raise click.UsageError("there is nothing to change: name an option")
    with writer(data_dir, None, out) as client:
        result = client.update_customer(customer, idempotency_key=idempotency_key, **arguments)
    if out.as_json:
        out.json(result.to_dict())
    else:
        records.show_customer(out, result)
    return 0


def _patch(given: dict[str, Any]) -> dict[str, Any]:
    """What is named of a customer, as arguments; takes its options out of `given`."""
    named = {"name": given.pop("name"), "email": given.pop("email"), "coupon_id": given.pop("coupon")}
    named["metadata"] = pairs(given.pop("metadata"), "--metadata") or None
    return changes(given.pop("clear"), CLEARED, named)


@customer.command(short_help="A customer with promotions and subscriptions.")
@click.argument("customer")
@data_dir_option
@json_option
@pass_output
def get(out: Output, *, customer: str, data_dir: str | None) -> int:
    """Show CUSTOMER, and what there is of subscriptions that have not ended.

    With --json the customer alone; `subscription list` has the others.

    \b
    Example:
      stigg-local customer get customer-acme
    """
    with reader(data_dir, None, out) as client:
        found = client.get_customer(customer)
        subscriptions = () if out.as_json else client.get_subscriptions(customer, statuses=RUNNING).items
    if out.as_json:
        out.json(found.to_dict())
        return 0
    records.show_customer(out, found)
    if subscriptions:
        out.line("subscriptions")
        rows = [records.subscription_row(item) for item in subscriptions]
        out.table(records.SUBSCRIPTION_HEADER, rows, indent=2)
    return 0


@customer.command("list", short_help="Customers that are not archived.")
@page_options
@data_dir_option
@json_option
@pass_output
def list_(out: Output, *, limit: int, cursor: str | None, data_dir: str | None) -> int:
    """List customers that are not archived, in an order of their own, page by page.

    \b
    Examples:
      stigg-local customer list
      stigg-local customer list --limit 10 --cursor customer-a --json
    """
    with reader(data_dir, None, out) as client:
        page = client.get_customers(limit=limit, cursor=cursor)
    if out.as_json:
        out.json(page.to_dict())
        return 0
    header = ("id", "name", "e-mail", "coupon", "created", "metadata")
    out.table(header, [records.customer_row(item) for item in page])
    records.more(out, page)
    return 0


@customer.command(short_help="Take a customer out of use for good.")
@click.argument("customer")
@_yes_option
@key_option
@data_dir_option
@json_option
@pass_output
def archive(out: Output, *, customer: str, yes: bool, idempotency_key: str | None, data_dir: str | None) -> int:
    """Take CUSTOMER out of use for good: it cannot be undone, and the id is never used again.

    Subscriptions end now. Name, e-mail and metadata are gone from the record, stored replies and the log of events at
    once, and from the files within seconds. At a terminal it asks first.

    \b
    Example:
      stigg-local customer archive customer-acme --yes
    """
    _confirm(out, f"Archive `{customer}`? This cannot be undone, and the id is burnt.", yes=yes)
    with writer(data_dir, None, out) as client:
        archived = client.archive_customer(customer, idempotency_key=idempotency_key)
    if out.as_json:
        out.json({"customerId": archived})
    else:
        out.line(f"{archived} is archived", "good")
    return 0


@customer.command(short_help="Archive a customer and rewrite the files.")
@click.argument("customer")
@_yes_option
@key_option
@data_dir_option
@json_option
@pass_output
def erase(out: Output, *, customer: str, yes: bool, idempotency_key: str | None, data_dir: str | None) -> int:
    """Archive CUSTOMER, and rewrite the files before the command ends, so that no byte of the person is left.

    What `customer export` and `db export` wrote and backups are files of yours, and stay. Where a long read holds
    the log, a note says so, and the files are rewritten as soon as it lets go. At a terminal it asks first.

    \b
    Example:
      stigg-local customer erase customer-acme --yes
    """
    _confirm(out, f"Erase `{customer}`? This cannot be undone, and the id is burnt.", yes=yes)
    with writer(data_dir, None, out) as client, out.progress("rewriting files"):
        is_rewritten = client.erase_customer(customer, idempotency_key=idempotency_key)
    if out.as_json:
        out.json({"customerId": customer, "filesRewritten": is_rewritten})
        return 0
    out.line(f"{customer} is erased", "good")
    if not is_rewritten:
        out.note("a long read holds the log: the files are rewritten as soon as it lets go")
    return 0


def _confirm(out: Output, question: str, *, yes: bool) -> None:
    """Ask a person; a program is believed."""
    if yes or out.as_json or not sys.stdin.isatty():
        return
    if not click.confirm(question, err=True):
        raise click.UsageError("nothing was changed")


@customer.command(short_help="Everything that is kept of a customer.")
@click.argument("customer")
@click.option("-o", "--output", metavar="FILE", help="Where to, for the owner only; default: standard output.")
@data_dir_option
@json_option
@pass_output
def export(out: Output, *, customer: str, output: str | None, data_dir: str | None) -> int:
    """Write everything that is kept of CUSTOMER as JSON: record, subscriptions, usage, credits, events.

    \b
    Examples:
      stigg-local customer export customer-acme
      stigg-local customer export customer-acme --output acme.json
    """
    with reader(data_dir, None, out) as client:
        found = client.export_customer(customer)
    if output is None:
        if out.as_json:
            out.json(found)
        else:
            for line in json.dumps(found, indent=2).splitlines():
                out.line(line)
        return 0
    with shared.written(output) as file:
        json.dump(found, file, indent=2)
        file.write("\n")
    counts = {name: len(value) for name, value in found.items() if isinstance(value, list)}
    if out.as_json:
        out.json({"customerId": customer, "file": output, "counts": counts})
    else:
        out.line(f"{customer} is written to {output}", "good")
        records.fields(out, [(name, f"{count:,}") for name, count in counts.items()])
    return 0


@customer.command("import", short_help="Make or patch the customers of a file.")
@click.argument("file")
@click.option("--format", "text", type=click.Choice(("csv", "ndjson")), help="Default: by the file's ending.")
@click.option("--dry-run", is_flag=True, help="Try it on a private copy; the directory stays as it is.")
@data_dir_option
@json_option
@pass_output
def import_(out: Output, *, file: str, text: str | None, dry_run: bool, data_dir: str | None) -> int:
    """Make the customers of FILE (CSV or NDJSON; - for standard input), or patch those that exist.

    No subscription is made or changed; `db import customers` makes them too. Lines are carried out in order, 1,000
    in a transaction; the same file again changes nothing. A line that is refused is reported with its number, and
    the others go on; exit code 2 where there were any.

    \b
    customer_id     1 to 255 printable characters
    name, email     text; null in NDJSON takes it away, an empty cell in CSV leaves it as it is
    coupon_id       a coupon of the catalog
    metadata        a JSON object of texts; in CSV also a column of its own for each, like metadata.region

    \b
    Examples:
      stigg-local customer import customers.ndjson --dry-run
      stigg-local customer import customers.ndjson
    """
    from stigg_local.cli.customer_import import import_customers

    return import_file(
        out,
        file,
        "customers",
        lambda client, lines, refuse, moved: import_customers(
            client, lines, file=file, on_problem=refuse, on_sent=moved
        ),
        text=text,
        data_dir=data_dir,
        dry_run=dry_run,
    )
