"""Credits by themselves: consuming without asking, voiding a grant, and what a wallet is made of and was."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from stigg_local.authority import numbers
from stigg_local.authority.consumption import answer_now, answer_of
from stigg_local.authority.run import Runner
from stigg_local.clock import new_id
from stigg_local.core.answer import CREDIT, CreditEntitlement
from stigg_local.core.consume_result import ConsumeCreditsResult, ConsumeReply, keep
from stigg_local.core.credit import Grant, is_debt, settle_debt, wallet
from stigg_local.core.credit_rows import CreditGrantRow, CreditLedgerRow, grant_row, ledger_rows
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.core.hold import held_credits
from stigg_local.core.ledger import GRANTED, TRANSFERRED, TRANSFERRED_FROM, VOIDED, LedgerEntry
from stigg_local.core.page import Page
from stigg_local.core.quantity import from_raw, to_raw
from stigg_local.core.result import CreditGrantResult, grant_result
from stigg_local.core.sources import Catalog
from stigg_local.errors import InvalidInput, NotAllowed, NotFound
from stigg_local.store.tx import Tx

_entry_decoder = msgspec.msgpack.Decoder(LedgerEntry)


class ConsumeCredits(Struct, frozen=True, kw_only=True):
    """Credits that were used, checked for its shape."""

    customer_id: str
    currency_id: str
    amount: Any
    resource_id: str | None = None


class VoidGrant(Struct, frozen=True, kw_only=True):
    """A grant whose rest is taken away, checked for its shape."""

    grant_id: str


class Credits:
    """Commands and lists about credits."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def consume(self, command: ConsumeCredits, *, key: str | None, durability: str) -> ConsumeCreditsResult:
        """Take credits that were used, beyond what there is too: what is short becomes a debt.

        Raises:
            NotFound: The customer, resource or currency does not exist.
            InvalidInput: The amount is no number that the currency's scale can hold.
        """

        def decide(tx: Tx) -> ConsumeReply:
            catalog = self._runner.catalog(tx)
            snapshot = self._runner.snapshot(tx, command.customer_id, command.resource_id)
            currency = catalog.currency(command.currency_id)
            cost = to_raw(command.amount, currency.scale, name="amount")
            measurement_id = new_id()
            numbers.charge(
                tx,
                catalog,
                snapshot,
                customer_id=command.customer_id,
                resource_id=command.resource_id or "",
                currency_id=currency.id,
                cost=cost,
                at_ms=tx.now_ms,
                feature_id="",
                measurement_id=measurement_id,
            )
            after = answer_now(
                self._runner,
                tx,
                catalog,
                command.customer_id,
                currency.id,
                resource_id=command.resource_id or "",
                kind=CREDIT,
            )
            return ConsumeReply(measurement_id, keep(currency.id, after), cost, False, currency.scale)

        reply = self._runner.run(
            "consumeCredits", key, command.customer_id, command, decide, ConsumeReply, durability=durability
        )
        answer = answer_of(self._runner, reply.kept)
        assert isinstance(answer, CreditEntitlement), "the answer for a wallet"
        return ConsumeCreditsResult(
            consumed=from_raw(reply.held, reply.scale),
            current_balance=answer.current_balance,
            entitlement=answer,
            durability=durability,
        )

    def void_grant(self, command: VoidGrant, *, key: str | None) -> CreditGrantResult:
        """Take away what is left of a grant; what was consumed of it stays consumed.

        Raises:
            NotFound: There is no such grant (`CreditGrantNotFound`).
            NotAllowed: `CreditGrantAlreadyVoided`; a debt, or one that expired (`CreditGrantCannotBeVoided`).
        """
        customer_id = self._runner.store.read(lambda tx: _owner(tx, command.grant_id))

        def decide(tx: Tx) -> CreditGrantResult:
            catalog = self._runner.catalog(tx)
            snapshot = self._runner.snapshot(tx, customer_id, None)
            numbers.settle(tx, catalog, snapshot, customer_id)
            grant = self._grant(tx, catalog, snapshot, customer_id, command.grant_id)
            if grant.grant_type == "OVERDRAFT" or grant.expire_ms <= tx.now_ms:
                what = "a debt" if grant.grant_type == "OVERDRAFT" else "expired"
                raise NotAllowed(
                    f"grant `{grant.id}` is {what}",
                    code="CreditGrantCannotBeVoided",
                    hint="a debt is settled by granting credits" if what == "a debt" else "nothing is left of it",
                )
            if grant.voided_ms is not None:
                raise NotAllowed(
                    f"grant `{grant.id}` is voided already",
                    code="CreditGrantAlreadyVoided",
                    hint="nothing of it is left to void",
                )
            voided = replace(grant, voided_ms=tx.now_ms)
            numbers.put_grant(tx, customer_id, voided, VOIDED, -max(0, grant.remaining))
            scale = catalog.currency(grant.currency_id).scale
            return grant_result(voided, customer_id=customer_id, scale=scale, now_ms=tx.now_ms)

        return self._runner.run("voidCreditGrant", key, customer_id, command, decide, CreditGrantResult)

    def _grant(self, tx: Tx, catalog: Catalog, snapshot: CustomerSnapshot, customer_id: str, grant_id: str) -> Grant:
        """The grant; a recurring one of now that nobody has touched is stored first."""
        stored = {grant.id: grant for grant in numbers.load_grants(tx, customer_id)}
        if grant_id in stored:
            return stored[grant_id]
        grant = numbers.recurring_now(tx, catalog, snapshot).get(grant_id)
        if grant is None:
            raise _unknown_grant(grant_id)
        numbers.put_grant(tx, customer_id, grant, GRANTED, grant.amount)
        return grant

    # ------------------------------------------------------------------ lists

    def grants(
        self, customer_id: str, currency_id: str | None, resource_id: str | None, *, limit: int, cursor: str | None
    ) -> Page[CreditGrantRow]:
        """The customer's grants, recurring ones of now included, in the order of their time.

        Raises:
            NotFound: The customer or the currency does not exist.
        """

        def load(tx: Tx) -> list[CreditGrantRow]:
            catalog = self._runner.catalog(tx)
            snapshot = self._runner.snapshot(tx, customer_id, resource_id)
            if currency_id is not None:
                catalog.currency(currency_id)
            holds = numbers.load_holds(tx, customer_id)
            known = _as_they_stand(tx, catalog, snapshot, customer_id)
            stored = list(known.values())
            found = numbers.recurring_now(tx, catalog, snapshot) | known
            for place in {(grant.currency_id, grant.resource_id) for grant in found.values()}:
                # Of a recurring grant, the most that was ever issued.
                purse = wallet(catalog, snapshot, stored, currency_id=place[0], resource_id=place[1], at_ms=tx.now_ms)
                found |= {grant.id: grant for grant in purse.grants}
            held = {
                place: held_credits(holds, currency_id=place[0], resource_id=place[1], at_ms=tx.now_ms).parts
                for place in {(hold.currency_id, hold.resource_id) for hold in holds}
            }
            return [
                grant_row(
                    grant,
                    customer_id=customer_id,
                    scale=catalog.currencies[grant.currency_id].scale,
                    held=held.get((grant.currency_id, grant.resource_id), {}).get(grant.id, 0),
                    now_ms=tx.now_ms,
                )
                for grant in sorted(found.values(), key=lambda item: (item.effective_ms, item.created_ms, item.id))
                if currency_id in (None, grant.currency_id)
                and resource_id in (None, grant.resource_id)
                and grant.currency_id in catalog.currencies
            ]

        return _page(self._runner.store.read(load), limit, cursor)

    def ledger(
        self, customer_id: str, currency_id: str | None, resource_id: str | None, *, limit: int, cursor: str | None
    ) -> Page[CreditLedgerRow]:
        """What happened to the customer's credits, newest first, expiries among it.

        Raises:
            NotFound: The customer or the currency does not exist.
        """

        def load(tx: Tx) -> list[CreditLedgerRow]:
            catalog = self._runner.catalog(tx)
            snapshot = self._runner.snapshot(tx, customer_id, resource_id)
            if currency_id is not None:
                catalog.currency(currency_id)
            entries = [(f"{row.seq}-{row.ord}", _entry_decoder.decode(row.body)) for row in tx.ledger(customer_id)]
            entries += _unwritten(tx, catalog, snapshot, customer_id)
            scales = {key: currency.scale for key, currency in catalog.currencies.items()}
            rows = ledger_rows(entries, customer_id=customer_id, scales=scales, now_ms=tx.now_ms)
            return [
                row
                for row in rows
                if currency_id in (None, row.currency_id) and resource_id in (None, row.resource_id)
            ]

        return _page(self._runner.store.read(load), limit, cursor)


def _as_they_stand(tx: Tx, catalog: Catalog, snapshot: CustomerSnapshot, customer_id: str) -> dict[str, Grant]:
    """The stored grants with the debts that time alone has paid, by id."""
    known = {grant.id: grant for grant in numbers.load_grants(tx, customer_id)}
    for debt in [grant for grant in known.values() if is_debt(grant)]:
        holds = numbers.load_holds(tx, customer_id)
        paid = settle_debt(catalog, snapshot, list(known.values()), debt, at_ms=tx.now_ms, holds=holds)
        known |= {grant.id: grant for grant in paid.changed}
    return known


def _unwritten(
    tx: Tx, catalog: Catalog, snapshot: CustomerSnapshot, customer_id: str
) -> list[tuple[str, LedgerEntry]]:
    """What time alone has done and the next write will note: recurring grants of now, and debts that were paid."""
    stored = {grant.id: grant for grant in numbers.load_grants(tx, customer_id)}
    entries = [
        (f"{grant.id}-granted", LedgerEntry(GRANTED, grant.amount, grant.effective_ms, grant))
        for grant in numbers.recurring_now(tx, catalog, snapshot).values()
        if grant.id not in stored
    ]
    known = {entry.grant.id for _, entry in entries} | stored.keys()
    for debt in [grant for grant in stored.values() if is_debt(grant)]:
        holds = numbers.load_holds(tx, customer_id)
        paid = settle_debt(catalog, snapshot, list(stored.values()), debt, at_ms=tx.now_ms, holds=holds)
        taken = dict(paid.taken)
        for grant in paid.changed:
            if grant.id not in known:
                whole = replace(grant, consumed=0)
                entries.append((f"{grant.id}-granted", LedgerEntry(GRANTED, grant.amount, grant.effective_ms, whole)))
            kind, amount = TRANSFERRED, -taken.get(grant.id, 0)
            if grant.id == debt.id:
                kind, amount = TRANSFERRED_FROM, debt.consumed - grant.consumed
            if amount:
                entries.append((f"{grant.id}-{debt.id}-paid", LedgerEntry(kind, amount, tx.now_ms, grant)))
    return entries


def _owner(tx: Tx, grant_id: str) -> str:
    owners = tx.grant_owners(grant_id)
    if len(owners) == 1:
        return owners[0]
    if owners:
        raise NotAllowed(
            f"grant `{grant_id}` is a debt",
            code="CreditGrantCannotBeVoided",
            hint="a debt is settled by granting credits",
        )
    # A recurring grant that nobody has touched has no row; its id begins with its subscription.
    owner = tx.subscription_owner(grant_id.rsplit(":", 3)[0]) if grant_id.count(":") >= 3 else None
    if owner is None:
        raise _unknown_grant(grant_id)
    return owner


def _unknown_grant(grant_id: str) -> NotFound:
    return NotFound(
        f"credit grant `{grant_id}` does not exist",
        code="CreditGrantNotFound",
        hint="get_credit_grants lists the grants of a customer",
    )


def _page(rows: Iterable[Any], limit: int, cursor: str | None) -> Page[Any]:
    listed = list(rows)
    start = 0
    if cursor is not None:
        places = [place for place, row in enumerate(listed) if row.id == cursor]
        if not places:
            raise InvalidInput(f"cursor is `{cursor[:60]}`", code="InvalidArgumentError", hint="pass `page.next`")
        start = places[0] + 1
    items = tuple(listed[start : start + limit])
    return Page(items=items, next=items[-1].id if items and start + limit < len(listed) else None)
