"""Usage reports that were acknowledged before they are stored."""

from msgspec import Struct

from stigg_local.core.customer import CustomerSnapshot, SubscriptionSource
from stigg_local.core.period import FOREVER_MS


class QueuedReport(Struct, gc=False):
    """One checked report.

    Attributes:
        id: The measurement's id, made when it was acknowledged.
        feature_id: A metered feature.
        resource_id: Empty for none.
        behavior: DELTA or SET.
        value: Raw.
        created_ms: When it happened, stamped then.
        body: The dimensions as they are stored.
        key: The caller's idempotency key; None where there is none.
        fingerprint: Of the call, for its key.
        reply: The stored result, for its key.
    """

    id: str
    feature_id: str
    resource_id: str
    behavior: str
    value: int
    created_ms: int
    body: bytes = b""
    key: str | None = None
    fingerprint: bytes = b""
    reply: bytes = b""


def next_boundary(snapshot: CustomerSnapshot, at_ms: int) -> int:
    """The first instant after `at_ms` at which a source begins, ends or begins to count."""
    until = FOREVER_MS
    for source in snapshot.sources:
        cut_ms = source.cut_ms if isinstance(source, SubscriptionSource) else 0
        for instant in (source.start_ms, source.end_ms, cut_ms):
            if at_ms < instant < until:
                until = instant
    return until
