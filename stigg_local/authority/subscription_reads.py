"""Reading subscriptions: each shown as time has left it, whether or not that was written down."""

from collections.abc import Sequence

from stigg_local.authority.run import Runner
from stigg_local.core.customer import Customer, Subscription, status_of
from stigg_local.core.decided import find
from stigg_local.core.page import Page
from stigg_local.core.subscription_result import (
    SlimSubscription,
    SubscriptionResult,
    slim_subscription,
    subscription_result,
)
from stigg_local.errors import InvalidInput
from stigg_local.store.tx import Tx

# What entitles, as the seed's list of active subscriptions holds it.
ACTIVE = ("ACTIVE", "IN_TRIAL")


class SubscriptionReads:
    """Reads about subscriptions."""

    _runner: Runner

    def get(self, subscription_id: str) -> SubscriptionResult:
        """A subscription as it is now.

        Raises:
            NotFound: `SubscriptionNotFound`; `CustomerNotFound` where its customer is archived.
        """
        return self._runner.store.read(lambda tx: self._shown(tx, subscription_id))

    def page(
        self, customer_id: str, *, statuses: Sequence[str] | None, limit: int, after: str | None
    ) -> Page[SubscriptionResult]:
        """A customer's subscriptions, newest first, those that have ended too.

        Raises:
            NotFound: `CustomerNotFound`.
        """
        runner = self._runner

        def work(tx: Tx) -> Page[SubscriptionResult]:
            catalog = runner.catalog(tx)
            customer = runner.current(tx, catalog, customer_id)
            found = [
                item
                for item in sorted(customer.subscriptions, key=lambda item: (-item.created_ms, item.id))
                if statuses is None or status_of(item, tx.now_ms) in statuses
            ]
            rest = found
            if after is not None:
                place = next((index for index, item in enumerate(found) if item.id == after), None)
                if place is None:
                    raise InvalidInput(
                        f"the cursor `{after[:80]}` names no subscription of this list",
                        code="InvalidArgumentError",
                        hint="pass the `.next` of the page before",
                    )
                rest = found[place + 1 :]
            shown = rest[:limit]
            return Page(
                items=tuple(subscription_result(customer, item.id, catalog, now_ms=tx.now_ms) for item in shown),
                next=shown[-1].id if len(rest) > limit else None,
            )

        return runner.store.read(work)

    def active(self, customer_id: str, resource_ids: Sequence[str] | None) -> list[SlimSubscription]:
        """What entitles a customer now, slim: that of the resources, or what belongs to none.

        Raises:
            NotFound: `CustomerNotFound`.
        """
        runner = self._runner

        def work(tx: Tx) -> list[SlimSubscription]:
            catalog = runner.catalog(tx)
            customer = runner.current(tx, catalog, customer_id)
            return [
                slim_subscription(customer, item, catalog, payer=self._payer(tx, item), now_ms=tx.now_ms)
                for item in _active(customer, resource_ids, tx.now_ms)
            ]

        return runner.store.read(work)

    def active_whole(
        self, customer_id: str, resource_id: str | None, product_id: str | None
    ) -> list[SubscriptionResult]:
        """What entitles a customer now, whole: of one resource or of all, of one product or of all.

        Raises:
            NotFound: `CustomerNotFound`.
        """
        runner = self._runner

        def work(tx: Tx) -> list[SubscriptionResult]:
            catalog = runner.catalog(tx)
            customer = runner.current(tx, catalog, customer_id)
            if resource_id is not None:
                found = _active(customer, (resource_id,), tx.now_ms)
            else:
                found = [item for item in customer.subscriptions if status_of(item, tx.now_ms) in ACTIVE]
            return [
                subscription_result(customer, item.id, catalog, now_ms=tx.now_ms)
                for item in found
                if product_id in (None, item.product_id)
            ]

        return runner.store.read(work)

    # ------------------------------------------------------------------ inside

    def _shown(self, tx: Tx, subscription_id: str) -> SubscriptionResult:
        catalog = self._runner.catalog(tx)
        customer = self._runner.current(tx, catalog, self._runner.owner(tx, subscription_id))
        find(customer, subscription_id)
        return subscription_result(customer, subscription_id, catalog, now_ms=tx.now_ms)

    def _payer(self, tx: Tx, subscription: Subscription) -> Customer | None:
        payer_id = subscription.paying_customer_id
        return None if payer_id is None else self._runner.stored(tx, payer_id)


def _active(customer: Customer, resource_ids: Sequence[str] | None, now_ms: int) -> list[Subscription]:
    wanted = (None,) if resource_ids is None else tuple(resource_ids)
    return [
        item for item in customer.subscriptions if status_of(item, now_ms) in ACTIVE and item.resource_id in wanted
    ]
