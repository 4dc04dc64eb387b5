"""Reservations: taking one, settling it and giving it back.

Laws: a reservation is settled once, whoever tries and however often; what is not used of it was never taken from
anywhere, so that nothing can be refunded twice or to the wrong place.
"""

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from stigg_local.authority import numbers
from stigg_local.authority.consumption import Refused, Request, admitted, answer_now, answer_of, price
from stigg_local.authority.held import forget, forget_ended, has_ended, rows, snapshot_of
from stigg_local.authority.recording import record
from stigg_local.authority.replies import stands_for
from stigg_local.authority.run import Runner
from stigg_local.clock import new_id
from stigg_local.core.answer import CREDIT, METERED, Entitlement
from stigg_local.core.catalog import Feature
from stigg_local.core.consume_result import (
    RELEASE,
    RESERVE,
    SETTLE,
    ConsumeReply,
    ReleaseReply,
    ReleaseResult,
    ReservationRow,
    ReserveReply,
    ReserveResult,
    SettleResult,
    keep,
    stored_reservation,
)
from stigg_local.core.credit import hold_from, wallet
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.entitlement import find_winner
from stigg_local.core.hold import HOLDS_MAX, Hold, is_active, used
from stigg_local.core.ledger import CONSUMED, GRANTED, VOIDED
from stigg_local.core.quantity import credits_for, from_raw, to_raw
from stigg_local.core.sources import Catalog
from stigg_local.errors import IdempotencyConflict, NotAllowed, NotFound
from stigg_local.store.tx import Tx

_encode = msgspec.msgpack.Encoder().encode


class Reserve(Struct, frozen=True, kw_only=True):
    """Something to hold for so long, checked for its shape."""

    customer_id: str
    feature_id: str
    currency_id: str
    value: Any
    ttl_ms: int
    resource_id: str | None = None


class Settle(Struct, frozen=True, kw_only=True):
    """What was used of a reservation, checked for its shape."""

    hold_id: str
    actual: Any


class Release(Struct, frozen=True, kw_only=True):
    """A reservation to give back."""

    hold_id: str


class _Nothing(Exception):
    """There is nothing to write."""


class Reservations:
    """Commands about reservations."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def reserve(self, command: Reserve, *, key: str | None, durability: str) -> ReserveResult:
        """Hold an upper bound if there is room for it. The hold's id is the key, which is made where none is given.

        Raises:
            InvalidInput: The amount is no number that the scale can hold.
            NotAllowed: The feature is fed by raw events, or the customer has too many reservations.
            IdempotencyConflict: The key was used with other arguments.
        """
        hold_id = new_id("hold-") if key is None else key
        made: dict[str, Entitlement] = {}

        def decide(tx: Tx) -> ReserveReply:
            request = admitted(self._runner, tx, command, command.customer_id)
            hold = self._hold(tx, request, command, hold_id)
            request.view.holds = (*request.view.holds, hold)
            made[hold_id] = request.after()
            return ReserveReply(command.customer_id, hold, keep(request.item_id, made[hold_id]))

        try:
            reply = self._runner.run(
                RESERVE, hold_id, command.customer_id, command, decide, ReserveReply, durability=durability
            )
        except Refused as refused:
            return ReserveResult(hold=None, access_denied_reason=refused.reason, entitlement=refused.entitlement)
        return ReserveResult(
            hold=reply.hold,
            access_denied_reason=None,
            entitlement=made.get(hold_id) or answer_of(self._runner, reply.kept),
        )

    def _hold(self, tx: Tx, request: Request, command: Reserve, hold_id: str) -> Hold:
        view, customer_id = request.view, command.customer_id
        forget(tx, request.catalog, view.snapshot, customer_id, view.holds)
        alive = [hold for hold in view.holds if not has_ended(tx, hold)]
        if len(alive) >= HOLDS_MAX:
            raise NotAllowed(
                f"customer `{customer_id}` has {HOLDS_MAX} reservations already",
                code="TooManyReservations",
                hint="settle or release some, or give them a shorter ttl_seconds",
            )
        currency_id, rate, cost = price(request)
        taken: tuple[tuple[str, int], ...] = ()
        if cost:
            stored = numbers.settle(tx, request.catalog, view.snapshot, customer_id)
            purse = wallet(
                request.catalog,
                view.snapshot,
                stored,
                resource_id=request.resource_id,
                currency_id=currency_id,
                at_ms=tx.now_ms,
                holds=alive,
            )
            taken = hold_from(purse.grants, cost)
            known = {grant.id for grant in stored}
            for grant in purse.grants:
                # What is held is stored, so that it is there when its period is over or its subscription gone.
                if grant.id in dict(taken) and grant.id not in known:
                    numbers.put_grant(tx, customer_id, grant, GRANTED, grant.amount)
            view.grants = tuple(numbers.load_grants(tx, customer_id))
        hold = Hold(
            id=hold_id,
            resource_id=request.resource_id,
            feature_id="" if request.feature is None else request.item_id,
            currency_id=currency_id,
            amount=request.raw,
            cost=cost,
            rate="" if rate is None else str(rate),
            taken=taken,
            start_ms=tx.now_ms,
            expire_ms=tx.now_ms + command.ttl_ms,
        )
        tx.put_hold(customer_id, hold_id, hold.expire_ms, _encode(hold))
        return hold

    # ------------------------------------------------------------------ settling

    def settle(self, command: Settle, *, key: str | None, durability: str) -> SettleResult:
        """Record what was used of a reservation and give the rest back; after its end, record it like a report.

        Raises:
            NotFound: Nobody reserved that, or it is too long ago to be known (`ReservationNotFound`).
            IdempotencyConflict: It was settled with another amount, or the key was used for another reservation.
        """
        hold_id = command.hold_id
        found = self._reservation(hold_id)
        body = stands_for(command)

        def decide(tx: Tx) -> ConsumeReply:
            done = tx.idempotency(SETTLE, hold_id)
            if done is not None:
                if done[0] != body:
                    raise _settled_otherwise(hold_id)
                return msgspec.msgpack.decode(done[1], type=ConsumeReply)
            reply = self._settled(tx, found.customer_id, found.hold, command.actual)
            if key not in (None, hold_id):
                tx.put_idempotency(SETTLE, hold_id, found.customer_id, body, _encode(reply))
            return reply

        try:
            reply = self._runner.run(
                SETTLE, key or hold_id, found.customer_id, command, decide, ConsumeReply, durability=durability
            )
        except IdempotencyConflict:
            if key in (None, hold_id):
                raise _settled_otherwise(hold_id) from None
            raise
        return SettleResult(
            hold_id=hold_id,
            held=from_raw(reply.held, reply.scale),
            is_late=reply.is_late,
            entitlement=answer_of(self._runner, reply.kept),
            measurement_id=reply.measurement_id or None,
            durability=durability,
        )

    def _settled(self, tx: Tx, customer_id: str, hold: Hold, actual: Any) -> ConsumeReply:
        catalog = self._runner.catalog(tx)
        snapshot = self._runner.snapshot(tx, customer_id, None)
        feature, scale = _item_of(catalog, hold)
        raw = to_raw(actual, scale, name="actual")
        is_held = any(
            is_active(known, tx.now_ms) for known in numbers.load_holds(tx, customer_id) if known.id == hold.id
        )
        # Debts get what was free until now before what was held becomes free.
        numbers.settle(tx, catalog, snapshot, customer_id)
        tx.delete_hold(customer_id, hold.id)
        measurement_id = new_id() if raw else ""
        if raw and feature is not None:
            record(
                self._runner,
                tx,
                catalog,
                snapshot,
                feature,
                customer_id=customer_id,
                resource_id=hold.resource_id,
                measurement_id=measurement_id,
                value=raw,
                created_ms=hold.start_ms,
                is_late=True,
                winner=find_winner(catalog, snapshot, feature, hold.resource_id, tx.now_ms)[0],
            )
        self._charge(tx, catalog, snapshot, customer_id, hold, raw, measurement_id, is_held=is_held)
        kind, item_id = (METERED, hold.feature_id) if hold.feature_id else (CREDIT, hold.currency_id)
        after = answer_now(self._runner, tx, catalog, customer_id, item_id, resource_id=hold.resource_id, kind=kind)
        return ConsumeReply(measurement_id, keep(item_id, after), hold.amount if is_held else 0, not is_held, scale)

    def _charge(
        self,
        tx: Tx,
        catalog: Catalog,
        snapshot: CustomerSnapshot,
        customer_id: str,
        hold: Hold,
        raw: int,
        measurement_id: str,
        *,
        is_held: bool,
    ) -> None:
        """Take what was used from the grants that held it; what they did not hold is charged as of the start."""
        cost, currency = raw, catalog.currencies.get(hold.currency_id)
        if hold.feature_id:
            cost = 0
            if hold.rate and currency is not None:
                scale = catalog.features[hold.feature_id].scale
                cost = credits_for(raw, scale, Decimal(hold.rate), currency.scale)
        parts, rest = used(hold, cost) if is_held else ((), cost)
        stored = {grant.id: grant for grant in numbers.load_grants(tx, customer_id)}
        for grant_id, part in parts:
            grant = replace(stored[grant_id], consumed=stored[grant_id].consumed + part)
            numbers.put_grant(
                tx,
                customer_id,
                grant,
                CONSUMED,
                -part,
                feature_id=hold.feature_id,
                measurement_id=measurement_id,
            )
            if grant.voided_ms is not None:
                # The line of its voiding took what was held, too.
                numbers.put_grant(tx, customer_id, grant, VOIDED, part)
        if rest:
            numbers.charge(
                tx,
                catalog,
                snapshot,
                customer_id=customer_id,
                resource_id=hold.resource_id,
                currency_id=hold.currency_id,
                cost=rest,
                at_ms=hold.start_ms,
                feature_id=hold.feature_id,
                measurement_id=measurement_id,
            )
        else:
            numbers.settle(tx, catalog, snapshot, customer_id)

    # ------------------------------------------------------------------ giving back

    def release(self, command: Release, *, key: str | None) -> ReleaseResult:
        """Give a reservation back; one that was settled, released or has ended is left alone.

        Raises:
            NotFound: Nobody reserved that, or it is too long ago to be known (`ReservationNotFound`).
        """
        hold_id = command.hold_id
        found = self._reservation(hold_id)
        customer_id = found.customer_id

        def decide(tx: Tx) -> ReleaseReply:
            holds = numbers.load_holds(tx, customer_id)
            if not any(hold.id == hold_id and is_active(hold, tx.now_ms) for hold in holds):
                raise _Nothing
            catalog, snapshot = self._runner.catalog(tx), snapshot_of(self._runner, tx, customer_id)
            numbers.settle(tx, catalog, snapshot, customer_id)
            tx.delete_hold(customer_id, hold_id)
            numbers.settle(tx, catalog, snapshot, customer_id)
            if key not in (None, hold_id):
                body = stands_for(command)
                tx.put_idempotency(RELEASE, hold_id, customer_id, body, _encode(ReleaseReply(hold_id)))
            return ReleaseReply(hold_id)

        try:
            self._runner.run(RELEASE, key or hold_id, customer_id, command, decide, ReleaseReply)
        except _Nothing:
            return ReleaseResult(hold_id=hold_id, customer_id=customer_id, released=False)
        return ReleaseResult(hold_id=hold_id, customer_id=customer_id, released=True)

    def held(self, customer_id: str) -> tuple[ReservationRow, ...]:
        """What is held for a customer now, soonest over first.

        Raises:
            NotFound: The customer does not exist.
        """
        return self._runner.store.read(lambda tx: rows(self._runner, tx, customer_id))

    def forget_ended(self) -> int:
        """Forget reservations that ended by themselves; returns of how many customers."""
        return forget_ended(self._runner)

    def _reservation(self, hold_id: str) -> ReserveReply:
        stored = self._runner.store.read(lambda tx: tx.idempotency(RESERVE, hold_id))
        if stored is None:
            raise NotFound(
                f"reservation `{hold_id}` does not exist",
                code="ReservationNotFound",
                hint="a refused reservation has none; very old ones are forgotten",
            )
        return stored_reservation(stored[1])


def _settled_otherwise(hold_id: str) -> IdempotencyConflict:
    return IdempotencyConflict(
        f"reservation `{hold_id}` was settled with another amount",
        hint="a reservation is settled once; report what comes later",
    )


def _item_of(catalog: Catalog, hold: Hold) -> tuple[Feature | None, int]:
    """The feature that a hold counts in and the scale of its amount."""
    if not hold.feature_id:
        currency = catalog.currencies.get(hold.currency_id)
        if currency is None:
            raise NotFound(f"credit currency `{hold.currency_id}` does not exist", code="CustomCurrencyNotFound")
        return None, currency.scale
    feature = catalog.features.get(hold.feature_id)
    if feature is None:
        raise NotFound(f"feature `{hold.feature_id}` does not exist any more", code="FeatureNotFound")
    return feature, feature.scale
