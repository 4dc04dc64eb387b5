"""How customers stand to features now, remembered from one report to the next.

Law: what is remembered is what would be found, for it holds for the same sources and catalog up to the next instant at
which a source or a window begins or ends.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from stigg_local.authority.usage_check import metered_feature
from stigg_local.core.catalog import Feature
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.entitlement import Winner, counting_windows, find_winner
from stigg_local.core.queued import next_boundary
from stigg_local.core.sources import Catalog
from stigg_local.store.tx import Tx

if TYPE_CHECKING:
    from stigg_local.authority.run import Runner

STANDINGS_MAX = 1000


class Standing(Struct, frozen=True):
    """How a customer stands to a feature, which reports may feed, at every instant of [from_ms, until_ms).

    Attributes:
        raw: The snapshot's bytes.
        winner: The source that entitles; None where none does.
        is_active: Whether a subscription is in force.
        windows: The intervals whose counters a report of then belongs to.
    """

    catalog: Catalog
    raw: bytes | None
    snapshot: CustomerSnapshot
    feature: Feature
    winner: Winner | None
    is_active: bool
    windows: tuple[tuple[int, int], ...]
    from_ms: int
    until_ms: int


class Standings:
    """Those of the customers at work."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._found: dict[tuple[str, str, str | None], Standing] = {}

    def of(self, tx: Tx, catalog: Catalog, customer_id: str, feature_id: str, resource_id: str | None) -> Standing:
        """How a customer stands to a feature now.

        Raises:
            NotFound: The customer, resource or feature does not exist.
            NotAllowed: The feature is not metered, or fed by raw events.
        """
        raw, now_ms = tx.customer_snapshot(customer_id), tx.now_ms
        key = customer_id, feature_id, resource_id
        known = self._found.get(key)
        if (
            known is not None
            and known.raw == raw
            and known.catalog is catalog
            and known.from_ms <= now_ms < known.until_ms
        ):
            return known
        snapshot = self._runner.snapshot(tx, customer_id, resource_id)
        feature, place = metered_feature(catalog, feature_id), resource_id or ""
        winner, _, is_active, until_ms = find_winner(catalog, snapshot, feature, place, now_ms)
        windows = tuple(counting_windows(catalog, snapshot, feature, resource_id=place, at_ms=now_ms, now_ms=now_ms))
        until_ms = min(until_ms, next_boundary(snapshot, now_ms), *(to_ms for _, to_ms in windows))
        if len(self._found) >= STANDINGS_MAX:
            self._found.clear()
        found = self._found[key] = Standing(
            catalog, raw, snapshot, feature, winner, is_active, windows, now_ms, until_ms
        )
        return found
