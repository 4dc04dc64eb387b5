"""What is queued of a customer, folded over the stored numbers: usage and the credits that it costs.

Laws: a report counts in the windows of its own time, as when it is stored; a group that the rows hold already (its
transaction is not after theirs) is not counted again; what would be refused when stored does not count.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from stigg_local.core.catalog import Feature
from stigg_local.core.credit import Burn, Grant, burn, is_debt, overdraft_of, settle_debt, wallet, without_held
from stigg_local.core.entitlement import CounterKey, CustomerView, counting_windows, find_winner
from stigg_local.core.quantity import multiply, raw_to_decimal
from stigg_local.core.queued import QueuedReport, Subject, next_boundary
from stigg_local.core.sources import Catalog
from stigg_local.core.usage import add
from stigg_local.errors import StiggError
from stigg_local.store.queued import Pending


def folded(catalog: Catalog, view: CustomerView, pending: Pending, *, seq: int, now_ms: int) -> CustomerView:
    """The customer with the queued reports counted.

    Args:
        catalog: The compiled catalog.
        view: The stored numbers.
        pending: What was queued before they were read.
        seq: Number of the transaction that last changed the stored numbers.
        now_ms: The effective time.
    """
    items: list[tuple[QueuedReport, Subject]] = []
    for group, count in pending:
        if not 0 < group.seq <= seq:
            items += zip(group.items[:count], group.subjects[:count], strict=True)
    if not items:
        return view
    overlay = _Overlay(catalog, view, now_ms)
    for item, subject in items:
        try:
            overlay.count(item, subject)
        except StiggError:
            # It is refused in the same way when it is stored, and named in `status()` then.
            continue
    return replace(view, counters=overlay.counters, grants=tuple(overlay.grants))


class _Overlay:
    def __init__(self, catalog: Catalog, view: CustomerView, now_ms: int) -> None:
        self._catalog = catalog
        self._view = view
        self._now_ms = now_ms
        self.counters = dict(view.counters)
        self.grants: Sequence[Grant] = view.grants
        # Feature and resource -> from when until when these are the windows that count.
        self._places: dict[tuple[str, str], tuple[int, int, list[CounterKey]]] = {}

    def count(self, item: QueuedReport, subject: Subject) -> None:
        feature = self._catalog.features.get(subject.feature_id)
        if feature is None:
            return
        where = subject.place
        place = self._places.get(where)
        if place is None or not place[0] <= item.created_ms < place[1]:
            place = self._places[where] = self._place(feature, subject.resource_id, item.created_ms)
        moved = {
            key: (before, add(feature, before, item.behavior, item.value))
            for key in place[2]
            for before in (self.counters.get(key, 0),)
        }
        for key, (_, after) in moved.items():
            self.counters[key] = after
        if self._catalog.currencies:
            self._charge(feature, subject.resource_id, item, moved)

    def _place(self, feature: Feature, resource_id: str, at_ms: int) -> tuple[int, int, list[CounterKey]]:
        windows = counting_windows(
            self._catalog,
            self._view.snapshot,
            feature,
            resource_id=resource_id,
            at_ms=at_ms,
            now_ms=self._now_ms,
        )
        keys = [(resource_id, feature.id, from_ms, to_ms) for from_ms, to_ms in windows]
        boundary = next_boundary(self._view.snapshot, at_ms)
        return at_ms, min([boundary, *(key[3] for key in keys)]), keys

    def _charge(
        self, feature: Feature, resource_id: str, item: QueuedReport, moved: dict[CounterKey, tuple[int, int]]
    ) -> None:
        catalog, snapshot = self._catalog, self._view.snapshot
        winner, _, _, _ = find_winner(catalog, snapshot, feature, resource_id, item.created_ms)
        rate = None if winner is None else winner.contribution.rate
        currency = None if rate is None else catalog.currencies.get(rate.currency_id)
        if winner is None or rate is None or currency is None:
            return
        before, after = moved.get((resource_id, feature.id, winner.from_ms, winner.end_ms), (0, 0))
        if after <= before:
            return
        cost = multiply(raw_to_decimal(after - before, feature.scale), rate.amount, currency.scale)
        self._settle()
        place = {"resource_id": resource_id, "currency_id": currency.id}
        purse = wallet(
            catalog,
            snapshot,
            self.grants,
            at_ms=min(item.created_ms, self._now_ms),
            holds=self._view.holds,
            held_ms=self._now_ms,
            **place,
        )
        debt = next(
            (
                grant
                for grant in self.grants
                if is_debt(grant) and (grant.currency_id, grant.resource_id) == (currency.id, resource_id)
            ),
            overdraft_of(currency.id, resource_id, at_ms=self._now_ms, new_id=f"overdraft:{item.id}"),
        )
        self._take(without_held(burn(purse.grants, cost, overdraft=debt), purse.held))
        self._settle()

    def _settle(self) -> None:
        for debt in [grant for grant in self.grants if is_debt(grant)]:
            self._take(
                settle_debt(
                    self._catalog,
                    self._view.snapshot,
                    self.grants,
                    debt,
                    at_ms=self._now_ms,
                    holds=self._view.holds,
                )
            )

    def _take(self, burned: Burn) -> None:
        changed = {grant.id: grant for grant in burned.changed}
        self.grants = [changed.pop(grant.id, grant) for grant in self.grants]
        self.grants += changed.values()
