"""Commands about promotional entitlements: granted and revoked by hand, one for each feature of a customer."""

from collections.abc import Sequence

from msgspec import Struct

from stigg_local.authority.run import Runner
from stigg_local.core.event import PROMOTION_REVOKED
from stigg_local.core.lifecycle import advance
from stigg_local.core.promotional import GrantPromotional, grant_events, revoke
from stigg_local.core.promotional import grant as grant_promotional
from stigg_local.core.result import PromotionalResult, promotional_result
from stigg_local.store.tx import Tx


class _Promotions(Struct, frozen=True):
    items: tuple[PromotionalResult, ...]


class _Grants(Struct, frozen=True):
    customer_id: str
    grants: tuple[GrantPromotional, ...]


class _Revocation(Struct, frozen=True):
    customer_id: str
    feature_ids: tuple[str, ...]
    group_ids: tuple[str, ...] = ()


class _Revoked(Struct, frozen=True):
    feature_ids: tuple[str, ...]


class Promotions:
    """Commands about promotional entitlements."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def grant(
        self, customer_id: str, grants: Sequence[GrantPromotional], *, key: str | None
    ) -> tuple[PromotionalResult, ...]:
        """Grant promotional entitlements; a feature that has one gets it replaced.

        Raises:
            NotFound: The customer or a feature does not exist.
            NotAllowed, InvalidInput: As `core.promotional.grant`.
        """

        def decide(tx: Tx) -> _Promotions:
            catalog = self._runner.catalog(tx)
            known = self._runner.customer(tx, customer_id)
            advanced = advance(known, catalog, to_ms=tx.now_ms)
            customer, made = grant_promotional(advanced.customer, catalog, grants, now_ms=tx.now_ms)
            events = (*advanced.events, *grant_events(advanced.customer, made, now_ms=tx.now_ms))
            self._runner.put_customer(tx, catalog, customer, before=known, events=events)
            return _Promotions(tuple(promotional_result(promotion) for promotion in made))

        command = _Grants(customer_id, tuple(grants))
        return self._runner.run("grantPromotionalEntitlements", key, customer_id, command, decide, _Promotions).items

    def revoke(
        self, customer_id: str, feature_ids: Sequence[str], group_ids: Sequence[str], *, key: str | None
    ) -> tuple[str, ...]:
        """Take promotional entitlements back: all that are named, or none; returns the features that lost theirs.

        Raises:
            NotFound: The customer does not exist, or has no such promotion (`PromotionalEntitlementNotFoundError`).
        """

        def decide(tx: Tx) -> _Revoked:
            catalog = self._runner.catalog(tx)
            known = self._runner.customer(tx, customer_id)
            done = revoke(known, catalog, feature_ids, group_ids=group_ids, now_ms=tx.now_ms)
            self._runner.put_customer(tx, catalog, done.customer, before=known, events=done.events)
            revoked = (item.feature_id for item in done.events if item.type == PROMOTION_REVOKED)
            return _Revoked(tuple(feature_id for feature_id in revoked if feature_id is not None))

        command = _Revocation(customer_id, tuple(feature_ids), tuple(group_ids))
        operation = "revokePromotionalEntitlements"
        return self._runner.run(operation, key, customer_id, command, decide, _Revoked).feature_ids
