"""`Stigg`: what an application imports. Wiring, lifecycle, writes and listeners; the rules are in `core`."""

import atexit
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from stigg_local.clock import Clock, SystemClock
from stigg_local.core.fallback import Fallbacks, parse_fallbacks
from stigg_local.core.ids import UNSET, Unset, check_id, told
from stigg_local.embedded import Embedded
from stigg_local.errors import InvalidInput, NotAvailableOffline, StiggError
from stigg_local.getters import FallbackInput, Getters, Quantity
from stigg_local.listeners import Listeners

if TYPE_CHECKING:
    from stigg_local.aio import AsyncStigg
    from stigg_local.catalog_calls import CatalogCalls
    from stigg_local.core.explanation import Explanation
    from stigg_local.core.result import (
        CreditGrantResult,
        PromotionalResult,
        ProvisionCustomerResult,
        ProvisionSubscriptionResult,
        ReportUsageResult,
    )
    from stigg_local.status import Status

CatalogInput = str | os.PathLike[str] | Mapping[str, Any]
Instant = datetime | str

_DURABILITIES = ("disk",)


# Calls that succeed offline and do nothing, and those that need an authority: the other methods of the Node.js SDK.
_QUIET_OFFLINE = frozenset({"report_event", "report_events"})
_ELSEWHERE = frozenset(
    "update_customer get_customer archive_customer create_subscription update_subscription cancel_subscription "
    "cancel_subscription_scheduled_updates get_active_subscriptions_list get_subscription get_paywall "
    "report_usage_bulk revoke_promotional_entitlements get_coupons get_products estimate_subscription "
    "estimate_subscription_update migrate_subscription_to_latest get_automatic_recharge_configuration "
    "save_automatic_recharge_configuration governance get_usage_history consume reserve get_subscriptions "
    "get_credit_grants get_credit_ledger consume_credits void_credit_grant payments".split()
)


class Stigg(Getters):
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
        durability: Level of writes: "disk" survives a power cut.
        memory_limit_bytes: Bound of what is held in memory of customers.
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
        memory_limit_bytes: int | None = None,
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
        self._durability = _durability(durability)
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
                )
                self._memo = self._embedded.replica.memo
                self._generation = self._embedded.store.generation
        except BaseException:
            if self._fallback_file is not None:
                self._fallback_file.close()
            raise
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
        return self._authority("tick").store.tick()

    # ------------------------------------------------------------------ writes

    def provision_customer(
        self,
        customer_id: str,
        *,
        name: str | Unset | None = UNSET,
        email: str | Unset | None = UNSET,
        coupon_id: str | Unset | None = UNSET,
        subscription_params: Mapping[str, Any] | Unset | None = UNSET,
        metadata: Mapping[str, str] | Unset | None = UNSET,
        idempotency_key: str | None = None,
    ) -> "ProvisionCustomerResult":
        """Make a customer, or patch one that exists, with a first subscription.

        Args:
            customer_id: 1 to 255 printable characters.
            name, email, coupon_id, metadata: Absent keeps, None clears; metadata merges.
            subscription_params: Arguments of `provision_subscription`; None for no subscription at all; absent
                for what the journey of the first single-subscription product gives.
            idempotency_key: The same key with the same arguments returns the first result.

        Returns:
            `.customer`, `.subscription_decision_strategy` and `.subscription` (None where none was made).

        Raises:
            NotAllowed: The customer is archived (`EntityIsArchivedError`), or a rule refuses the subscription.
            InvalidInput, NotFound: As `provision_subscription`.
        """
        from stigg_local.calls import customer_command

        command = customer_command(
            customer_id,
            name=name,
            email=email,
            coupon_id=coupon_id,
            subscription=subscription_params,
            metadata=metadata,
        )
        authority = self._authority("provision_customer").authority
        result = authority.provision_customer(command, key=idempotency_key)
        self._entitlements_changed(customer_id)
        return result

    def provision_subscription(
        self,
        customer_id: str,
        plan_id: str,
        *,
        billing_period: str | None = None,
        resource_id: str | None = None,
        billable_features: Iterable[Any] = (),
        addons: Iterable[Any] = (),
        entitlements: Iterable[Any] = (),
        billing_country_code: str | None = None,
        metadata: Mapping[str, str] | None = None,
        billing_cycle_anchor: str = "UNCHANGED",
        skip_trial: bool = False,
        idempotency_key: str | None = None,
    ) -> "ProvisionSubscriptionResult":
        """Give a customer a subscription that starts now.

        It ends the running non-trial subscription of the same product and resource. A plan with a default trial
        is trialed, beside what runs, when the customer never trialed the product.

        Args:
            customer_id: An existing customer.
            plan_id: A published plan; its latest version is taken.
            billing_period: MONTHLY or ANNUALLY; required for paid plans.
            resource_id: Required for products with several subscriptions, and only for those.
            billable_features: `[{"feature_id", "quantity"}]`, one for each feature with a per-unit price.
            addons: `[{"addon_id", "quantity"}]`.
            entitlements: Values of a custom plan: `[{"feature": {"feature_id", "usage_limit"}}]` or
                `[{"credit": {"custom_currency_id", "amount", "cadence"}}]`.
            billing_country_code: ISO 3166-1 alpha-2.
            metadata: Kept with the subscription.
            billing_cycle_anchor: UNCHANGED keeps the usage cycle where the plan stays, NOW begins a new one.
            skip_trial: True to start paid at once.
            idempotency_key: The same key with the same arguments returns the first result.

        Returns:
            `.status` ("Success") and `.subscription` (`.id`, `.plan_id`, `.status`, `.addons`, …).

        Raises:
            NotFound: `CustomerNotFound`, `PlanNotFound` or `AddonNotFound`.
            NotAllowed: A rule refuses; the code names it, for example `IncompatibleSubscriptionAddon`.
            InvalidInput: For example `BillingPeriodMissingError`, `InvalidQuantity`, `InvalidArgumentError`.
        """
        from stigg_local.core import command as shape

        command = shape.provision_subscription(
            customer_id,
            {
                "plan_id": plan_id,
                "billing_period": billing_period,
                "resource_id": resource_id,
                "billable_features": billable_features,
                "addons": addons,
                "entitlements": entitlements,
                "billing_country_code": billing_country_code,
                "metadata": metadata,
                "billing_cycle_anchor": billing_cycle_anchor,
                "skip_trial": skip_trial,
            },
        )
        authority = self._authority("provision_subscription").authority
        result = authority.provision_subscription(command, key=idempotency_key)
        self._entitlements_changed(customer_id)
        return result

    def grant_promotional_entitlements(
        self, customer_id: str, entitlements: Iterable[Any], *, idempotency_key: str | None = None
    ) -> "list[PromotionalResult]":
        """Give a customer features by hand; one for each feature, a second grant replaces the first.

        Args:
            customer_id: An existing customer.
            entitlements: `[{"feature_id": …, "usage_limit" | "value": …, "is_unlimited": …, "enum_values": …,
                "period": …}]` with the period ONE_WEEK, ONE_MONTH, SIX_MONTH, ONE_YEAR, LIFETIME (default) or
                CUSTOM with `custom_end_date`; `has_soft_limit`, `reset_period`, `reset_period_configuration` and
                `is_visible` as in a plan. Without a limit the promotion is unlimited.
            idempotency_key: The same key with the same arguments returns the first result.

        Raises:
            NotFound: `CustomerNotFound` or `FeatureNotFound`.
            InvalidInput, NotAllowed: What is granted does not fit the feature.
        """
        from stigg_local.core import command as shape

        customer_id = check_id(customer_id, "customer_id")
        grants = shape.promotional_grants(entitlements)
        authority = self._authority("grant_promotional_entitlements").authority
        made = authority.grant_promotional_entitlements(customer_id, grants, key=idempotency_key)
        self._entitlements_changed(customer_id)
        return list(made)

    def grant_credits(
        self,
        customer_id: str,
        currency_id: str,
        amount: Quantity,
        *,
        grant_type: str = "PROMOTIONAL",
        priority: int = 0,
        effective_at: Instant | None = None,
        expire_at: Instant | None = None,
        cost: Any = None,
        resource_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> "CreditGrantResult":
        """Add credits to a wallet; a debt is settled from them first.

        Args:
            customer_id: An existing customer.
            currency_id: A credit currency of the catalog.
            amount: Credits, above 0.
            grant_type: PROMOTIONAL or PAID.
            priority: 0 is spent first.
            effective_at, expire_at: Aware datetime or ISO-8601; the expiry is exclusive, None for never.
            cost: What was paid for it.
            resource_id: The wallet's resource.
            idempotency_key: The same key with the same arguments returns the first result.

        Raises:
            NotFound: `CustomerNotFound`, `CustomerResourceNotFound` or `CustomCurrencyNotFound`.
            InvalidInput: For example `ExpireAtMustBeLaterThanEffectiveAtError`.
        """
        from stigg_local.calls import credits_command

        command = credits_command(
            customer_id,
            currency_id,
            amount,
            grant_type=grant_type,
            priority=priority,
            effective_at=effective_at,
            expire_at=expire_at,
            cost=cost,
            resource_id=resource_id,
        )
        result = self._authority("grant_credits").authority.grant_credits(command, key=idempotency_key)
        self._entitlements_changed(customer_id)
        return result

    def report_usage(
        self,
        customer_id: str,
        feature_id: str,
        value: Quantity,
        *,
        resource_id: str | None = None,
        update_behavior: str = "DELTA",
        created_at: Instant | None = None,
        dimensions: Mapping[str, Any] | None = None,
        durability: str | None = None,
        idempotency_key: str | None = None,
    ) -> "ReportUsageResult":
        """Record usage that happened, beyond a limit too; the next read on this host shows it.

        A feature with a credit rate charges the wallet in the same transaction.

        Args:
            customer_id: An existing customer.
            feature_id: A metered feature that the customer is entitled to.
            value: The change of usage or, with SET, the new usage; in reported units.
            resource_id: The resource whose usage it is.
            update_behavior: DELTA or SET.
            created_at: When it happened, if not now; it counts in the window of that time.
            dimensions: Attributes kept with the measurement: text, numbers or booleans by name.
            durability: "disk": on return it survives a power cut.
            idempotency_key: The same key with the same arguments counts once and returns the first result.

        Returns:
            `.measurement_id`, `.current_usage`, `.usage_period_start`, `.usage_period_end`, `.next_reset_date`,
            `.durability`. An offline client keeps nothing: an empty `.measurement_id`, and "none".

        Raises:
            NotFound: `CustomerNotFound`, `CustomerResourceNotFound` or `FeatureNotFound`.
            NotAllowed: Not entitled (`NoFeatureEntitlementInSubscription`, `NoActiveSubscriptionForCustomer`), not
                metered, or fluctuating usage below 0 (`UsageMeasurementDiffOutOfRangeError`).
            InvalidInput: The value is no number that the feature's scale can hold.
            IdempotencyConflict: The key was used with other arguments.
            StoreError: The disk failed; with the same `idempotency_key` the call can be repeated safely.
        """
        from stigg_local.calls import unreported, usage_command

        self._check_open()
        command = usage_command(
            customer_id,
            feature_id,
            value,
            resource_id=resource_id,
            behavior=update_behavior,
            created_at=created_at,
            dimensions=dimensions,
        )
        level = self._durability if durability is None else _durability(durability)
        if self._embedded is None:
            return unreported()
        result = self._embedded.authority.report_usage(command, key=idempotency_key, durability=level)
        if self._listeners.has("usageUpdated"):
            entitlement = self.get_metered_entitlement(customer_id, feature_id, resource_id)
            self._listeners.usage_updated(entitlement, result.current_usage)
        return result

    # ------------------------------------------------------------------ listeners

    def add_listener(self, event: str, listener: Callable[[Any], object]) -> None:
        """Call `listener` after every change made through this client.

        Args:
            event: "entitlementsUpdated" (its argument has `.customer_id` and `.entitlements`) or "usageUpdated"
                (`.entitlement` and `.usage`).
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

    def _authority(self, call: str) -> Embedded:
        self._check_open()
        if self._embedded is None:
            raise NotAvailableOffline(
                f"`{call}` is not available offline", hint="open a client with catalog= or data_dir="
            )
        return self._embedded

    def _offline(self, name: str) -> None:
        """Reported events are not kept; everything else needs an authority."""
        self._check_open()
        if name not in _QUIET_OFFLINE:
            self._authority(name)

    def _entitlements_changed(self, customer_id: str) -> None:
        if self._listeners.has("entitlementsUpdated"):
            self._listeners.entitlements_updated(customer_id, self.get_entitlements(customer_id))


def _path(value: object, name: str) -> str:
    try:
        path = os.fspath(value)  # type: ignore[call-overload]
        if isinstance(path, str) and path and "\0" not in path and os.fsencode(path):
            return path
    except (TypeError, UnicodeEncodeError):
        pass
    raise InvalidInput(f"{name} is `{told(value)}`, not a path", hint="pass a str or a pathlib.Path")


def _durability(value: object) -> Literal["disk"]:
    if value not in _DURABILITIES:
        raise InvalidInput(f"durability is `{told(value)}`", code="InvalidArgumentError", hint='pass "disk"')
    return "disk"


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
