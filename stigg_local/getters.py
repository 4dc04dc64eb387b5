"""The getters: how a question becomes an answer, from the memo, the file or a fallback.

A getter answers from the memo with two dictionary lookups, a compare of the customer's generation slot and, where
time can change the answer, one look at the clock; everything else goes through `_ask`. The hit is written out in
each getter because a call would cost as much as the hit.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from stigg_local.core.answer import (
    BOOLEAN,
    CREDIT,
    ENUM,
    METERED,
    NUMERIC,
    BooleanEntitlement,
    CreditEntitlement,
    Entitlement,
    EntitlementsState,
    EnumEntitlement,
    MeteredEntitlement,
    NumericEntitlement,
)
from stigg_local.core.entitlement import answer_request
from stigg_local.core.fallback import Fallback, Fallbacks, fallback_answer, parse_fallback
from stigg_local.core.ids import is_text, plain, told
from stigg_local.core.quantity import to_decimal
from stigg_local.core.reason import AccessDeniedReason
from stigg_local.errors import ClientClosed, InvalidInput, StoreError

if TYPE_CHECKING:
    from stigg_local.edge.fallback_file import FallbackFile
    from stigg_local.embedded import Embedded

FallbackInput = Mapping[str, Any] | Fallback | None
# What a look into the memo fails with; arguments that cannot be compared or have no truth are looked at by `_ask`.
_MISSES = (LookupError, TypeError, ValueError, ArithmeticError)
VALUES_MAX = 1000
Quantity = Any  # int, float or Decimal


# A hit is for a request of nothing (the default object itself) or for the last one; what only equals them, as False
# equals 0, is looked at by `_ask`.
_ZERO = 0
_NOTHING: tuple[str, ...] = ()
_LISTS = (list, tuple)


class Getters:
    """The reading half of `Stigg`; an offline client's memo stays empty."""

    _memo: dict[str, Any]
    _generation: Any
    _time: Callable[[], float]
    _embedded: "Embedded | None"
    _fallback_file: "FallbackFile | None"
    _fallbacks: Fallbacks
    _closed: bool

    def get_entitlement(
        self,
        customer_id: str,
        feature_id: str,
        resource_id: str | None = None,
        requested_usage: Quantity = 0,
        requested_values: Sequence[str] = (),
        dimensions: Mapping[str, Any] | None = None,
        fallback: FallbackInput = None,
    ) -> Entitlement:
        """The entitlement of any type, from memory or the local file.

        Args:
            customer_id: The customer.
            feature_id: The feature, or a credit currency.
            resource_id: The resource, for products with several subscriptions.
            requested_usage: Units about to be used, >= 0; of a metered feature or credits.
            requested_values: Values about to be used; of an enum feature.
            dimensions: Accepted for attribution; they do not change the answer.
            fallback: Used only when there is nothing to answer from.

        Returns:
            `BooleanEntitlement`, `NumericEntitlement`, `MeteredEntitlement`, `EnumEntitlement` or
            `CreditEntitlement`; `.type` says which. A denial is an answer with `.access_denied_reason`.

        Raises:
            InvalidInput: An id is not text, or a request is not a number of 0 or more.
            ClientClosed: After `close`.
        """
        answer: Entitlement
        requested: Entitlement
        try:
            slot, seen, entries, resources, _, _ = self._memo[customer_id]
            if resource_id is not None:
                entries = resources[resource_id]
            answer, until, _, request, requested, _ = entries[feature_id]
            fits = self._generation[slot] == seen and (until is None or self._time() < until)
            if fits and requested_values is _NOTHING:
                if requested_usage is _ZERO:
                    return answer
                if request == requested_usage and type(request) is type(requested_usage):
                    return requested
        except _MISSES:
            pass
        del dimensions
        return self._ask(None, customer_id, feature_id, resource_id, requested_usage, requested_values, fallback)

    def get_boolean_entitlement(
        self,
        customer_id: str,
        feature_id: str,
        resource_id: str | None = None,
        fallback: FallbackInput = None,
    ) -> BooleanEntitlement:
        """Access to a boolean feature; as `get_entitlement`.

        A feature of another type is answered by the fallback or denied, with `FeatureTypeMismatch`.
        """
        answer: BooleanEntitlement
        try:
            slot, seen, entries, resources, _, _ = self._memo[customer_id]
            if resource_id is not None:
                entries = resources[resource_id]
            answer, until, kind, _, _, _ = entries[feature_id]
            if kind is BOOLEAN and self._generation[slot] == seen and (until is None or self._time() < until):
                return answer
        except _MISSES:
            pass
        return cast(BooleanEntitlement, self._ask(BOOLEAN, customer_id, feature_id, resource_id, 0, (), fallback))

    def get_numeric_entitlement(
        self,
        customer_id: str,
        feature_id: str,
        resource_id: str | None = None,
        fallback: FallbackInput = None,
    ) -> NumericEntitlement:
        """The number that the plan sets; as `get_boolean_entitlement`."""
        answer: NumericEntitlement
        try:
            slot, seen, entries, resources, _, _ = self._memo[customer_id]
            if resource_id is not None:
                entries = resources[resource_id]
            answer, until, kind, _, _, _ = entries[feature_id]
            if kind is NUMERIC and self._generation[slot] == seen and (until is None or self._time() < until):
                return answer
        except _MISSES:
            pass
        return cast(NumericEntitlement, self._ask(NUMERIC, customer_id, feature_id, resource_id, 0, (), fallback))

    def get_metered_entitlement(
        self,
        customer_id: str,
        feature_id: str,
        resource_id: str | None = None,
        requested_usage: Quantity = 0,
        fallback: FallbackInput = None,
    ) -> MeteredEntitlement:
        """Limit and usage of a metered feature, and whether `requested_usage` more fits; as `get_entitlement`."""
        answer: MeteredEntitlement
        requested: MeteredEntitlement
        try:
            slot, seen, entries, resources, _, _ = self._memo[customer_id]
            if resource_id is not None:
                entries = resources[resource_id]
            answer, until, kind, request, requested, compiled = entries[feature_id]
            if kind is METERED and self._generation[slot] == seen and (until is None or self._time() < until):
                if requested_usage is _ZERO:
                    return answer
                if request == requested_usage and type(request) is type(requested_usage):
                    return requested
                requested = answer_request(compiled, requested_usage, ())  # type: ignore[assignment]
                entries[feature_id] = (answer, until, kind, requested_usage, requested, compiled)
                return requested
        except _MISSES:
            pass
        return cast(
            MeteredEntitlement,
            self._ask(METERED, customer_id, feature_id, resource_id, requested_usage, (), fallback),
        )

    def get_enum_entitlement(
        self,
        customer_id: str,
        feature_id: str,
        resource_id: str | None = None,
        requested_values: Sequence[str] = (),
        fallback: FallbackInput = None,
    ) -> EnumEntitlement:
        """The allowed values of an enum feature, and whether all `requested_values` are among them."""
        answer: EnumEntitlement
        requested: EnumEntitlement
        try:
            slot, seen, entries, resources, _, _ = self._memo[customer_id]
            if resource_id is not None:
                entries = resources[resource_id]
            answer, until, kind, request, requested, _ = entries[feature_id]
            if kind is ENUM and self._generation[slot] == seen and (until is None or self._time() < until):
                if requested_values is _NOTHING:
                    return answer
                if type(requested_values) in _LISTS and request == tuple(requested_values):
                    return requested
        except _MISSES:
            pass
        return cast(
            EnumEntitlement,
            self._ask(ENUM, customer_id, feature_id, resource_id, 0, requested_values, fallback),
        )

    def get_credit_entitlement(
        self,
        customer_id: str,
        currency_id: str,
        resource_id: str | None = None,
        requested_usage: Quantity = 0,
        fallback: FallbackInput = None,
    ) -> CreditEntitlement:
        """The balance of a wallet, and whether `requested_usage` credits more can be spent."""
        answer: CreditEntitlement
        requested: CreditEntitlement
        try:
            slot, seen, entries, resources, _, _ = self._memo[customer_id]
            if resource_id is not None:
                entries = resources[resource_id]
            answer, until, kind, request, requested, compiled = entries[currency_id]
            if kind is CREDIT and self._generation[slot] == seen and (until is None or self._time() < until):
                if requested_usage is _ZERO:
                    return answer
                if request == requested_usage and type(request) is type(requested_usage):
                    return requested
                requested = answer_request(compiled, requested_usage, ())  # type: ignore[assignment]
                entries[currency_id] = (answer, until, kind, requested_usage, requested, compiled)
                return requested
        except _MISSES:
            pass
        return cast(
            CreditEntitlement,
            self._ask(CREDIT, customer_id, currency_id, resource_id, requested_usage, (), fallback),
        )

    def get_credit_balance(
        self, customer_id: str, currency_id: str, resource_id: str | None = None
    ) -> CreditEntitlement:
        """The same as `get_credit_entitlement`, under its deprecated name."""
        import warnings

        warnings.warn("use get_credit_entitlement", DeprecationWarning, stacklevel=2)
        return self.get_credit_entitlement(customer_id, currency_id, resource_id)

    def get_entitlements_state(
        self, customer_id: str, resource_id: str | None = None, *, include_credits: bool = False
    ) -> EntitlementsState:
        """Everything that the customer is entitled to, in catalog order, and why it is nothing where it is.

        What is entitled and used up is listed too, with `has_access` False and its reason. Where there is nothing
        to answer from, the list holds the configured fallback values.

        Args:
            customer_id: The customer.
            resource_id: The resource, for products with several subscriptions.
            include_credits: Add the credit entitlements.
        """
        self._check_open()
        customer_id, _, resource_id = self._checked_ids(customer_id, "feature", resource_id)
        if self._embedded is not None:
            try:
                return self._embedded.replica.state(
                    customer_id, resource_of(resource_id), include_credits=include_credits
                )
            except StoreError:
                # What it was is in `status()`; a read answers all the same.
                pass
        return self._fallback_state(include_credits=include_credits)

    def get_entitlements(
        self, customer_id: str, resource_id: str | None = None, *, include_credits: bool = False
    ) -> list[Entitlement]:
        """The list of `get_entitlements_state`."""
        return list(
            self.get_entitlements_state(customer_id, resource_id, include_credits=include_credits).entitlements
        )

    def reload_entitlements(self, customer_id: str, resource_id: str | None = None) -> None:
        """Drop what is held in memory of the customer, so that the next read reads the file. Offline: nothing."""
        self._check_open()
        customer_id, _, resource_id = self._checked_ids(customer_id, "feature", resource_id)
        if self._embedded is not None:
            self._embedded.replica.drop(customer_id)

    # ------------------------------------------------------------------ inside

    def _ask(
        self,
        kind: str | None,
        customer_id: str,
        feature_id: str,
        resource_id: str | None,
        requested_usage: Any,
        requested_values: Sequence[str],
        fallback: FallbackInput,
    ) -> Entitlement:
        """The answer where the memo has none, or none for this request."""
        self._check_open()
        customer_id, feature_id, resource_id = self._checked_ids(customer_id, feature_id, resource_id)
        values = () if requested_values == () else values_of(requested_values)
        reason: AccessDeniedReason | None = None
        if self._embedded is not None:
            try:
                found = self._embedded.replica.answer(
                    kind, customer_id, feature_id, resource_of(resource_id), requested_usage, values
                )
                if found is not None:
                    return found
                reason = self._embedded.unanswered(kind, feature_id)
            except StoreError:
                # What it was is in `status()`; a read answers all the same.
                pass
        if type(requested_usage) is not int or requested_usage < 0:
            wanted = to_decimal(requested_usage, name="requested_usage")
            if wanted < 0:
                raise InvalidInput(f"requested_usage is `{requested_usage}`, below 0", hint="ask for 0 or more")
        chosen = None if fallback is None else parse_fallback(fallback, where="fallback")
        refs = None if self._embedded is None else self._embedded.known(feature_id)
        if kind is None and refs is not None:
            kind = refs.kind
        return fallback_answer(
            chosen or self._configured(kind, feature_id),
            kind=kind,
            feature=None if refs is None else refs.feature,
            currency=None if refs is None else refs.currency,
            requested_usage=requested_usage,
            requested_values=values,
            reason=reason,
            item_id=feature_id,
        )

    def _configured(self, kind: str | None, feature_id: str) -> Fallback | None:
        """The configured fallback: the first there is."""
        return next((found for _, found in self._configured_each(kind, feature_id)), None)

    def _configured_each(self, kind: str | None, feature_id: str) -> Iterator[tuple[str, Fallback]]:
        """Where a fallback is configured, and it: the file before the dictionaries; credits apart from features."""
        followed = None if self._fallback_file is None else self._fallback_file.fallbacks()
        for origin, fallbacks in (("file", followed), ("dictionary", self._fallbacks)):
            if fallbacks is not None:
                found = (fallbacks.credits if kind == CREDIT else fallbacks.features).get(feature_id)
                if found is None and kind is None:
                    found = fallbacks.credits.get(feature_id)
                if found is not None:
                    yield origin, found

    def _fallback_state(self, *, include_credits: bool) -> EntitlementsState:
        followed = None if self._fallback_file is None else self._fallback_file.fallbacks()
        sets = [fallbacks for fallbacks in (self._fallbacks, followed) if fallbacks is not None]
        features = {key: value for fallbacks in sets for key, value in fallbacks.features.items()}
        credits = {key: value for fallbacks in sets for key, value in fallbacks.credits.items()}
        asked: list[tuple[str | None, str, Fallback]] = [(None, key, value) for key, value in features.items()]
        asked += [(CREDIT, key, value) for key, value in credits.items() if include_credits]
        answers: list[Entitlement] = []
        for kind, key, value in asked:
            refs = None if self._embedded is None else self._embedded.known(key)
            answers.append(
                fallback_answer(
                    value,
                    kind=kind or (refs.kind if refs else None),
                    feature=refs.feature if refs else None,
                    currency=refs.currency if refs else None,
                    requested_usage=0,
                    requested_values=(),
                    reason=None,
                    item_id=key,
                )
            )
        granted = tuple(answer for answer in answers if answer.has_access)
        return EntitlementsState(granted, None if granted else AccessDeniedReason.Unknown)

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("the client is closed", hint="make a new one")

    def _checked_ids(
        self, customer_id: object, feature_id: object, resource_id: object
    ) -> tuple[str, str, str | None]:
        if isinstance(customer_id, str) and isinstance(feature_id, str) and isinstance(resource_id, str | None):
            return plain(customer_id), plain(feature_id), None if resource_id is None else plain(resource_id)
        named = (
            ("customer_id", customer_id),
            ("feature_id", feature_id),
            ("resource_id", "" if resource_id is None else resource_id),
        )
        name, value = next((name, value) for name, value in named if not isinstance(value, str))
        raise InvalidInput(
            f"{name} is `{told(value)}`, which is {type(value).__name__} and not text",
            code="InvalidArgumentError",
            hint="pass the id as a str",
        )


def resource_of(resource_id: str | None) -> str:
    """The resource as `core` names it: empty for none. An empty id is an unknown one, which no resource has."""
    return "" if resource_id is None else resource_id or "\0"


def values_of(requested: object) -> tuple[str, ...]:
    if isinstance(requested, str) or not isinstance(requested, Iterable):
        raise InvalidInput(
            f"requested_values is `{told(requested)}`, not a list of values", code="InvalidArgumentError"
        )
    # No more than needed to know that it is too many: the iterable may have no end.
    values = tuple(islice(requested, VALUES_MAX + 1))
    if len(values) > VALUES_MAX:
        raise InvalidInput(f"requested_values has more than {VALUES_MAX} values", code="InvalidArgumentError")
    if not all(is_text(value) for value in values):
        raise InvalidInput("requested_values holds something that is not text", code="InvalidArgumentError")
    return tuple(plain(value) for value in values)
