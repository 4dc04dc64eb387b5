"""Calls that check and record in one step, and calls about credits by themselves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stigg_local.core.answer import CREDIT, METERED, MeteredEntitlement
from stigg_local.core.entitlement import answer_request
from stigg_local.errors import StoreError
from stigg_local.getters import Quantity
from stigg_local.writing import Writing

if TYPE_CHECKING:
    from stigg_local.authority.consumption import Consume
    from stigg_local.core.consume_result import ConsumeCreditsResult, ConsumeResult
    from stigg_local.core.credit_rows import CreditGrantRow, CreditLedgerRow
    from stigg_local.core.page import Page
    from stigg_local.core.result import CreditGrantResult
    from stigg_local.embedded import Embedded


class ConsumeCalls(Writing):
    """`consume`, and credits."""

    def consume(
        self,
        customer_id: str,
        feature_id: str | None = None,
        value: Quantity = 1,
        *,
        currency_id: str | None = None,
        resource_id: str | None = None,
        dimensions: Mapping[str, Any] | None = None,
        scope: str = "host",
        durability: str | None = None,
        idempotency_key: str | None = None,
    ) -> "ConsumeResult":
        """Record usage if there is room for it: check and record are one step, for all threads and processes.

        A feature with a credit rate needs room in its limit and credits in its wallet, and takes both. Nothing is
        ever admitted beyond a hard limit; a soft one lets everything through.

        Args:
            customer_id: The customer.
            feature_id: A metered feature that is not fed by raw events.
            value: Units, or credits with `currency_id`; above 0.
            currency_id: Consume credits alone, instead of a feature.
            resource_id: The resource whose usage it is.
            dimensions: Attributes kept with the measurement: text, numbers or booleans by name.
            scope: "host" or "global": an embedded client's answer is exact for both.
            durability: "disk": on return it survives a power cut; "os": a killed process.
            idempotency_key: The same key with the same arguments is recorded once and returns the first result. A
                refusal is not remembered, because it recorded nothing: the same key may be admitted later.

        Returns:
            `.allowed`, `.access_denied_reason`, `.entitlement` (as it stands after), `.measurement_id`. A refusal is
            a value, also of an unknown customer, resource or feature; it writes nothing.

        Raises:
            InvalidInput: The value is not above 0, or both or neither of feature and currency are named.
            NotAllowed: The feature is fed by raw events (`CannotReportUsageForEntitlementWithMeterError`).
            IdempotencyConflict: The key was used with other arguments.
            StoreError: The disk failed; with the same `idempotency_key` the call can be repeated safely.
        """
        from stigg_local.consume_arguments import consume_command

        embedded = self._authority("consume")
        command = consume_command(
            customer_id,
            feature_id,
            value,
            currency_id=currency_id,
            resource_id=resource_id,
            dimensions=dimensions,
            scope=scope,
        )
        level = self._level(durability)
        # A key may have been admitted before, and then its repeat is no refusal.
        known = None if idempotency_key is not None else self._known_refusal(command)
        if known is not None:
            return known
        result = embedded.authority.consumption.consume(command, key=idempotency_key, durability=level)
        if not result.allowed and not result.entitlement.is_fallback:
            # Whoever knocks again is refused from memory, until anything changes.
            self._remember(embedded, command)
        if result.allowed and self._listeners.has("usageUpdated"):
            entitlement = result.entitlement
            used = entitlement.current_usage if isinstance(entitlement, MeteredEntitlement) else value
            self._listeners.usage_updated(entitlement, used)
        return result

    def _known_refusal(self, command: "Consume") -> "ConsumeResult | None":
        """The refusal that the memo is sure of: the answer is as current as any, and it has no room."""
        try:
            slot, seen, entries, resources, _, catalog = self._memo[command.customer_id]
            if command.resource_id is not None:
                entries = resources[command.resource_id]
            _, until, kind, _, _, compiled = entries[command.feature_id or command.currency_id]
        except LookupError:
            return None
        is_current = self._generation[slot] == seen and (until is None or self._time() < until)
        feature = catalog.features.get(command.feature_id)
        is_plain = type(command.value) is int and (feature is None or feature.meter is None)
        is_right = kind == (METERED if command.feature_id else CREDIT) and compiled.gate.denied is None
        if not (is_current and is_plain and is_right):
            return None
        answer = answer_request(compiled, command.value, ())
        if answer.has_access:
            return None
        from stigg_local.core.consume_result import refused_result

        return refused_result(answer)

    def _remember(self, embedded: "Embedded", command: "Consume") -> None:
        kind = METERED if command.feature_id else CREDIT
        item_id, resource_id = command.feature_id or command.currency_id, command.resource_id or ""
        try:
            embedded.replica.answer(kind, command.customer_id, item_id, resource_id, 0, ())
        except StoreError:
            # It was refused all the same; the next read tells of what is wrong.
            return

    def consume_credits(
        self,
        customer_id: str,
        currency_id: str,
        amount: Quantity,
        *,
        resource_id: str | None = None,
        durability: str | None = None,
        idempotency_key: str | None = None,
    ) -> "ConsumeCreditsResult":
        """Take credits that were used; never refused: what is short becomes a debt. `consume` is what refuses.

        Args:
            customer_id: An existing customer.
            currency_id: A credit currency of the catalog.
            amount: Credits, above 0.
            resource_id: The wallet's resource.
            durability: "disk": on return it survives a power cut; "os": a killed process.
            idempotency_key: The same key with the same arguments consumes once and returns the first result.

        Returns:
            `.consumed`, `.current_balance`, `.entitlement` (of the wallet, as it stands after).

        Raises:
            NotFound: `CustomerNotFound`, `CustomerResourceNotFound` or `CustomCurrencyNotFound`.
            InvalidInput: The amount is not above 0.
        """
        from stigg_local.consume_arguments import consume_credits_command

        embedded = self._authority("consume_credits")
        command = consume_credits_command(customer_id, currency_id, amount, resource_id=resource_id)
        result = embedded.authority.credits.consume(command, key=idempotency_key, durability=self._level(durability))
        self._entitlements_changed(customer_id)
        return result

    def void_credit_grant(self, grant_id: str, *, idempotency_key: str | None = None) -> "CreditGrantResult":
        """Take away what is left of a grant; what was consumed of it stays consumed.

        Raises:
            NotFound: `CreditGrantNotFound`.
            NotAllowed: `CreditGrantAlreadyVoided`, or `CreditGrantCannotBeVoided` for a debt and an expired grant.
        """
        from stigg_local.consume_arguments import void_command

        embedded = self._authority("void_credit_grant")
        result = embedded.authority.credits.void_grant(void_command(grant_id), key=idempotency_key)
        self._entitlements_changed(result.customer_id)
        return result

    def get_credit_grants(
        self,
        customer_id: str,
        currency_id: str | None = None,
        *,
        resource_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> "Page[CreditGrantRow]":
        """The customer's credit grants in the order of their time, the recurring ones of now and debts included.

        Args:
            customer_id: An existing customer.
            currency_id: Of one currency alone.
            resource_id: Of one resource alone; None for all wallets.
            limit: 1 to 1,000.
            cursor: The `.next` of the page before.

        Raises:
            NotFound: `CustomerNotFound`, `CustomerResourceNotFound` or `CustomCurrencyNotFound`.
        """
        from stigg_local.calls import page_limit

        credits = self._authority("get_credit_grants").authority.credits
        customer_id, item_id, resource_id = self._checked_ids(customer_id, currency_id or "", resource_id)
        return credits.grants(customer_id, item_id or None, resource_id, limit=page_limit(limit), cursor=cursor)

    def get_credit_ledger(
        self,
        customer_id: str,
        currency_id: str | None = None,
        *,
        resource_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> "Page[CreditLedgerRow]":
        """What happened to the customer's credits, newest first: the amounts sum up to the balance.

        Args:
            customer_id, currency_id, resource_id, limit, cursor: As for `get_credit_grants`.

        Raises:
            NotFound: `CustomerNotFound`, `CustomerResourceNotFound` or `CustomCurrencyNotFound`.
        """
        from stigg_local.calls import page_limit

        credits = self._authority("get_credit_ledger").authority.credits
        customer_id, item_id, resource_id = self._checked_ids(customer_id, currency_id or "", resource_id)
        return credits.ledger(customer_id, item_id or None, resource_id, limit=page_limit(limit), cursor=cursor)
