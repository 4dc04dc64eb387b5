"""How customers stand to features now, remembered from one report to the next.

Law: what is remembered is what would be found, for it holds for the same sources and catalog up to the next instant at
which a source or a window begins or ends.
"""

from msgspec import Struct

from stigg_local.core.catalog import Feature
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.entitlement import Winner, counting_windows, find_winner
from stigg_local.core.queued import next_boundary
from stigg_local.core.sources import Catalog

STANDINGS_MAX = 1000


class Standing(Struct, frozen=True):
    """How a customer stands to a feature at every instant of [from_ms, until_ms).

    Attributes:
        winner: The source that entitles; None where none does.
        is_active: Whether a subscription is in force.
        windows: The intervals whose counters a report of then belongs to.
    """

    catalog: Catalog
    snapshot: CustomerSnapshot
    winner: Winner | None
    is_active: bool
    windows: tuple[tuple[int, int], ...]
    from_ms: int
    until_ms: int


class Standings:
    """Those of the customers at work."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], Standing] = {}

    def of(
        self,
        catalog: Catalog,
        snapshot: CustomerSnapshot,
        feature: Feature,
        *,
        customer_id: str,
        resource_id: str,
        now_ms: int,
    ) -> Standing:
        """How a customer stands to a feature now."""
        key = customer_id, feature.id, resource_id
        known = self._found.get(key)
        if (
            known is not None
            and known.snapshot is snapshot
            and known.catalog is catalog
            and known.from_ms <= now_ms < known.until_ms
        ):
            return known
        winner, _, is_active, until_ms = find_winner(catalog, snapshot, feature, resource_id, now_ms)
        windows = tuple(
            counting_windows(catalog, snapshot, feature, resource_id=resource_id, at_ms=now_ms, now_ms=now_ms)
        )
        until_ms = min(until_ms, next_boundary(snapshot, now_ms), *(to_ms for _, to_ms in windows))
        if len(self._found) >= STANDINGS_MAX:
            self._found.clear()
        found = self._found[key] = Standing(catalog, snapshot, winner, is_active, windows, now_ms, until_ms)
        return found
