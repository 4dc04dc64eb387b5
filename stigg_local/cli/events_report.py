"""`events report`: raw events, one from the command line or many from a file."""

import re
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from stigg_local.cli.files import opened
from stigg_local.cli.options import data_dir_option, file_names, json_option, open_stored, pass_output
from stigg_local.cli.output import Output
from stigg_local.errors import InvalidInput, StiggError

BATCH = 1000
# How an error names one event of those of a call.
_EVENT = re.compile(r"events\[(\d+)\](\.?)")


@click.command(short_help="Record raw events.")
@click.argument("customer", required=False)
@click.argument("event", required=False)
@click.option(
    "--key",
    "--idempotency-key",
    "key",
    metavar="K",
    help="The idempotency key: the same event with the same key counts once.",
)
@click.option("--dimension", "dimensions", multiple=True, metavar="NAME=VALUE", help="Repeat it for several.")
@click.option("--resource", metavar="R", help="The resource whose usage it is.")
@click.option("--timestamp", metavar="T", help="When it happened, ISO-8601; default: now.")
@click.option(
    "--file", "path", metavar="F", shell_complete=file_names, help="Events as JSON lines; `-` for standard input."
)
@data_dir_option
@json_option
@pass_output
def report(
    out: Output,
    *,
    customer: str | None,
    event: str | None,
    key: str | None,
    dimensions: tuple[str, ...],
    resource: str | None,
    timestamp: str | None,
    path: str | None,
    data_dir: str | None,
) -> int:
    """Record that EVENT happened to CUSTOMER; the meters of the catalog say what it counts for.

    A VALUE that reads as a JSON number, true or false is that, anything else is text. Each line of a file is an event
    with customerId, eventName, idempotencyKey and, where there are any, resourceId, dimensions and timestamp. They are
    taken 1,000 at a time; a batch that is refused leaves those before it recorded, and the file can be given again:
    what is there already is ignored.

    \b
    Examples:
      stigg-local events report customer-acme login --key 227c1b73 --dimension user_id=user-01
      stigg-local events report --file events.ndjson
    """
    if path is None:
        if customer is None or event is None or key is None:
            raise click.UsageError("name CUSTOMER, EVENT and --key, or a --file of events")
        one: dict[str, Any] = {"customer_id": customer, "event_name": event, "idempotency_key": key}
        one |= {"resource_id": resource, "timestamp": timestamp, "dimensions": dict(map(_dimension, dimensions))}
        batches: Iterator[dict[int, Any]] = iter([{1: one}])
    else:
        if customer is not None or event is not None or key or dimensions or resource or timestamp:
            raise click.UsageError("--file goes alone: the events in it say the rest")
        batches = _batches(path)
    accepted = duplicates = 0
    with open_stored(data_dir) as client, out.progress("recording events") as bar:
        for batch in batches:
            try:
                result = client.report_events(list(batch.values()))
            except StiggError as error:
                if path is not None:
                    _name_line(error, list(batch), path)
                raise
            accepted, duplicates = accepted + result.accepted, duplicates + result.duplicates
            bar.advance(len(batch))
    if out.as_json:
        out.json({"accepted": accepted, "duplicates": duplicates, "durability": "disk"})
        return 0
    ignored = f", {duplicates:,} known already and ignored" if duplicates else ""
    out.line(f"recorded {accepted:,}{ignored}", "good")
    return 0


def _dimension(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.UsageError(f"--dimension is `{text[:60]}`, not NAME=VALUE")
    try:
        found = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value
    return name, found if isinstance(found, bool | int | float) else value


def _name_line(error: StiggError, lines: list[int], path: str) -> None:
    """Let an error say which line of the file it is about, in place of the event of the batch."""
    if lines[0] > 1:
        before = f"lines before {lines[0]} are recorded, and recording them again counts nothing"
        error.hint = f"{error.hint}; {before}" if error.hint else before
    about = _EVENT.search(error.message)
    if about is None:
        error.message = f"lines {lines[0]} to {lines[-1]} of `{path}`: {error.message}"
        return
    place = f"line {lines[int(about[1])]} of `{path}`" + (", " if about[2] else "")
    error.message = error.message[: about.start()] + place + error.message[about.end() :]


def _batches(path: str) -> Iterator[dict[int, Any]]:
    """The events of a file by their lines, so many at once."""
    try:
        with opened(path) as file:
            batch: dict[int, Any] = {}
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    batch[number] = msgspec.json.decode(line)
                except msgspec.DecodeError as error:
                    raise InvalidInput(f"line {number} of `{path}` is no JSON: {error}") from error
                if len(batch) == BATCH:
                    yield batch
                    batch = {}
            if batch:
                yield batch
    except OSError as error:
        raise InvalidInput(f"`{path}` cannot be read: {error.strerror}") from error
