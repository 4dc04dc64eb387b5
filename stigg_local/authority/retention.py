"""Keeping the logs of usage bounded: what is old enough is folded into one row that stands for it.

Laws: folding changes no answer, because what a window that is open or may be opened by the catalog needs stays, and
what counts for ever is in the folded row; it goes by the time that has surely passed, never by a clock that cannot be
believed; usage of the time before is refused from then on, for whether it was counted cannot be told any more.
"""

from itertools import islice

from stigg_local.authority import metering
from stigg_local.authority.run import Runner
from stigg_local.clock import new_id
from stigg_local.core import meter as meters
from stigg_local.core.sources import Catalog
from stigg_local.core.usage import fold
from stigg_local.errors import StoreError
from stigg_local.store.event_log_rows import UsageEvent
from stigg_local.store.tx import Tx

_HOUR_MS = 3600 * 1000
_DAY_MS = 24 * _HOUR_MS
RETENTION_DAYS = 90
# The longest that a window of each reset period lasts.
_PERIOD_MAX_MS = {
    "HOUR": _HOUR_MS,
    "DAY": _DAY_MS,
    "WEEK": 7 * _DAY_MS,
    "MONTH": 31 * _DAY_MS,
    "YEAR": 366 * _DAY_MS,
}

# Rows in one transaction, and customers in one look: a writer waits no longer than for so many.
ROWS = 2000
CUSTOMERS = 200
# In looks of about a second: how often everything is looked at, and how soon after the start.
LOOKS = 3600
FIRST_LOOK = 90


class Retention:
    """What the leader does for the logs of usage.

    Attributes:
        days: How long usage is kept row by row; never shorter than what open windows need.
    """

    def __init__(self, runner: Runner, days: int | None) -> None:
        self._runner = runner
        self.days = RETENTION_DAYS if days is None else days
        self._looks = FIRST_LOOK
        self._after = ""
        self._before_ms = 0

    def look(self) -> dict[str, int]:
        """The leader's look, about once a second: now and then a page of customers."""
        self._looks -= 1
        if self._looks > 0:
            return {}
        if not self._after:
            self._before_ms = self._horizon()
        done, is_over = self._page(CUSTOMERS)
        self._looks = LOOKS if is_over else 1
        return {"folded_usage": done}

    def do_all(self) -> dict[str, int]:
        """Everything that is old enough, now."""
        self._after, self._before_ms = "", self._horizon()
        total, is_over = 0, False
        while not is_over:
            done, is_over = self._page(CUSTOMERS)
            total += done
        return {"folded_usage": total}

    def _horizon(self) -> int:
        """Before it, usage is folded; 0 where the clock cannot be believed."""
        store = self._runner.store
        if store.is_clock_suspect:
            return 0
        now_ms = store.now_ms()

        def read(tx: Tx) -> int:
            before_ms = now_ms - max(self.days * _DAY_MS, longest_window_ms(self._runner.catalog(tx)))
            open_ms = tx.open_window_ms(now_ms)
            return before_ms if open_ms is None else min(before_ms, open_ms)

        return max(0, store.read(read))

    def _page(self, limit: int) -> tuple[int, bool]:
        """Fold for one page of customers; returns how many rows, and whether that was the last page."""
        store, before_ms = self._runner.store, self._before_ms
        if before_ms <= 0:
            return 0, True
        page = store.read(lambda tx: tx.customer_ids(self._after, limit))
        done = 0
        for customer_id in page:
            try:
                while store.read(lambda tx, asked=customer_id: has_old_usage(tx, asked, before_ms)):  # type: ignore[misc]
                    folded = self._fold(customer_id, before_ms)
                    done += folded
                    if not folded:
                        break
            except StoreError as error:
                # One damaged customer holds up no other; whoever asks for him next repairs him.
                from stigg_local.log import logger

                logger().warning(f"the usage log of a customer was not folded: {error}")
        is_over = len(page) < limit
        self._after = "" if is_over else page[-1]
        return done, is_over

    def _fold(self, customer_id: str, before_ms: int) -> int:
        def work(tx: Tx) -> int:
            return fold_usage(tx, self._runner.catalog(tx), customer_id, min(before_ms, tx.mark_ms), ROWS)

        # Losing this to a power cut loses nothing, so it does not wait for the disk.
        return self._runner.write(work, operation="foldUsage", key=new_id(), durability="os")


def longest_window_ms(catalog: Catalog) -> int:
    """How long the longest usage window lasts that anything in the catalog can open."""
    periods = {
        entitlement.reset_period
        for package in catalog.packages.values()
        for entitlement, _ in package.entitlements.values()
    }
    return max((_PERIOD_MAX_MS.get(period or "", 0) for period in periods), default=0)


def has_old_usage(tx: Tx, customer_id: str, before_ms: int) -> bool:
    """Whether there is anything to fold or to delete for a customer."""
    for resource_id in tx.event_resources(customer_id):
        if next(tx.usage_events(customer_id, resource_id, 0, before_ms), None) is not None:
            return True
    for resource_id, feature_id in tx.has_measurements(customer_id):
        if len(tx.old_measurements(customer_id, resource_id, feature_id, before_ms, 2)) == 2:
            return True
    return tx.has_dead_meters(customer_id) or any(key[3] <= before_ms for key in tx.meters(customer_id))


def fold_usage(tx: Tx, catalog: Catalog, customer_id: str, before_ms: int, limit: int) -> int:
    """Fold at most about `limit` rows of what happened before `before_ms`; returns how many rows that was."""
    done = tx.delete_dead_members(customer_id, limit)
    tx.delete_thresholds_before(customer_id, before_ms)
    for key in tx.meters(customer_id):
        if key[3] <= before_ms:
            tx.delete_meter(customer_id, key)
            done += 1
    for resource_id in tx.event_resources(customer_id):
        taken = list(islice(tx.usage_events(customer_id, resource_id, 0, before_ms), max(0, limit - done)))
        if taken:
            _fold_events(tx, catalog, customer_id, resource_id, taken)
            for feature_id in metering.meters_of(catalog):
                tx.delete_counters_before(customer_id, resource_id, feature_id, tx.mark_ms)
            done += len(taken)
    for resource_id, feature_id in sorted(tx.has_measurements(customer_id)):
        feature = catalog.features.get(feature_id)
        old = tx.old_measurements(customer_id, resource_id, feature_id, before_ms, max(0, limit - done))
        if feature is None or len(old) < 2:
            continue
        usage = fold(feature, ((row.behavior, row.value) for row in old))
        # The counters of windows that are over may be made of rows that go now; those of open windows are not.
        tx.delete_counters_before(customer_id, resource_id, feature_id, tx.mark_ms)
        tx.replace_measurements(customer_id, resource_id, feature_id, old[-1], usage)
        done += len(old)
    if done:
        tx.put_usage_from(before_ms)
    return done


def _fold_events(tx: Tx, catalog: Catalog, customer_id: str, resource_id: str, taken: list[UsageEvent]) -> None:
    replaced: dict[str, tuple[bytes, ...]] = {}
    added: dict[str, tuple[bytes, ...]] = {}
    for feature_id, metering_ in metering.meters_of(catalog).items():
        base, members = metering.folded(tx, metering_, customer_id, resource_id)
        new: set[bytes] = set()
        aggregate = meters.fold(metering_.meter, metering.readable(taken), new)
        if metering_.meter.is_set:
            # Sets grow by what is new: what was folded before stays as it is.
            added[feature_id] = metering.folded_bodies(metering_, aggregate, new - members)
        elif aggregate.count:
            replaced[feature_id] = metering.folded_bodies(metering_, metering_.meter.join(base, aggregate), set())
    tx.replace_events(customer_id, resource_id, taken, replaced, added)
