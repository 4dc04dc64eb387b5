"""Usage reports that were acknowledged before they are stored."""

from msgspec import Struct

from stigg_local.core.customer import CustomerSnapshot, SubscriptionSource
from stigg_local.core.meter import Dimension
from stigg_local.core.period import FOREVER_MS


class QueuedReport(Struct, gc=False, array_like=True):
    """One checked report, in the form in which a pack of measurements has it.

    Attributes:
        id: The measurement's id, made when it was acknowledged.
        behavior: DELTA or SET.
        value: Raw.
        created_ms: When it happened, stamped then.
    """

    id: str
    behavior: str
    value: int
    created_ms: int


class DimensionedReport(QueuedReport, gc=False, array_like=True):
    """A report with dimensions, of which there is one at least."""

    dimensions: dict[str, Dimension]


class Subject(Struct, gc=False):
    """What a report is of, and what there is to it that is not kept in the log.

    Attributes:
        feature_id: A metered feature.
        resource_id: Empty for none.
        is_plain: Its reports, any number of them, only add, and have no key.
        key: The caller's idempotency key; None where there is none.
        fingerprint: Of the call, for its key.
        reply: The stored result, for its key.
    """

    feature_id: str
    resource_id: str
    is_plain: bool
    key: str | None = None
    fingerprint: bytes = b""
    reply: bytes = b""

    @property
    def place(self) -> tuple[str, str]:
        """(resource_id, feature_id)."""
        return self.resource_id, self.feature_id


def next_boundary(snapshot: CustomerSnapshot, at_ms: int) -> int:
    """The first instant after `at_ms` at which a source begins, ends or begins to count."""
    until = FOREVER_MS
    for source in snapshot.sources:
        cut_ms = source.cut_ms if isinstance(source, SubscriptionSource) else 0
        for instant in (source.start_ms, source.end_ms, cut_ms):
            if at_ms < instant < until:
                until = instant
    return until
