"""Calls about customers, what they were given by hand, and what happened to them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from stigg_local.core.ids import UNSET, Unset, check_id
from stigg_local.errors import InvalidInput
from stigg_local.writing import Writing

if TYPE_CHECKING:
    from stigg_local.core.customer_result import CustomerResult, ProvisionCustomerResult
    from stigg_local.core.event_result import EventResult
    from stigg_local.core.page import Page
    from stigg_local.core.result import PromotionalResult


class CustomerCalls(Writing):
    """Customers, their promotional entitlements and the log of events."""

    def provision_customer(
        self,
        customer_id: str,
        *,
        name: str | Unset | None = UNSET,
        email: str | Unset | None = UNSET,
        coupon_id: str | Unset | None = UNSET,
        subscription_params: Mapping[str, Any] | Unset | None = UNSET,
        billing_info: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | Unset | None = UNSET,
        idempotency_key: str | None = None,
    ) -> "ProvisionCustomerResult":
        """Make a customer, or patch one that exists, with a first subscription.

        Args:
            customer_id: 1 to 255 printable characters.
            name, email, coupon_id, metadata: Absent keeps, None clears; metadata merges.
            subscription_params: Arguments of `provision_subscription`; None for no subscription at all; absent
                for what the journey of the first single-subscription product gives.
            billing_info: Handed whole to the payment provider and kept nowhere: `language, timezone,
                customer_name, billing_address, shipping_address, tax_ids, invoice_custom_fields,
                payment_method_id, currency, metadata`.
            idempotency_key: The same key with the same arguments returns the first result.

        Returns:
            `.customer`, `.subscription_decision_strategy`, `.subscription` (None where none was made) and
            `.checkout_url` where it has to be paid for first.

        Raises:
            NotAllowed: The customer is archived (`EntityIsArchivedError`), or a rule refuses the subscription.
            InvalidInput, NotFound: As `provision_subscription`.
            AuthorityUnavailable: The payment provider failed; repeat with the same `idempotency_key`.
        """
        from stigg_local.calls import customer_command
        from stigg_local.core import billing

        params: Any = subscription_params
        port: dict[str, Any] = {}
        if isinstance(params, Mapping):
            params, port = billing.split_port(params, "subscription_params")
        command = customer_command(
            customer_id,
            name=name,
            email=email,
            coupon_id=coupon_id,
            subscription=params,
            metadata=metadata,
        )
        result = self._authority("provision_customer").authority.customers.provision(
            command,
            key=idempotency_key,
            billing_info=billing.billing_info(billing_info),
            billing_information=billing.billing_information(port.get("billing_information")),
            checkout_options=billing.checkout_options(port.get("checkout_options")),
        )
        self._entitlements_changed(customer_id)
        return result

    def update_customer(
        self,
        customer_id: str,
        *,
        name: str | Unset | None = UNSET,
        email: str | Unset | None = UNSET,
        coupon_id: str | Unset | None = UNSET,
        billing_info: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | Unset | None = UNSET,
        idempotency_key: str | None = None,
    ) -> "CustomerResult":
        """Patch a customer: what is absent stays, None clears, metadata merges.

        Args:
            customer_id: An existing customer.
            name, email, coupon_id, metadata: As for `provision_customer`.
            billing_info: Replaces what the payment provider knows, whole; kept nowhere here.
            idempotency_key: The same key with the same arguments returns the first result.

        Raises:
            NotFound: `CustomerNotFound`, `CouponNotFound`.
            NotAllowed: `ArchivedCouponCantBeApplied`, `CustomerAlreadyHaveCustomerCoupon`.
            AuthorityUnavailable: The payment provider failed.
        """
        from stigg_local.calls import patch_command
        from stigg_local.core.billing import billing_info as checked

        command = patch_command(customer_id, name=name, email=email, coupon_id=coupon_id, metadata=metadata)
        customers = self._authority("update_customer").authority.customers
        return customers.update(command, key=idempotency_key, billing_info=checked(billing_info))

    def get_customer(self, customer_id: str) -> "CustomerResult":
        """A customer: `.id, .name, .email, .created_at, .updated_at, .has_payment_method,
        .promotional_entitlements, .metadata`.

        Raises:
            NotFound: `CustomerNotFound`, for an archived one too.
        """
        customer_id = check_id(customer_id, "customer_id")
        return self._authority("get_customer").authority.customers.get(customer_id)

    def get_customers(self, *, limit: int = 100, cursor: str | None = None) -> "Page[CustomerResult]":
        """Customers that are not archived, in the file's own order.

        Args:
            limit: 1 to 1,000.
            cursor: The `.next` of the page before.

        Returns:
            A page: iterable, `.items`, and `.next`, None on the last.
        """
        from stigg_local.calls import page_limit

        after = None if cursor is None else check_id(cursor, "cursor")
        return self._authority("get_customers").authority.customers.page(limit=page_limit(limit), after=after)

    def archive_customer(self, customer_id: str, *, idempotency_key: str | None = None) -> str:
        """Take a customer out of use for good; returns the id, which is never used again.

        Name, e-mail and metadata are gone from the record, stored replies and the log at once, and from the bytes of
        the files too where they are small (up to 4 MiB); of larger ones the leader takes them within about a minute.
        Subscriptions end now, without a free plan after them. With the payment provider nothing changes, so that open
        invoices finish.

        Raises:
            NotFound: `CustomerNotFound`.
        """
        customer_id = check_id(customer_id, "customer_id")
        customers = self._authority("archive_customer").authority.customers
        archived = customers.archive(customer_id, key=idempotency_key)
        self._entitlements_changed(customer_id)
        return archived

    def erase_customer(self, customer_id: str, *, idempotency_key: str | None = None) -> bool:
        """`archive_customer`, and the files rewritten before it returns, so that no byte of the person is left.

        A customer who is archived already is taken, too.

        Returns:
            False where a long read held the log: the files are then rewritten as soon as it lets go.

        Raises:
            NotFound: `CustomerNotFound`: there never was such a customer.
        """
        customer_id = check_id(customer_id, "customer_id")
        embedded = self._authority("erase_customer")
        if not embedded.authority.customers.is_archived(customer_id):
            self.archive_customer(customer_id, idempotency_key=idempotency_key)
        return embedded.store.scrub()

    def export_customer(self, customer_id: str) -> dict[str, Any]:
        """Everything that is kept of a customer, as JSON can hold it.

        Returns:
            `customer, subscriptions, usage, measurements, rawEvents, creditGrants, creditLedger, events`.

        Raises:
            NotFound: `CustomerNotFound`.
        """
        from stigg_local.authority.export import export

        customer_id = check_id(customer_id, "customer_id")
        return export(self._authority("export_customer").authority.runner, customer_id)

    def import_customer(
        self,
        customer_id: str,
        *,
        name: str | Unset | None = UNSET,
        email: str | Unset | None = UNSET,
        coupon_id: str | Unset | None = UNSET,
        metadata: Mapping[str, str] | Unset | None = UNSET,
        idempotency_key: str | None = None,
    ) -> "CustomerResult":
        """Make a customer that is known elsewhere, without any subscription; one that exists is patched.

        Raises:
            NotAllowed: The customer is archived (`EntityIsArchivedError`).
        """
        from stigg_local.calls import patch_command

        command = patch_command(customer_id, name=name, email=email, coupon_id=coupon_id, metadata=metadata)
        customers = self._authority("import_customer").authority.customers
        customers.import_many((command,), key=idempotency_key)
        return customers.get(command.customer_id)

    def import_customer_bulk(self, customers: Iterable[Any], *, idempotency_key: str | None = None) -> list[str]:
        """Import up to 1,000 customers in one transaction, all or none; returns their ids.

        Args:
            customers: `[{"customer_id", "name", "email", "coupon_id", "metadata"}]`.
            idempotency_key: The same key with the same arguments returns the first result.

        Raises:
            InvalidInput: A shape is wrong; the message names the item and the key.
            NotAllowed: One of them is archived (`EntityIsArchivedError`).
            Conflict: One stands there twice (`DuplicatedEntityNotAllowed`).
        """
        from stigg_local.calls import import_commands

        commands = import_commands(customers)
        authority = self._authority("import_customer_bulk").authority
        return list(authority.customers.import_many(commands, key=idempotency_key))

    # ------------------------------------------------------------------ promotional entitlements

    def grant_promotional_entitlements(
        self, customer_id: str, entitlements: Iterable[Any], *, idempotency_key: str | None = None
    ) -> "list[PromotionalResult]":
        """Give a customer features by hand; one for each feature, a second grant replaces the first.

        Args:
            customer_id: An existing customer.
            entitlements: `[{"feature_id" | "feature_group_id": …, "usage_limit" | "value": …, "is_unlimited": …,
                "enum_values": …, "period": …}]` with the period ONE_WEEK, ONE_MONTH, SIX_MONTH, ONE_YEAR, LIFETIME
                (default) or CUSTOM with `custom_end_date`; `has_soft_limit`, `reset_period`,
                `reset_period_configuration` and `is_visible` as in a plan. Without a limit the promotion is
                unlimited. A group stands for each of its features.
            idempotency_key: The same key with the same arguments returns the first result.

        Raises:
            NotFound: `CustomerNotFound`, `FeatureNotFound` or `FeatureGroupNotFoundError`.
            InvalidInput, NotAllowed: What is granted does not fit the feature.
        """
        from stigg_local.core import command as shape

        customer_id = check_id(customer_id, "customer_id")
        embedded = self._authority("grant_promotional_entitlements")
        grants = shape.promotional_grants(entitlements, groups=embedded.catalog().groups)
        made = embedded.authority.promotions.grant(customer_id, grants, key=idempotency_key)
        self._entitlements_changed(customer_id)
        return list(made)

    def revoke_promotional_entitlements(
        self,
        customer_id: str,
        feature_ids: str | Iterable[str] = (),
        *,
        feature_group_ids: str | Iterable[str] = (),
        idempotency_key: str | None = None,
    ) -> list[str]:
        """Take promotional entitlements back: all that are named, or none; returns the features that lost theirs.

        Args:
            customer_id: An existing customer.
            feature_ids: One feature or several; whatever gave the promotion, it is gone.
            feature_group_ids: One group or several; a feature that was also granted by itself, or that another
                granted group gave, too, keeps its promotion.
            idempotency_key: The same key with the same arguments returns the first result.

        Raises:
            NotFound: `CustomerNotFound`, or one is not in force (`PromotionalEntitlementNotFoundError`).
            InvalidInput: Nothing is named, or one twice (`DuplicatedEntityNotAllowed`).
        """
        from stigg_local.calls import named_ids

        customer_id = check_id(customer_id, "customer_id")
        features = named_ids(feature_ids, "feature_ids")
        groups = named_ids(feature_group_ids, "feature_group_ids")
        promotions = self._authority("revoke_promotional_entitlements").authority.promotions
        if not features and not groups:
            raise InvalidInput(
                "feature_ids is empty", code="InvalidArgumentError", hint="name a feature, or pass feature_group_ids="
            )
        revoked = promotions.revoke(customer_id, features, groups, key=idempotency_key)
        self._entitlements_changed(customer_id)
        return list(revoked)

    # ------------------------------------------------------------------ events

    def get_events(
        self,
        *,
        cursor: str | None = None,
        limit: int = 100,
        customer_id: str | None = None,
        types: Iterable[str] | None = None,
        wait_seconds: float = 0,
    ) -> "Page[EventResult]":
        """The log of what changed, oldest first: one event for each change of state, written with the change.

        Args:
            cursor: From where to go on: the `.next` of the page before, or an event's `.id`. None: the beginning.
            limit: 1 to 1,000.
            customer_id: Only this customer's.
            types: Only of these types, for example `["subscription.created"]`.
            wait_seconds: How long to wait where there is nothing after the cursor yet.

        Returns:
            A page: iterable, `.items`, and `.next`, the cursor to go on from.
        """
        from stigg_local.calls import event_types, page_limit, wait_time

        return self._authority("get_events").authority.audit.page(
            after=None if cursor is None else check_id(cursor, "cursor"),
            limit=page_limit(limit),
            customer_id=None if customer_id is None else check_id(customer_id, "customer_id"),
            types=event_types(types),
            wait_s=wait_time(wait_seconds),
        )
