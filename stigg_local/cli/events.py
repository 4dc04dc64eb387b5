"""`events`: the log of what changed, listed and followed.

Law: following shows each event once and in order, whichever process writes it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from stigg_local.cli import records
from stigg_local.cli.arguments import options
from stigg_local.cli.events_report import report
from stigg_local.cli.options import Commands, data_dir_option, group_data_dir_option, json_option, pass_output, reader
from stigg_local.cli.output import Output
from stigg_local.cli.values import Known
from stigg_local.clock import SystemClock
from stigg_local.core.event import EVENT_TYPES

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from stigg_local.client import Stigg
    from stigg_local.core.event_result import EventResult

NEWEST = 20
LIMIT_MAX = 1000
# A person who stops it does not wait longer than this.
WAIT_S = 0.5

_FOLLOW = "--follow"


def _known_types(_: click.Context, incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in EVENT_TYPES if name.startswith(incomplete)]


_filter_options = options(
    click.option("--customer", metavar="CUSTOMER", help="Only this customer's."),
    click.option(
        "--type", "types", type=Known(_known_types), metavar="TYPE", multiple=True, help="Only these; repeatable."
    ),
)


class _Events(Commands):
    """A group of which one command goes by the name of an option, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if _FOLLOW in args and not any(word in self.commands for word in args):
            args = ["follow", *(word for word in args if word != _FOLLOW)]
        return super().parse_args(ctx, args)


@click.group(cls=_Events, short_help="What changed, when and by whom.")
@click.option(_FOLLOW, is_flag=True, help="The same as `stigg-local events follow`.")
@group_data_dir_option
@json_option
@click.pass_context
def events(context: click.Context, *, follow: bool) -> None:
    """The log of events: one for each change of a customer, a subscription or a promotion, written with the change.

    An event holds ids, never a name, an e-mail address or metadata.

    \b
    customer.                 created, updated, deleted, payment_failed
    subscription.             created, updated, canceled, expired
    trial.                    started, converted, expired
    promotional_entitlement.  granted, updated, revoked, expired
    entitlement.              usage_exceeded

    \b
    Examples:
      stigg-local events list --customer customer-acme
      stigg-local events --follow --last 1 --count 1
    """
    if follow and context.invoked_subcommand != "follow":
        raise click.UsageError(f"--follow does not go with {context.invoked_subcommand}")


@events.command("list", short_help="The newest, or all that came after one.")
@_filter_options
@click.option(
    "--limit", type=click.IntRange(1, LIMIT_MAX), default=NEWEST, show_default=True, metavar="N", help="At most N."
)
@click.option("--after", metavar="ID", help="Those that came after this event.")
@click.option("--first", is_flag=True, help="The oldest instead of the newest.")
@data_dir_option
@json_option
@pass_output
def list_(
    out: Output,
    *,
    customer: str | None,
    types: tuple[str, ...],
    limit: int,
    after: str | None,
    first: bool,
    data_dir: str | None,
) -> int:
    """List the newest events, oldest of them first.

    With --first or --after it goes through the log from the beginning, or from an event on; `next` of --json is the
    --after of the next page.

    \b
    Examples:
      stigg-local events list --limit 5
      stigg-local events list --type subscription.created --type subscription.canceled
      stigg-local events list --first --limit 100 --json
    """
    if after is not None and first:
        raise click.UsageError("--after does not go with --first")
    with reader(data_dir, None, out) as client:
        cursor = after if after is not None or first else _before_newest(client, limit, customer, types)
        page = client.get_events(cursor=cursor, limit=limit, customer_id=customer, types=types or None)
    if out.as_json:
        out.json(page.to_dict())
        return 0
    out.table(("id", "time", "type", "customer", "about", "by", "data"), [_row(event) for event in page])
    if len(page) == limit and (after is not None or first):
        records.more(out, page, "--after")
    return 0


@events.command(short_help="Show events as they come.")
@_filter_options
@click.option("--after", metavar="ID", show_default="those from now on", help="Begin with those after this event.")
@click.option("--last", type=click.IntRange(0, LIMIT_MAX), metavar="N", help="Begin with the newest N.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option("--seconds", type=click.FloatRange(min=0), metavar="S", help="End after S seconds.")
@data_dir_option
@json_option
@pass_output
def follow(
    out: Output,
    *,
    customer: str | None,
    types: tuple[str, ...],
    after: str | None,
    last: int | None,
    count: int | None,
    seconds: float | None,
    data_dir: str | None,
) -> int:
    """Show events as they come, one a line, whichever process makes the change; Ctrl-C ends it.

    With --json each line is an object; its `id` is the --after to go on from, so nothing is missed in between.

    \b
    Examples:
      stigg-local events follow --last 1 --count 1
      stigg-local events follow --customer customer-acme --last 1 --seconds 0.1
    """
    if after is not None and last is not None:
        raise click.UsageError("--after does not go with --last")
    clock, remaining = SystemClock(), count
    end = None if seconds is None else clock.monotonic() + seconds
    with reader(data_dir, None, out) as client:
        cursor = after if after is not None else _before_newest(client, last or 0, customer, types)
        while True:
            page = client.get_events(
                cursor=cursor,
                limit=LIMIT_MAX if remaining is None else min(remaining, LIMIT_MAX),
                customer_id=customer,
                types=types or None,
                wait_seconds=WAIT_S if end is None else max(0.0, min(WAIT_S, end - clock.monotonic())),
            )
            for event in page:
                if out.as_json:
                    out.json(event.to_dict())
                else:
                    out.line("  ".join(text for text in _row(event) if text))
            remaining = None if remaining is None else remaining - len(page)
            if remaining == 0 or (end is not None and clock.monotonic() >= end):
                return 0
            cursor = page.next


events.add_command(report)


def _before_newest(client: "Stigg", count: int, customer: str | None, types: Iterable[str]) -> str | None:
    """The place in the log before its newest events; None for its beginning."""
    embedded = client._embedded
    assert embedded is not None, "a data directory is open"
    return embedded.authority.audit.newest(limit=count, customer_id=customer, types=tuple(types) or None)


def _row(event: "EventResult") -> tuple[str, ...]:
    about = ", ".join(text for text in (event.subscription_id, event.feature_id) if text)
    moment = event.timestamp
    when = "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    return event.id or "", when, event.type, event.customer_id or "", about, event.actor, records.mapping(event.data)
