"""Calls about subscriptions and their payment."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stigg_local.core.ids import UNSET, Unset, check_id
from stigg_local.writing import Instant, Writing

if TYPE_CHECKING:
    from stigg_local.core.page import Page
    from stigg_local.core.subscription_result import (
        ProvisionSubscriptionResult,
        ScheduledUpdatesCancelled,
        SlimSubscription,
        SubscriptionResult,
    )
    from stigg_local.payment_calls import PaymentCalls


class SubscriptionCalls(Writing):
    """Subscriptions."""

    @property
    def payments(self) -> "PaymentCalls":
        """`settle`: what a billing webhook tells later."""
        from stigg_local.payment_calls import PaymentCalls

        return PaymentCalls(self._authority("payments").authority.payments, self._entitlements_changed)

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
        promotion_code: str | None = None,
        coupon_id: str | None = None,
        billing_country_code: str | None = None,
        billing_information: Mapping[str, Any] | None = None,
        checkout_options: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        billing_cycle_anchor: str = "UNCHANGED",
        start_date: Instant | None = None,
        skip_trial: bool = False,
        trial_override: Mapping[str, Any] | None = None,
        schedule_strategy: str | None = None,
        paying_customer_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> "ProvisionSubscriptionResult":
        """Give a customer a subscription.

        It ends the running non-trial subscription of the same product and resource when it starts. A plan with a
        default trial is trialed, beside what runs, when the customer never trialed the product; the trialed plan
        itself is bought. A change that is put off is scheduled on the running subscription, which is returned.

        Args:
            customer_id: An existing customer.
            plan_id: A published plan; its latest version is taken.
            billing_period: MONTHLY or ANNUALLY; required for paid plans.
            resource_id: Required for products with several subscriptions, and only for those.
            billable_features: `[{"feature_id", "quantity"}]`, one for each feature with a per-unit price.
            addons: `[{"addon_id", "quantity"}]`.
            entitlements: Values of a custom plan: `[{"feature": {"feature_id", "usage_limit"}}]` or
                `[{"credit": {"custom_currency_id", "amount", "cadence"}}]`.
            promotion_code, coupon_id: A discount of this subscription; it replaces the customer's coupon.
            billing_country_code: ISO 3166-1 alpha-2, for prices of that country.
            billing_information: `tax_rate_ids, tax_percentage, metadata`, for the payment provider alone.
            checkout_options: `success_url` and `cancel_url` (both mandatory), `allow_promo_codes,
                collect_billing_address, reference_id, allow_tax_id_collection, collect_phone_number`, for the
                payment provider's checkout page.
            metadata: Kept with the subscription.
            billing_cycle_anchor: UNCHANGED keeps the running billing cycle, NOW begins a new one.
            start_date: In the past or in the future; None: at once.
            skip_trial: True to start paid at once.
            trial_override: `{"is_trial", "trial_end_date", "trial_end_behavior"}`, whatever the plan says.
            schedule_strategy: IMMEDIATE, END_OF_BILLING_PERIOD or END_OF_BILLING_MONTH; None for what the product
                says.
            paying_customer_id: Who pays, where it is another customer.
            idempotency_key: The same key with the same arguments returns the first result.

        Returns:
            `.status` ("Success", or "PaymentRequired" with `.checkout_url`) and `.subscription`. Where nothing is
            left to pay, `.checkout_url` is the `success_url` of the checkout options, so that one redirect does.

        Raises:
            NotFound: `CustomerNotFound`, `PlanNotFound`, `AddonNotFound`, `CouponNotFound`, `PromotionCodeNotFound`.
            NotAllowed: A rule refuses; the code names it, for example `IncompatibleSubscriptionAddon`.
            InvalidInput: For example `BillingPeriodMissingError`, `InvalidQuantity`, `InvalidArgumentError`.
            AuthorityUnavailable: The payment provider failed; repeat with the same `idempotency_key`.
        """
        from stigg_local.core import billing
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
                "promotion_code": promotion_code,
                "coupon_id": coupon_id,
                "billing_country_code": billing_country_code,
                "metadata": metadata,
                "billing_cycle_anchor": billing_cycle_anchor,
                "start_date": start_date,
                "skip_trial": skip_trial,
                "trial_override": trial_override,
                "schedule_strategy": schedule_strategy,
                "paying_customer_id": paying_customer_id,
            },
        )
        options = billing.checkout_options(checkout_options)
        result = self._authority("provision_subscription").authority.subscriptions.provision(
            command,
            key=idempotency_key,
            billing_information=billing.billing_information(billing_information),
            checkout_options=options,
        )
        self._entitlements_changed(customer_id)
        made = result.subscription
        if options is not None and made is not None and made.payment_collection == "NOT_REQUIRED":
            from msgspec.structs import replace

            return replace(result, checkout_url=options["success_url"])
        return result

    def create_subscription(self, customer_id: str, plan_id: str, **arguments: Any) -> "SubscriptionResult | None":
        """The subscription of `provision_subscription`, which took the place of this call.

        Raises:
            As `provision_subscription`.
        """
        warnings.warn(
            "create_subscription is deprecated; use provision_subscription", DeprecationWarning, stacklevel=2
        )
        return self.provision_subscription(customer_id, plan_id, **arguments).subscription

    def update_subscription(
        self,
        subscription_id: str,
        *,
        billable_features: Iterable[Any] | Unset | None = UNSET,
        addons: Iterable[Any] | Unset | None = UNSET,
        promotion_code: str | Unset | None = UNSET,
        billing_period: str | Unset | None = UNSET,
        metadata: Mapping[str, str] | Unset | None = UNSET,
        billing_information: Mapping[str, Any] | None = None,
        billing_cycle_anchor: str = "UNCHANGED",
        trial_end_date: Instant | Unset | None = UNSET,
        cancellation_date: Instant | Unset | None = UNSET,
        schedule_strategy: str | None = None,
        idempotency_key: str | None = None,
    ) -> "SubscriptionResult":
        """Change a subscription in place; its start date stays. Another plan is for `provision_subscription`.

        A change that lowers anything is a downgrade as a whole, at once or at the end of the billing period as the
        product says. A new change takes the place of the scheduled ones.

        Args:
            subscription_id: One that has not ended.
            billable_features: `[{"feature_id", "quantity"}]`; the features that are not named stay.
            addons: The full list from now on.
            promotion_code: None takes the discount away.
            billing_period: MONTHLY or ANNUALLY.
            metadata: Merges; None clears.
            billing_information: For the payment provider alone.
            billing_cycle_anchor: NOW begins a new billing cycle.
            trial_end_date: Of a running trial; it takes a planned cancellation back.
            cancellation_date: Absent keeps, None clears, a date sets.
            schedule_strategy: As for `provision_subscription`.
            idempotency_key: The same key with the same arguments returns the first result.

        Raises:
            NotFound: `SubscriptionNotFound`, `AddonNotFound`, `PromotionCodeNotFound`.
            NotAllowed: `SubscriptionAlreadyCanceledOrExpired`, or a rule refuses.
            InvalidInput: `InvalidQuantity`, `InvalidCancellationDate`, `InvalidMetadataError`, …
            AuthorityUnavailable: The payment provider failed; repeat with the same `idempotency_key`.
        """
        from stigg_local.core import billing
        from stigg_local.core.life_command import update_command

        command = update_command(
            subscription_id,
            {
                "billable_features": billable_features,
                "addons": addons,
                "promotion_code": promotion_code,
                "billing_period": billing_period,
                "metadata": metadata,
                "billing_cycle_anchor": billing_cycle_anchor,
                "trial_end_date": trial_end_date,
                "cancellation_date": cancellation_date,
                "schedule_strategy": schedule_strategy,
            },
        )
        result = self._authority("update_subscription").authority.subscriptions.update(
            command, key=idempotency_key, billing_information=billing.billing_information(billing_information)
        )
        self._entitlements_changed(result.customer_id)
        return result

    def cancel_subscription(
        self,
        subscription_id: str,
        *,
        cancellation_time: str | None = None,
        end_date: Instant | None = None,
        prorate: bool | None = None,
        action: str = "DEFAULT",
        idempotency_key: str | None = None,
    ) -> "SubscriptionResult":
        """End a subscription, now or later, as the product says where nothing else is asked for.

        Args:
            subscription_id: One that has not ended.
            cancellation_time: IMMEDIATE, END_OF_BILLING_PERIOD or SPECIFIC_DATE with `end_date`.
            end_date: In the future.
            prorate: Whether an end at once gives the unused time back; None: yes.
            action: DEFAULT follows the product, which may go on with a free plan; REVOKE_ENTITLEMENTS does not.
            idempotency_key: The same key with the same arguments returns the first result.

        Raises:
            NotFound: `SubscriptionNotFound`.
            NotAllowed: `SubscriptionAlreadyCanceledOrExpired`, `TrialMustBeCancelledImmediately`,
                `SchedulingAtEndOfBillingPeriod`.
            InvalidInput: `InvalidCancellationDate`.
        """
        from stigg_local.core.life_command import cancel_command

        command = cancel_command(
            subscription_id, cancellation_time=cancellation_time, end_date=end_date, prorate=prorate, action=action
        )
        subscriptions = self._authority("cancel_subscription").authority.subscriptions
        result = subscriptions.cancel(command, key=idempotency_key)
        self._entitlements_changed(result.customer_id)
        return result

    def cancel_subscription_scheduled_updates(
        self, subscription_id: str, *, status: str = "Scheduled", idempotency_key: str | None = None
    ) -> "ScheduledUpdatesCancelled":
        """Take back all changes that wait for their time ("Scheduled") or for their payment ("PendingPayment").

        Raises:
            NotFound: `SubscriptionNotFound`; nothing waits (`FutureUpdateNotFound`).
        """
        from stigg_local.core.life_command import cancel_scheduled_command

        command = cancel_scheduled_command(subscription_id, status)
        subscriptions = self._authority("cancel_subscription_scheduled_updates").authority.subscriptions
        return subscriptions.cancel_scheduled(command, key=idempotency_key)

    def migrate_subscription_to_latest(
        self,
        subscription_id: str,
        *,
        subscription_migration_time: str = "END_OF_BILLING_PERIOD",
        idempotency_key: str | None = None,
    ) -> "SubscriptionResult":
        """Move a subscription to the latest version of its plan and add-ons, entitlements and prices.

        Args:
            subscription_id: One that has not ended.
            subscription_migration_time: END_OF_BILLING_PERIOD or IMMEDIATE.
            idempotency_key: The same key with the same arguments returns the first result.

        Raises:
            NotFound: `SubscriptionNotFound`.
            NotAllowed: `SubscriptionAlreadyOnLatestPlanError`, `SubscriptionAlreadyCanceledOrExpired`.
            Conflict: `ScheduledMigrationAlreadyExistsError`.
        """
        from stigg_local.core.life_command import migrate_command

        command = migrate_command(subscription_id, subscription_migration_time)
        subscriptions = self._authority("migrate_subscription_to_latest").authority.subscriptions
        result = subscriptions.migrate(command, key=idempotency_key)
        self._entitlements_changed(result.customer_id)
        return result

    def transfer_subscription(
        self, subscription_id: str, resource_id: str, *, idempotency_key: str | None = None
    ) -> "SubscriptionResult":
        """Move a subscription to another resource of its customer.

        Raises:
            NotFound: `SubscriptionNotFound`.
            NotAllowed: A rule refuses.
        """
        subscriptions = self._authority("transfer_subscription").authority.subscriptions
        result = subscriptions.transfer(
            check_id(subscription_id, "subscription_id"), check_id(resource_id, "resource_id"), key=idempotency_key
        )
        self._entitlements_changed(result.customer_id)
        return result

    def delegate_subscription(
        self, subscription_id: str, customer_id: str, *, idempotency_key: str | None = None
    ) -> "SubscriptionResult":
        """Hand a subscription over to another customer; who had it until now goes on paying.

        Raises:
            NotFound: `SubscriptionNotFound`, `CustomerNotFound`.
            NotAllowed: A rule refuses.
        """
        subscription_id = check_id(subscription_id, "subscription_id")
        customer_id = check_id(customer_id, "customer_id")
        subscriptions = self._authority("delegate_subscription").authority.subscriptions
        before = subscriptions.get(subscription_id).customer_id
        result = subscriptions.delegate(subscription_id, customer_id, key=idempotency_key)
        for whose in (before, result.customer_id):
            self._entitlements_changed(whose)
        return result

    # ------------------------------------------------------------------ reads

    def get_subscription(self, subscription_id: str) -> "SubscriptionResult":
        """A subscription as it is now, one that has ended too.

        Raises:
            NotFound: `SubscriptionNotFound`.
        """
        subscription_id = check_id(subscription_id, "subscription_id")
        return self._authority("get_subscription").authority.subscriptions.get(subscription_id)

    def get_subscriptions(
        self,
        customer_id: str,
        *,
        statuses: Iterable[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> "Page[SubscriptionResult]":
        """A customer's subscriptions, newest first, those that have ended too.

        Args:
            customer_id: An existing customer.
            statuses: Only of these: NOT_STARTED, PAYMENT_PENDING, IN_TRIAL, ACTIVE, CANCELED, EXPIRED.
            limit: 1 to 1,000.
            cursor: The `.next` of the page before.

        Raises:
            NotFound: `CustomerNotFound`.
        """
        from stigg_local.calls import page_limit
        from stigg_local.core import command as shape
        from stigg_local.core.words import SubscriptionStatus

        known: Sequence[str] | None = None
        if statuses is not None:
            known = shape.items(
                statuses, "statuses", lambda item, where: shape.check_word(item, SubscriptionStatus, where)
            )
        return self._authority("get_subscriptions").authority.subscriptions.page(
            check_id(customer_id, "customer_id"),
            statuses=known,
            limit=page_limit(limit),
            after=None if cursor is None else check_id(cursor, "cursor"),
        )

    def get_active_subscriptions_list(
        self, customer_id: str, resource_id: str | Iterable[str] | None = None
    ) -> "list[SlimSubscription]":
        """What entitles a customer now, in the slim shape.

        Args:
            customer_id: An existing customer.
            resource_id: One resource or up to 100; None for the subscriptions of no resource.

        Raises:
            NotFound: `CustomerNotFound`.
            InvalidInput: More than 100 resources (`InvalidArgumentError`).
        """
        from stigg_local.core.life_command import resource_ids

        subscriptions = self._authority("get_active_subscriptions_list").authority.subscriptions
        return subscriptions.active(check_id(customer_id, "customer_id"), resource_ids(resource_id))
