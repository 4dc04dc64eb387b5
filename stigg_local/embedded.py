"""An authority and its reading side on one directory, as `Stigg(catalog=…)` and `Stigg(data_dir=…)` use them.

It wires store, compiled catalog, replica and authority together, applies a catalog file at most once, and removes
the temporary directory of a client without `data_dir`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from stigg_local.authority.catalog_source import apply_once
from stigg_local.clock import Clock, new_id
from stigg_local.core.answer import CREDIT
from stigg_local.core.entitlement import kind_of
from stigg_local.core.ids import ID_LENGTH_MAX, told
from stigg_local.core.reason import AccessDeniedReason
from stigg_local.core.sources import Catalog, CurrencyRef, FeatureRef
from stigg_local.edge.replica import MEMORY_LIMIT_BYTES, Replica
from stigg_local.errors import InvalidInput, StoreError
from stigg_local.store.catalog import CatalogReader
from stigg_local.store.environment import remember_environment, stored_environment
from stigg_local.store.store import CLOSE_WAIT_S, Store

if TYPE_CHECKING:
    from stigg_local.authority.authority import Authority
    from stigg_local.core.event import Event
    from stigg_local.core.payment import PaymentProvider

DEFAULT_ENVIRONMENT = "production"
MEMORY_LIMIT_BYTES_MIN = 1_000_000
# Looks of the keeper, of about a second each, before old usage is looked for.
LOOKS_TO_FOLD = 60
# Unknown ids that are warned of; an application that makes up ids is told often enough.
WARNED_MAX = 1000


class Known(Struct, frozen=True):
    """What the catalog knows of an id: the type of its answers, and what they show of it."""

    kind: str
    feature: FeatureRef | None
    currency: CurrencyRef | None


class Embedded:
    """The parts of an embedded client.

    Attributes:
        data_dir: The directory; a private one where the caller named none.
        store, catalogs, replica, authority: The parts.
    """

    _authority: "Authority | None"

    def __init__(
        self,
        *,
        catalog: str | os.PathLike[str] | Mapping[str, Any] | None,
        data_dir: str | None,
        environment: str | None,
        clock: Clock,
        memory_limit_bytes: int | None,
        provider: "PaymentProvider | None" = None,
        on_events: "Callable[[Sequence[Event]], None] | None" = None,
        usage_thresholds: tuple[int, ...] = (),
        usage_retention_days: int | None = None,
    ) -> None:
        if provider is not None:
            from stigg_local.core.payment import check_provider

            check_provider(provider)
        self._provider = provider
        self._on_events = on_events
        self._usage_thresholds = usage_thresholds
        self._usage_retention_days = usage_retention_days
        self._looks_to_fold = LOOKS_TO_FOLD
        self._temporary_pid: int | None = None
        if memory_limit_bytes is not None and (
            type(memory_limit_bytes) is not int or memory_limit_bytes < MEMORY_LIMIT_BYTES_MIN
        ):
            raise InvalidInput(
                f"memory_limit_bytes is `{told(memory_limit_bytes)}`",
                hint=f"a whole number from {MEMORY_LIMIT_BYTES_MIN:,}",
            )
        if data_dir is None:
            import tempfile

            data_dir = tempfile.mkdtemp(prefix="stigg-local-")
            self._temporary_pid = os.getpid()
        self.data_dir = data_dir
        self._catalog_error: StoreError | None = None
        self._warned: set[str] = set()
        self._authority = None
        try:
            self._open(catalog, environment, clock, memory_limit_bytes or MEMORY_LIMIT_BYTES)
        except BaseException:
            self._remove_temporary()
            raise

    def _open(
        self,
        catalog: str | os.PathLike[str] | Mapping[str, Any] | None,
        environment: str | None,
        clock: Clock,
        memory_limit_bytes: int,
    ) -> None:
        known = stored_environment(self.data_dir)
        if catalog is None and known is None:
            raise InvalidInput(
                f"`{self.data_dir}` holds no catalog", hint='pass catalog="catalog.toml" the first time'
            )
        wanted = environment or known
        if known is not None and wanted != known:
            raise InvalidInput(
                f"`{self.data_dir}` is of the environment `{known}`, not `{wanted}`",
                hint="use one directory for each environment",
            )
        # The store is not opened, and so no directory is made, for a catalog that has mistakes.
        source = None if catalog is None else apply_once(catalog, environment=wanted, is_new=known is None)
        name = wanted or (DEFAULT_ENVIRONMENT if source is None else source.environment)
        remember_environment(self.data_dir, name)
        self.store = Store.open(self.data_dir, environment=name, clock=clock)
        try:
            self.catalogs = CatalogReader(self.store)
            self.replica = Replica(
                self.store,
                self.catalogs,
                clock,
                memory_limit_bytes=memory_limit_bytes,
                repair=self._repair,
            )
            if source is not None and source.is_news(self.store):
                source.apply(self.store, self.authority)
            self.store.on_due(self._settle_due)
            self.store.add_tick(self._forget_holds)
            self.store.add_tick(self._fold_usage)
        except BaseException:
            self.store.close()
            raise

    @property
    def authority(self) -> "Authority":
        """What decides; imported and made at the first write, for most processes only read."""
        if self._authority is None:
            from stigg_local.authority.authority import Authority

            self._authority = Authority(self.store, self.catalogs, usage_retention_days=self._usage_retention_days)
            self._authority.runner.usage_thresholds = self._usage_thresholds
            self._authority.runner.provider = self._provider
            self._authority.runner.on_events = self._on_events
        return self._authority

    def _settle_due(self, now_ms: int) -> int:
        return self.authority.maintenance.settle_due(now_ms)

    def _fold_usage(self) -> dict[str, int]:
        self._looks_to_fold -= 1
        # The authority is not loaded for this before there may be something to do.
        return self.authority.retention.look() if self._looks_to_fold <= 0 else {}

    def tick(self) -> dict[str, Any]:
        """Do now what the leader does about once a second, all of it, and say what it did."""
        return self.store.tick() | self.authority.retention.do_all()

    def _forget_holds(self) -> dict[str, int]:
        end = self.store.read(lambda tx: tx.next_hold_end())
        if end is None or end > self.store.now_ms():
            return {"ended_holds": 0}
        return {"ended_holds": self.authority.reservations.forget_ended()}

    def after_fork(self) -> None:
        """In a child: a lock that another thread held at the fork is never released."""
        self.replica.after_fork()
        self.catalogs.after_fork()

    def confirm_clock(self) -> None:
        """Believe the wall clock as it is now, in this process and in every other one on the directory."""
        self.store.confirm_clock()
        self.store.write(
            lambda tx: tx.set_meta("clock_confirmed_ms", str(tx.now_ms)), operation="confirmClock", key=new_id()
        )
        self.replica.drop()

    def close(self) -> None:
        """Store what is queued and close the store; a temporary directory is removed by the process that made it.

        Raises:
            StoreError: Not everything that was queued could be stored in time.
        """
        wait_s = CLOSE_WAIT_S
        try:
            if self.store.queue is not None:
                self.store.queue.flush(wait_s)
        except StoreError:
            wait_s = 0.0
            raise
        finally:
            self._close(wait_s)

    def _close(self, wait_s: float) -> None:
        self.replica.close()
        self.store.remove_due(self._settle_due)
        self.store.remove_tick(self._fold_usage)
        self.store.remove_tick(self._forget_holds)
        try:
            self.store.close(wait_s)
        finally:
            self._remove_temporary()

    def catalog(self) -> Catalog:
        """The compiled catalog, the last good one where the stored one cannot be read."""
        try:
            catalog = self.replica.catalog()
        except StoreError as error:
            self._catalog_error = error
            return self.catalogs.last
        self._catalog_error = None
        return catalog

    def known(self, item_id: str) -> Known | None:
        """What the catalog knows of a feature or a credit currency."""
        catalog = self.catalog()
        feature = catalog.features.get(item_id)
        if feature is not None:
            return Known(kind_of(feature), catalog.refs[item_id], None)
        currency = catalog.currency_refs.get(item_id)
        return None if currency is None else Known(CREDIT, None, currency)

    def unanswered(self, kind: str | None, item_id: str) -> AccessDeniedReason:
        """Why the catalog has no answer of that type for an id; said once in the log."""
        if kind == CREDIT:
            reason = AccessDeniedReason.EntitlementNotFound
        elif item_id in self.catalog().features:
            reason = AccessDeniedReason.FeatureTypeMismatch
        else:
            reason = AccessDeniedReason.FeatureNotFound
        known = item_id[:ID_LENGTH_MAX]
        if known not in self._warned and len(self._warned) < WARNED_MAX:
            self._warned.add(known)
            from stigg_local.log import logger

            logger().warning(f"the catalog has no answer for `{told(known)}`: {reason.value}")
        return reason

    def last_error(self) -> str | None:
        """Why the last read failed of those whose cause is still there; None where every read went well."""
        failures = list(self.replica.failures.values())
        error = failures[-1] if failures else self._catalog_error
        return None if error is None else str(error)

    def _repair(self, customer_id: str) -> None:
        self.authority.runner.repair(customer_id)

    def _remove_temporary(self) -> None:
        if self._temporary_pid == os.getpid():
            import shutil

            self._temporary_pid = None
            shutil.rmtree(self.data_dir, ignore_errors=True)
