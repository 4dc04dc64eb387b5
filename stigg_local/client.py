"""`Stigg`: what an application imports. Wiring, lifecycle, writes and listeners; the rules are in `core`."""

import atexit
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from stigg_local.clock import Clock, SystemClock
from stigg_local.core.fallback import Fallbacks, parse_fallbacks
from stigg_local.core.ids import check_id, told
from stigg_local.core.usage import USAGE_THRESHOLDS, check_retention, check_thresholds
from stigg_local.customer_calls import CustomerCalls
from stigg_local.embedded import Embedded
from stigg_local.errors import InvalidInput, StiggError
from stigg_local.getters import FallbackInput, Quantity
from stigg_local.listeners import Listeners
from stigg_local.product_calls import ProductCalls
from stigg_local.subscription_calls import SubscriptionCalls
from stigg_local.usage_calls import UsageCalls
from stigg_local.writing import check_queue, flush_on_termination, report_durability_level

if TYPE_CHECKING:
    from stigg_local.aio import AsyncStigg
    from stigg_local.catalog_calls import CatalogCalls
    from stigg_local.core.explanation import Explanation
    from stigg_local.core.payment import PaymentProvider
    from stigg_local.status import Status

CatalogInput = str | os.PathLike[str] | Mapping[str, Any]


# Calls that succeed offline and do nothing, and those that need an authority: the other methods of the Node.js SDK.
_QUIET_OFFLINE = frozenset({"report_event", "report_events"})
_ELSEWHERE = frozenset(
    "estimate_subscription estimate_subscription_update get_automatic_recharge_configuration "
    "save_automatic_recharge_configuration governance report_usage_bulk get_usage_history".split()
)


class Stigg(CustomerCalls, SubscriptionCalls, UsageCalls, ProductCalls):
    """An entitlement engine in this process.

    Args:
        catalog: A catalog file (TOML or JSON) or a mapping: this process is its own authority. With `data_dir`
            alone, the catalog stored there is used.
        data_dir: Where the state lives. Without it: a private temporary directory, removed at exit.
        api_key: Accepted and not used by an embedded or offline client.
        environment: Default: the catalog's, or the one stored in `data_dir`.
        offline: Answer from fallback values alone.
        entitlements_fallback: Feature id -> fallback value, in the seed's words.
        credit_entitlements_fallback: Currency id -> fallback value.
        fallback_file: A TOML or JSON file of fallback values, followed while it changes; it goes before the two
            dictionaries, id by id.
        durability: Level of writes: "disk" survives a power cut, "os" a killed process; with "queued" reports of usage
            return at once and are stored in batches, and everything else is "disk".
        queue_size: How many queued reports may wait to be stored; default 16,384. The first client of a directory in
            a process decides.
        queue_wait_seconds: How long a report waits for room in the queue before it raises `UsageQueueFull`; default 1.
        memory_limit_bytes: Bound of what is held in memory of customers.
        payment_provider: Who collects what subscriptions cost (`stigg_local.PaymentProvider`); without one nothing is
            ever due.
        usage_thresholds: Percentages of a limit; crossing one is told to `entitlement.usage_exceeded` listeners and
            in the event log, the highest crossed alone, once in a usage window. Empty: none.
        usage_retention_days: How long events and reports are kept one by one before what they come to is all that is
            kept, which changes no answer; never shorter than what usage windows need. Usage of the time before is
            refused then, and the keys of events are forgotten with them. Default: 90.
        clock: Another clock, for tests: `stigg_local.testing.ManualClock`.

    Raises:
        InvalidInput: An argument is wrong, or neither `catalog`, `data_dir` nor `offline` says what to answer from.
        CatalogInvalid: The catalog has mistakes; all of them are in `.problems`.
        StoreError: The directory cannot be used.
    """

    def __init__(
        self,
        *,
        catalog: CatalogInput | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        api_key: str | None = None,
        environment: str | None = None,
        offline: bool = False,
        entitlements_fallback: Mapping[str, Any] | None = None,
        credit_entitlements_fallback: Mapping[str, Any] | None = None,
        fallback_file: str | os.PathLike[str] | None = None,
        durability: str = "disk",
        queue_size: int | None = None,
        queue_wait_seconds: float | None = None,
        memory_limit_bytes: int | None = None,
        payment_provider: "PaymentProvider | None" = None,
        usage_thresholds: Sequence[int] = USAGE_THRESHOLDS,
        usage_retention_days: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        if api_key is not None and not isinstance(api_key, str):
            raise InvalidInput("api_key is not text")
        if environment is not None:
            check_id(environment, "environment")
        if not offline and catalog is None and data_dir is None:
            raise InvalidInput(
                "there is nothing to answer from",
                hint='pass catalog="catalog.toml", data_dir= with a stored catalog, or offline=True',
            )
        if offline and catalog is not None:
            raise InvalidInput("offline answers from fallback values alone", hint="leave catalog or offline out")
        self._report_durability = report_durability_level(durability)
        self._durability = "disk" if self._report_durability == "queued" else self._report_durability
        self._queue_size, self._queue_wait_s = check_queue(queue_size, queue_wait_seconds)
        self._desk = None
        self._clock: Clock = clock or SystemClock()
        self._closed = False
        self._fallbacks = Fallbacks(
            parse_fallbacks(entitlements_fallback, where="entitlements_fallback"),
            parse_fallbacks(credit_entitlements_fallback, where="credit_entitlements_fallback"),
        )
        self._fallback_file = None
        self._listeners = Listeners()
        # What the getters touch on a hit; an offline client's memo stays empty.
        self._memo: dict[str, Any] = {}
        self._generation: Any = ()
        self._time = self._clock.time
        self._embedded = None
        if fallback_file is not None:
            from stigg_local.edge.fallback_file import FallbackFile

            self._fallback_file = FallbackFile(fallback_file)
        try:
            if not offline:
                self._embedded = Embedded(
                    catalog=catalog,
                    data_dir=None if data_dir is None else _path(data_dir, "data_dir"),
                    environment=environment,
                    clock=self._clock,
                    memory_limit_bytes=memory_limit_bytes,
                    provider=payment_provider,
                    on_events=self._happened,
                    usage_thresholds=check_thresholds(usage_thresholds),
                    usage_retention_days=check_retention(usage_retention_days),
                )
                self._memo = self._embedded.replica.memo
                self._generation = self._embedded.store.generation
        except BaseException:
            if self._fallback_file is not None:
                self._fallback_file.close()
            raise
        if self._embedded is not None and self._report_durability == "queued":
            flush_on_termination()
        _clients.add(self)

    @classmethod
    def initialize(cls, **arguments: Any) -> Self:
        """The same as `Stigg(…)`, under the seed's name."""
        return cls(**arguments)

    # ------------------------------------------------------------------ lifecycle

    def wait_for_initialization(self, timeout: float | None = None) -> Self:
        """Return when answers are available.

        An embedded or offline client has them when its constructor returns, so `timeout` is not needed there.

        Raises:
            ClientClosed: The client is closed.
        """
        del timeout
        self._check_open()
        return self

    def close(self) -> None:
        """Let go of files and threads; what was acknowledged is on disk. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._desk = None
        self._memo = {}
        self._generation = ()
        if self._fallback_file is not None:
            self._fallback_file.close()
        if self._embedded is not None:
            self._embedded.close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "offline" if self._embedded is None else f"data_dir={self._embedded.data_dir!r}"
        return f"Stigg({where}{', closed' if self._closed else ''})"

    @property
    def aio(self) -> "AsyncStigg":
        """Awaitable twins of every call that does I/O: `await client.aio.report_usage(…)`."""
        from stigg_local.aio import AsyncStigg

        return AsyncStigg(self)

    @property
    def catalog(self) -> "CatalogCalls":
        """`apply`, `diff`, `validate` and `show` of the catalog."""
        from stigg_local.catalog_calls import CatalogCalls

        return CatalogCalls(self._authority("catalog"), self._entitlements_changed)

    def status(self) -> "Status":
        """What state the client is in; never raises."""
        from stigg_local.status import status_of

        return status_of(self._embedded, self._fallback_file, closed=self._closed)

    def explain(
        self,
        customer_id: str,
        feature_id: str,
        resource_id: str | None = None,
        requested_usage: Quantity = 0,
        requested_values: Sequence[str] = (),
        dimensions: Mapping[str, Any] | None = None,
        fallback: FallbackInput = None,
    ) -> "Explanation":
        """Why `get_entitlement` answers as it does and, where it denies, the nearest ways to yes.

        Every way is found by running the rules on a copy of the customer and asking the same question again;
        nothing is changed. Missing data is explained, too: nothing but wrong arguments raises.

        Args:
            customer_id, feature_id, resource_id, requested_usage, requested_values, dimensions, fallback: As for
                `get_entitlement`.

        Returns:
            `.entitlement` (the answer itself), `.sources` (and `.winner`), `.counter`, `.credits`, `.ways`; `str()`
            of it is a tree for people, `to_dict()` is for programs.

        Raises:
            InvalidInput, ClientClosed: As `get_entitlement`.
        """
        from stigg_local.explain_calls import explain

        del dimensions
        return explain(self, None, customer_id, feature_id, resource_id, requested_usage, requested_values, fallback)

    def preload(self) -> int:
        """Read every customer into memory in compact form; returns how many. Offline: 0."""
        self._check_open()
        return 0 if self._embedded is None else self._embedded.replica.preload()

    def confirm_clock(self) -> None:
        """Believe the wall clock, after it ran more than a day ahead of what can be believed without asking.

        Until then answers follow the wall clock, `status().clock_suspect` says so, and nothing is forgotten that
        the clock's return would bring back.
        """
        self._authority("confirm_clock").confirm_clock()

    def __getattr__(self, name: str) -> Any:
        # Asked for only where there is no such attribute. Offline, calls of other deployments say what they need.
        if self.__dict__.get("_embedded", self) is None and name in _QUIET_OFFLINE | _ELSEWHERE:
            return lambda *_, **__: self._offline(name)
        raise AttributeError(f"`Stigg` has no `{name}`")

    def tick(self) -> dict[str, Any]:
        """Do now what the maintenance tick would do; returns what it did."""
        return self._authority("tick").tick()

    # ------------------------------------------------------------------ listeners

    def add_listener(self, event: str, listener: Callable[[Any], object]) -> None:
        """Call `listener` after every change made through this client.

        Args:
            event: "entitlementsUpdated" (its argument has `.customer_id` and `.entitlements`), "usageUpdated"
                (`.entitlement` and `.usage`), or a type of the log of events, like "subscription.created" (an event
                as `get_events` gives it).
            listener: Called in the writer's thread after the commit; an exception in it is logged once.

        Raises:
            InvalidInput: Another event.
        """
        self._check_open()
        self._listeners.add(event, listener)

    def remove_listener(self, event: str, listener: Callable[[Any], object]) -> None:
        """Stop calling a listener; one that is not there is no error."""
        self._listeners.remove(event, listener)

    # ------------------------------------------------------------------ inside

    def _offline(self, name: str) -> None:
        """Reported events are not kept; everything else needs an authority."""
        self._check_open()
        if name not in _QUIET_OFFLINE:
            self._authority(name)


def _path(value: object, name: str) -> str:
    try:
        path = os.fspath(value)  # type: ignore[call-overload]
        if isinstance(path, str) and path and "\0" not in path and os.fsencode(path):
            return path
    except (TypeError, UnicodeEncodeError):
        pass
    raise InvalidInput(f"{name} is `{told(value)}`, not a path", hint="pass a str or a pathlib.Path")


_clients: "weakref.WeakSet[Stigg]" = weakref.WeakSet()


def _close_all() -> None:
    for client in list(_clients):
        try:
            client.close()
        except StiggError:
            # Nobody is left to hear of it, and what was acknowledged is on disk already.
            continue


def _after_fork_in_child() -> None:
    for client in list(_clients):
        if client._embedded is not None:
            client._embedded.after_fork()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
