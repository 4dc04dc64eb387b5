"""`usage history`: how usage went, as a chart on the terminal and as a picture."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stigg_local.cli.arguments import instant as moment
from stigg_local.cli.options import (
    Commands,
    data_dir_option,
    group_data_dir_option,
    json_option,
    open_stored,
    pass_output,
)
from stigg_local.cli.output import Output
from stigg_local.cli.words import instant
from stigg_local.errors import InvalidInput

if TYPE_CHECKING:
    from stigg_local.core.usage_result import UsageHistory

WIDTH_MIN, WIDTH_MAX = 20, 200
ROWS_MAX = 20


@click.group(cls=Commands, short_help="How usage went.")
@group_data_dir_option
@json_option
def usage() -> None:
    """How usage went.

    \b
    Example:
      stigg-local usage history customer-acme feature-api-calls --from 2025-01-01
    """


@usage.command()
@click.argument("customer")
@click.argument("feature")
@click.option("--from", "start", required=True, metavar="T", help="From when on: a date or an ISO-8601 instant.")
@click.option("--to", "end", metavar="T", help="Until when; default: now.")
@click.option("--resource", metavar="R", help="The resource whose usage it is.")
@click.option("--svg", "picture", metavar="FILE", type=click.Path(path_type=Path), help="Write the chart there, too.")
@data_dir_option
@json_option
@pass_output
def history(
    out: Output,
    *,
    customer: str,
    feature: str,
    start: str,
    end: str | None,
    resource: str | None,
    picture: Path | None,
    data_dir: str | None,
) -> int:
    """How CUSTOMER's usage of FEATURE went: a chart, its resets and its last changes.

    In the row below the chart `^` is a reset of the period and `*` one of the subscription.

    \b
    Examples:
      stigg-local usage history customer-acme feature-api-calls --from 2025-01-01
      stigg-local usage history customer-acme feature-api-calls --from 2025-01-01 --svg usage.svg
    """
    with open_stored(data_dir) as client:
        found = client.get_usage_history(
            customer, feature, resource, start_date=moment(start), end_date=None if end is None else moment(end)
        )
    if picture is not None:
        from stigg_local.cli import chart

        try:
            picture.write_text(chart.svg(found, f"{feature} of {customer}"), "utf-8")
        except OSError as error:
            raise InvalidInput(f"`{picture}` cannot be written: {error.strerror}") from error
    if out.as_json:
        out.json(found.to_dict())
        return 0
    _show(out, found)
    if picture is not None:
        out.line(f"written to {picture}", "dim")
    return 0


def _show(out: Output, found: "UsageHistory") -> None:
    import shutil

    from stigg_local.cli import chart

    out.line(f"{found.feature_id} of {found.customer_id}", "title")
    if not found.points:
        out.line("no usage in this time")
        return
    width = max(WIDTH_MIN, min(WIDTH_MAX, shutil.get_terminal_size().columns - 16))
    is_plain = out.plain or "utf" not in (sys.stdout.encoding or "").lower()
    for line in chart.lines(found, width, is_plain=is_plain):
        out.line(line)
    begin, end = found.start_date, found.end_date
    assert begin is not None, "a history begins"
    assert end is not None, "a history ends"
    out.line(f"{instant(begin)} to {instant(end)}", "dim")
    rows = [
        (instant(point.timestamp), str(point.value), "reset" if point.is_reset_point else "")
        for point in found.points[-ROWS_MAX:]
    ]
    if len(found.points) > ROWS_MAX:
        out.line(f"the last {ROWS_MAX} of {len(found.points):,} changes:")
    out.table(("at", "usage", ""), rows)
