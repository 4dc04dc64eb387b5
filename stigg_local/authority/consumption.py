"""Usage that is checked and recorded in one step.

Laws: what is admitted is recorded in the transaction that checked it, so that no limit is overrun whatever runs at
the same time; a refusal writes nothing, not even its key: the same key tried again is a first try.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from stigg_local.authority import numbers
from stigg_local.authority.recording import record, trace_of
from stigg_local.authority.run import Runner
from stigg_local.authority.usage_check import refuse_fed
from stigg_local.clock import new_id
from stigg_local.core.answer import CREDIT, METERED, Entitlement
from stigg_local.core.catalog import Feature
from stigg_local.core.consume import constraints, credit_cost, refusal
from stigg_local.core.consume_result import (
    CONSUME,
    ConsumeReply,
    ConsumeResult,
    Kept,
    keep,
    kept_answer,
    refused_result,
)
from stigg_local.core.credit import Grant
from stigg_local.core.entitlement import Compiled, CustomerView, Found, answer_request, evaluate, find_winner
from stigg_local.core.fallback import fallback_answer
from stigg_local.core.hold import Hold
from stigg_local.core.quantity import to_raw
from stigg_local.core.sources import Catalog
from stigg_local.core.words import AccessDeniedReason
from stigg_local.store.tx import Tx

_REASON = AccessDeniedReason
_grant_decoder = msgspec.msgpack.Decoder(Grant)
_hold_decoder = msgspec.msgpack.Decoder(Hold)


class Consume(Struct, frozen=True, kw_only=True):
    """Something to use of a feature or, with an empty feature, of a wallet; checked for its shape."""

    customer_id: str
    feature_id: str
    currency_id: str
    value: Any
    resource_id: str | None = None
    dimensions: Mapping[str, Any] | None = None


class Asked(Protocol):
    """What a request asks for: of a feature or, with an empty feature, of a wallet."""

    @property
    def feature_id(self) -> str: ...

    @property
    def currency_id(self) -> str: ...

    @property
    def resource_id(self) -> str | None: ...

    @property
    def value(self) -> Any: ...


class Refused(Exception):
    """Leaves the transaction with nothing written."""

    def __init__(self, reason: AccessDeniedReason, entitlement: Entitlement) -> None:
        self.reason = reason
        self.entitlement = entitlement


class Request(Struct):
    """A request that is being decided: who, what, and the entitlement as it stands before."""

    catalog: Catalog
    view: CustomerView
    feature: Feature | None
    item_id: str
    kind: str
    resource_id: str
    raw: int
    compiled: Compiled
    now_ms: int
    found: Found | None

    def after(self) -> Entitlement:
        """The entitlement as the view, which holds what was done, now gives it."""
        found = evaluate(
            self.catalog,
            self.view,
            self.item_id,
            resource_id=self.resource_id,
            kind=self.kind,
            now_ms=self.now_ms,
            found=self.found,
        )
        assert found is not None, "what was admitted is in the catalog"
        return found.answer


class Consumption:
    """Commands that check and record."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def consume(self, command: Consume, *, key: str | None, durability: str) -> ConsumeResult:
        """Record usage if there is room for it.

        Raises:
            InvalidInput: The value is no number that the scale can hold.
            NotAllowed: The feature is fed by raw events.
            IdempotencyConflict: The key was used with other arguments.
        """
        made: dict[str, Entitlement] = {}
        measurement_id = new_id()

        def decide(tx: Tx) -> ConsumeReply:
            request = admitted(self._runner, tx, command, command.customer_id)
            _record(self._runner, tx, request, command, measurement_id)
            made[measurement_id] = request.after()
            return ConsumeReply(measurement_id, keep(request.item_id, made[measurement_id]))

        try:
            reply = self._runner.run(
                CONSUME,
                key,
                command.customer_id,
                command,
                decide,
                ConsumeReply,
                durability=durability,
                trace=trace_of(command, measurement_id) if command.feature_id else None,
            )
        except Refused as refused:
            return refused_result(refused.entitlement)
        return ConsumeResult(
            allowed=True,
            access_denied_reason=None,
            entitlement=made.get(reply.measurement_id) or answer_of(self._runner, reply.kept),
            measurement_id=reply.measurement_id,
            durability=durability,
        )


def admitted(runner: Runner, tx: Tx, ask: Asked, customer_id: str) -> Request:
    """The request, with what it was decided on, where there is room for it.

    Raises:
        Refused: There is none, or nobody or nothing to ask about.
        InvalidInput: The value is no number that the scale can hold.
        NotAllowed: The feature is fed by raw events.
    """
    catalog = runner.catalog(tx)
    kind, item_id = (METERED, ask.feature_id) if ask.feature_id else (CREDIT, ask.currency_id)
    resource_id = ask.resource_id or ""
    feature = catalog.features.get(item_id) if kind == METERED else None
    if feature is not None and feature.is_metered:
        refuse_fed(feature)
    view = view_of(runner, tx, customer_id)
    found: Found | None = None
    if view is not None and feature is not None:
        found = find_winner(catalog, view.snapshot, feature, resource_id, tx.now_ms)
    compiled = evaluate(catalog, view, item_id, resource_id=resource_id, kind=kind, now_ms=tx.now_ms, found=found)
    if compiled is None:
        reason = _REASON.EntitlementNotFound
        if kind == METERED:
            reason = _REASON.FeatureNotFound if feature is None else _REASON.FeatureTypeMismatch
        raise Refused(reason, _unanswered(catalog, kind, item_id, ask.value, reason))
    if view is None or compiled.gate.denied is not None:
        raise _refused(compiled, ask.value)
    raw = to_raw(ask.value, compiled.gate.scale, name="value")
    if refusal(constraints(compiled.gate, raw)) is not None:
        raise _refused(compiled, ask.value)
    return Request(catalog, view, feature, item_id, kind, resource_id, raw, compiled, tx.now_ms, found)


def view_of(runner: Runner, tx: Tx, customer_id: str) -> CustomerView | None:
    """The customer as the rows are; None for one who was never there.

    Raises:
        StoreCorrupt: The rows are damaged, or it is not known whether the customer exists.
    """
    body = tx.customer_snapshot(customer_id)
    if body is None:
        if tx.meta("lost_ms") is not None:
            runner.snapshot(tx, customer_id, None)
        return None
    held = tx.numbers(customer_id)
    return CustomerView(
        runner.decoded(body),
        held.counters,
        tuple([_grant_decoder.decode(body) for body in held.grants]),
        tuple([_hold_decoder.decode(body) for body in held.holds]),
    )


def answer_now(
    runner: Runner, tx: Tx, catalog: Catalog, customer_id: str, item_id: str, *, resource_id: str, kind: str
) -> Entitlement:
    """The answer as the rows, after all that the command did, give it for an item of the catalog."""
    view = view_of(runner, tx, customer_id)
    found = evaluate(catalog, view, item_id, resource_id=resource_id, kind=kind, now_ms=tx.now_ms)
    assert found is not None, "what was counted is in the catalog"
    return found.answer


def answer_of(runner: Runner, kept: Kept) -> Entitlement:
    """The answer that a stored reply holds."""
    return kept_answer(kept, runner.store.read(runner.catalog))


def price(request: Request) -> tuple[str, Decimal | None, int]:
    """Which wallet a request is charged to, the rate, and what it costs there; ("", None, 0) where nothing."""
    gate = request.compiled.gate
    if request.feature is None:
        return request.item_id, None, request.raw
    if gate.rate is None:
        return "", None, 0
    winner = None if request.found is None else request.found[0]
    rate = None if winner is None else winner.contribution.rate
    assert rate is not None, "a gate with a rate comes from a winner with one"
    return rate.currency_id, rate.amount, credit_cost(gate, request.raw)


def _record(runner: Runner, tx: Tx, request: Request, command: Consume, measurement_id: str) -> None:
    feature, view = request.feature, request.view
    currency_id, _, cost = price(request)
    if feature is not None:
        moved = record(
            runner,
            tx,
            request.catalog,
            view.snapshot,
            feature,
            customer_id=command.customer_id,
            resource_id=request.resource_id,
            measurement_id=measurement_id,
            value=request.raw,
            created_ms=tx.now_ms,
            is_late=False,
            winner=None if request.found is None else request.found[0],
            dimensions=command.dimensions,
        )
        for (from_ms, to_ms), (_, after) in moved.items():
            view.counters[request.resource_id, feature.id, from_ms, to_ms] = after
    if cost:
        numbers.charge(
            tx,
            request.catalog,
            view.snapshot,
            customer_id=command.customer_id,
            resource_id=request.resource_id,
            currency_id=currency_id,
            cost=cost,
            at_ms=tx.now_ms,
            feature_id="" if feature is None else feature.id,
            measurement_id=measurement_id,
        )
        view.grants = tuple(numbers.load_grants(tx, command.customer_id))


def _refused(compiled: Compiled, value: Any) -> Refused:
    """The refusal that a getter's answer to the same request is."""
    answer = answer_request(compiled, value, ())
    assert answer.access_denied_reason is not None, "what is refused here is denied by the getter"
    return Refused(answer.access_denied_reason, answer)


def _unanswered(catalog: Catalog, kind: str, item_id: str, value: Any, reason: AccessDeniedReason) -> Entitlement:
    return fallback_answer(
        None,
        kind=kind,
        feature=catalog.refs.get(item_id) if kind == METERED else None,
        currency=None,
        requested_usage=value,
        requested_values=(),
        reason=reason,
    )
