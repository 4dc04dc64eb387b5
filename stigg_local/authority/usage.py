"""Usage reports, which charge wallets where the feature has a credit rate, and credit grants."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from stigg_local.authority import numbers
from stigg_local.authority.events import check_not_folded, repaired
from stigg_local.authority.recording import record, trace_of
from stigg_local.authority.run import Runner
from stigg_local.authority.usage_check import created_at, entitled_or_refused
from stigg_local.clock import new_id
from stigg_local.core.credit import Grant
from stigg_local.core.entitlement import Winner, find_winner
from stigg_local.core.ledger import GRANTED
from stigg_local.core.period import FOREVER_MS, to_text
from stigg_local.core.quantity import from_raw, to_raw
from stigg_local.core.result import (
    CreditGrantResult,
    ReportUsageResult,
    grant_result,
)
from stigg_local.errors import InvalidInput
from stigg_local.store.tx import Tx

REPORT = "reportUsage"


class ReportUsage(Struct, frozen=True, kw_only=True):
    """One usage report, checked for its shape; `created_ms` None means now."""

    customer_id: str
    feature_id: str
    value: Any
    behavior: str = "DELTA"
    resource_id: str | None = None
    created_ms: int | None = None
    dimensions: Mapping[str, Any] | None = None


class GrantCredits(Struct, frozen=True, kw_only=True):
    """One credit grant to make, checked for its shape."""

    customer_id: str
    currency_id: str
    amount: Any
    grant_type: str = "PROMOTIONAL"
    priority: int = 0
    effective_ms: int | None = None
    expire_ms: int | None = None
    cost: str | None = None
    resource_id: str | None = None


class Usage:
    """Commands about usage and credits."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def grant_credits(self, command: GrantCredits, *, key: str | None) -> CreditGrantResult:
        """Add a credit grant to a wallet; a debt is settled from it at once.

        Raises:
            NotFound: The customer, resource or currency does not exist.
            InvalidInput: The amount is not above 0, or the grant would expire before it is effective
                (`ExpireAtMustBeLaterThanEffectiveAtError`).
        """

        def decide(tx: Tx) -> CreditGrantResult:
            catalog = self._runner.catalog(tx)
            snapshot = self._runner.snapshot(tx, command.customer_id, command.resource_id)
            currency = catalog.currency(command.currency_id)
            amount = to_raw(command.amount, currency.scale, name="amount")
            effective = tx.now_ms if command.effective_ms is None else command.effective_ms
            expire = FOREVER_MS if command.expire_ms is None else command.expire_ms
            if amount <= 0:
                raise InvalidInput(
                    f"amount is `{command.amount}`", code="InvalidArgumentError", hint="grant more than 0"
                )
            if expire <= effective:
                raise InvalidInput(
                    f"the grant would expire at {to_text(expire)} and be effective at {to_text(effective)}",
                    code="ExpireAtMustBeLaterThanEffectiveAtError",
                    hint="pass a later expire_at",
                )
            grant = Grant(
                id=new_id("grant-"),
                currency_id=currency.id,
                resource_id=command.resource_id or "",
                grant_type=command.grant_type,
                amount=amount,
                consumed=0,
                priority=command.priority,
                effective_ms=effective,
                expire_ms=expire,
                created_ms=tx.now_ms,
                cost=command.cost,
            )
            numbers.put_grant(tx, command.customer_id, grant, GRANTED, amount)
            numbers.settle(tx, catalog, snapshot, command.customer_id)
            after = next(item for item in numbers.load_grants(tx, command.customer_id) if item.id == grant.id)
            return grant_result(after, customer_id=command.customer_id, scale=currency.scale, now_ms=tx.now_ms)

        return self._runner.run("grantCredits", key, command.customer_id, command, decide, CreditGrantResult)

    def report(self, command: ReportUsage, *, key: str | None, durability: str) -> ReportUsageResult:
        """Record usage that happened, beyond a limit too; a feature with a credit rate charges the wallet.

        Raises:
            NotFound: The customer, resource or feature does not exist.
            NotAllowed: The feature is not metered, is fed by events, or the customer is not entitled to it; or
                fluctuating usage would fall below 0.
            InvalidInput: The value is no number that the feature's scale can hold, or lies in the future.
        """

        measurement_id = new_id()

        def decide(tx: Tx) -> ReportUsageResult:
            return _record(self._runner, tx, command, durability, measurement_id)

        return self._runner.run(
            REPORT,
            key,
            command.customer_id,
            command,
            decide,
            ReportUsageResult,
            durability=durability,
            trace=trace_of(command, measurement_id),
        )

    def report_bulk(
        self, commands: Sequence[ReportUsage], *, key: str | None, keys: Sequence[str | None], durability: str
    ) -> list[ReportUsageResult]:
        """Record several reports in one transaction, all or none.

        Args:
            key: The whole call's key.
            keys: Each report's own key; a report whose key was used gives its first result and counts nothing.

        Raises: as `report`.
        """
        customers = sorted({command.customer_id for command in commands})

        def decide(tx: Tx) -> _Bulk:
            return _Bulk(tuple(self._one(tx, *item, durability) for item in zip(commands, keys, strict=True)))

        def write() -> _Bulk:
            owner = customers[0] if len(customers) == 1 else ""
            asked = _BulkOf(tuple(commands))
            return self._runner.run(REPORT, key, owner, asked, decide, _Bulk, durability=durability)

        for customer_id in customers:
            self._runner.store.settle_queued(customer_id)
        return list(repaired(self._runner, customers, write).results)

    def _one(self, tx: Tx, command: ReportUsage, key: str | None, durability: str) -> ReportUsageResult:
        def decide() -> ReportUsageResult:
            return _record(self._runner, tx, command, durability, new_id())

        if key is None:
            return decide()
        return self._runner.once(tx, REPORT, key, command.customer_id, command, decide, ReportUsageResult)


class _Bulk(Struct, frozen=True):
    results: tuple[ReportUsageResult, ...]


class _BulkOf(Struct, frozen=True):
    commands: tuple[ReportUsage, ...]


def _record(runner: Runner, tx: Tx, command: ReportUsage, durability: str, measurement_id: str) -> ReportUsageResult:
    catalog = runner.catalog(tx)
    customer_id, resource_id = command.customer_id, command.resource_id or ""
    standing = runner.standings.of(tx, catalog, customer_id, command.feature_id, command.resource_id)
    snapshot, feature = standing.snapshot, standing.feature
    value = to_raw(command.value, feature.scale, name="value")
    created_ms = tx.now_ms
    if command.created_ms is not None:
        created_ms = created_at(command.created_ms, tx.now_ms)
        check_not_folded(created_ms, tx.usage_from_ms(), "created_at")
    current = entitled_or_refused(standing.winner, customer_id, feature, is_active=standing.is_active)
    moved = record(
        runner,
        tx,
        catalog,
        snapshot,
        feature,
        customer_id=customer_id,
        resource_id=resource_id,
        measurement_id=measurement_id,
        behavior=command.behavior,
        value=value,
        created_ms=created_ms,
        is_late=command.created_ms is not None,
        winner=current,
        dimensions=command.dimensions,
        windows=standing.windows if created_ms == tx.now_ms else None,
    )
    then: Winner | None = current
    if created_ms != tx.now_ms:
        then = find_winner(catalog, snapshot, feature, resource_id, created_ms)[0]
    if then is not None and then.contribution.rate is not None:
        before, after = moved.get((then.from_ms, then.end_ms), (0, 0))
        numbers.charge_use(
            tx,
            catalog,
            snapshot,
            feature,
            then.contribution.rate,
            after - before,
            customer_id=customer_id,
            resource_id=resource_id,
            at_ms=created_ms,
            measurement_id=measurement_id,
        )
    window = (current.from_ms, current.end_ms)
    usage = moved[window][1] if window in moved else tx.counter(customer_id, resource_id, feature.id, *window) or 0
    has_period = current.contribution.reset_period is not None
    return ReportUsageResult(
        measurement_id=measurement_id,
        current_usage=from_raw(usage, feature.scale),
        usage_period_start_ms=current.start_ms if has_period else None,
        usage_period_end_ms=current.end_ms if has_period else None,
        durability=durability,
    )
