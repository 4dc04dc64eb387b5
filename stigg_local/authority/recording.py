"""One report of usage in the log and in the counters, and what it costs, whichever command brings it.

Law: the log, the counters, the thresholds that they cross and the credits that they cost change together.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from stigg_local.authority import numbers, thresholds
from stigg_local.authority.run import Runner, encode
from stigg_local.core.catalog import Feature
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.entitlement import Winner
from stigg_local.core.sources import Catalog
from stigg_local.store.known import has_measurement
from stigg_local.store.tx import Tx

Moved = dict[tuple[int, int], tuple[int, int]]
"""(from, to) -> (usage before, usage after) of every window that a report has moved, raw."""


class Recorded(Protocol):
    """A command that records usage of a feature."""

    @property
    def customer_id(self) -> str: ...

    @property
    def feature_id(self) -> str: ...

    @property
    def resource_id(self) -> str | None: ...


def trace_of(command: Recorded, measurement_id: str) -> Callable[[Tx, int], bool]:
    """What tells whether a transaction holds the measurement that a command makes."""

    def trace(tx: Tx, seq: int) -> bool:
        return has_measurement(
            tx, command.customer_id, command.resource_id or "", command.feature_id, seq, measurement_id
        )

    return trace


def record(
    runner: Runner,
    tx: Tx,
    catalog: Catalog,
    snapshot: CustomerSnapshot,
    feature: Feature,
    *,
    customer_id: str,
    resource_id: str,
    measurement_id: str,
    value: int,
    created_ms: int,
    is_late: bool,
    winner: Winner | None,
    behavior: str = "DELTA",
    dimensions: Mapping[str, Any] | None = None,
    windows: Iterable[tuple[int, int]] | None = None,
) -> Moved:
    """Count a report, keep it in the log and tell the threshold that it has crossed.

    Args:
        is_late, windows: As for `numbers.count`.
        winner: What is in force now.
    """
    moved = numbers.count(
        tx,
        catalog,
        snapshot,
        feature,
        customer_id=customer_id,
        resource_id=resource_id,
        behavior=behavior,
        value=value,
        created_ms=created_ms,
        is_late=is_late,
        windows=windows,
    )
    body = encode(dict(dimensions)) if dimensions else b""
    tx.append_measurement(customer_id, resource_id, feature.id, measurement_id, behavior, value, created_ms, body)
    thresholds.tell(
        runner, tx, customer_id=customer_id, resource_id=resource_id, feature=feature, winner=winner, moved=moved
    )
    return moved
