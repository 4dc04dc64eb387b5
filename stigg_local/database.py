"""Bringing customers, subscriptions, promotions, credits and usage from a file into a directory, line by line.

Laws: a line is one command of the authority, never a row; each has an idempotency key, so a file that was stopped is
imported again from its beginning and counts once; what an export took out of the same directory is left aside; a line
that is refused stops no other one.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from msgspec import Struct

from stigg_local.client import Stigg
from stigg_local.core.ids import check_id, told
from stigg_local.errors import IdempotencyConflict, InvalidInput, StiggError, StoreError
from stigg_local.import_commands import KINDS
from stigg_local.store.digest import slot_of
from stigg_local.store.exchange import Line

# Commands that are under way at once share the disk's syncs; one customer's stay in the file's order.
WORKERS = 16
LINES_AT_ONCE = 1024


class Problem(Struct, frozen=True):
    """A line that was not imported, and why."""

    file: str
    line: int
    code: str
    message: str
    hint: str | None

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}: {self.code}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class Imported(Struct):
    """How an import went: lines that were read, done, left aside on purpose and refused."""

    read: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0


def import_lines(
    client: Stigg,
    kind: str,
    lines: Iterable[Line],
    *,
    file: str,
    key_prefix: str,
    on_problem: Callable[[Problem], None],
    on_read: Callable[[int], object] = lambda _: None,
) -> Imported:
    """Run one command for each line.

    Args:
        client: Where to; an embedded one.
        kind: One of `KINDS`.
        lines: From `stigg_local.store.exchange.read`.
        file: What problems call the file.
        key_prefix: A line without an `idempotency_key` gets `{key_prefix}:{line}`.
        on_problem: Told of each line that is refused, in the file's order.
        on_read: Told how many more lines are through.

    Raises:
        InvalidInput: No such kind, or a prefix that is no part of a key.
        StoreError: The directory failed; the same import goes on where it stopped.
    """
    if kind not in KINDS:
        raise InvalidInput(f"`{told(kind)}` cannot be imported", hint=f"one of {', '.join(KINDS)}")
    check_id(f"{key_prefix}:1000000000", "key_prefix")
    from concurrent.futures import ThreadPoolExecutor

    counts = Imported()
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="stigg-local-import") as pool:
        remaining = iter(lines)
        while chunk := list(islice(remaining, LINES_AT_ONCE)):
            queues: list[list[Line]] = [[] for _ in range(WORKERS)]
            for line in chunk:
                queues[_queue_of(line)].append(line)
            results = pool.map(lambda queue: _run(client, kind, queue, key_prefix), filter(None, queues))
            outcomes = {number: outcome for result in results for number, outcome in result}
            for line in chunk:
                _count(counts, line, outcomes[line.number], file, on_problem)
            on_read(len(chunk))
    return counts


def _queue_of(line: Line) -> int:
    found = line.fields or {}
    customer = found.get("customer_id") or found.get("customerId")
    return slot_of(customer) % WORKERS if isinstance(customer, str) and customer.isprintable() else 0


def _count(
    counts: Imported, line: Line, outcome: bool | StiggError, file: str, on_problem: Callable[[Problem], None]
) -> None:
    counts.read += 1
    if isinstance(outcome, StiggError):
        counts.failed += 1
        on_problem(Problem(file, line.number, outcome.code, outcome.message, outcome.hint))
    elif outcome:
        counts.done += 1
    else:
        counts.skipped += 1


def _run(client: Stigg, kind: str, lines: list[Line], key_prefix: str) -> list[tuple[int, bool | StiggError]]:
    outcomes: list[tuple[int, bool | StiggError]] = []
    for line in lines:
        outcome: bool | StiggError
        try:
            if line.fields is None:
                raise line.error or InvalidInput("the line cannot be read")
            outcome = KINDS[kind](client, line.fields, f"{key_prefix}:{line.number}")
        except IdempotencyConflict as error:
            outcome = IdempotencyConflict(
                f"the line's key was used before, for another line: {error.message}",
                hint="another --key-prefix where it is another file; to change what was imported, undo it first",
            )
        except StoreError:
            # Of the disk, not of the line: every other one would fail alike.
            raise
        except StiggError as error:
            outcome = error
        outcomes.append((line.number, outcome))
    return outcomes
