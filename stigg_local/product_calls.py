"""Calls about what is sold: the paywall, products and coupons."""

from typing import TYPE_CHECKING

from stigg_local.core.ids import check_id
from stigg_local.writing import Writing

if TYPE_CHECKING:
    from stigg_local.core.paywall_shape import CouponResult, Paywall, ProductResult


class ProductCalls(Writing):
    """Paywall, products and coupons."""

    def get_paywall(
        self,
        product_id: str | None = None,
        customer_id: str | None = None,
        resource_id: str | None = None,
        *,
        billing_country_code: str | None = None,
        include_hidden_plans: bool = False,
    ) -> "Paywall":
        """What a pricing page shows: the published plans, what they give and what they cost.

        Args:
            product_id: One product; None for the plans of all products, in catalog order.
            customer_id: Also list the customer's subscriptions in force.
            resource_id: Only those of this resource.
            billing_country_code: ISO 3166-1 alpha-2: the prices of that country where there are any, else the
                default prices.
            include_hidden_plans: Also plans and add-ons that are marked hidden.

        Returns:
            `.plans`, each product's by `order`, with `.entitlements` and `.inherited_entitlements` apart, and
            `.active_subscriptions` (None without a customer).

        Raises:
            NotFound: `ProductNotFoundError`, `CustomerNotFound`.
            InvalidInput: The country is none.
            NotAvailableOffline: The client has no authority.
        """
        from stigg_local.core.command import check_bool
        from stigg_local.core.iso import check_country
        from stigg_local.core.paywall import paywall_plans
        from stigg_local.core.paywall_shape import Paywall

        embedded = self._authority("get_paywall")
        plans = paywall_plans(
            embedded.catalog(),
            product_id=None if product_id is None else check_id(product_id, "product_id"),
            country=check_country(billing_country_code),
            include_hidden=check_bool(include_hidden_plans, "include_hidden_plans"),
        )
        active = None
        if customer_id is not None:
            active = tuple(
                embedded.authority.subscriptions.active_whole(
                    check_id(customer_id, "customer_id"),
                    None if resource_id is None else check_id(resource_id, "resource_id"),
                    product_id,
                )
            )
        return Paywall(plans=plans, active_subscriptions=active)

    def get_products(self) -> "list[ProductResult]":
        """Every product, in catalog order, each with the free plan that follows a subscription's end, if any."""
        from stigg_local.core.paywall import products

        return products(self._authority("get_products").catalog())

    def get_coupons(self) -> "list[CouponResult]":
        """Every coupon that can be applied, in catalog order."""
        from stigg_local.core.paywall import coupons

        return coupons(self._authority("get_coupons").catalog())
