"""The shapes of customers as calls return them. Source: the seed's provisioning, updating and getting of customers."""

from datetime import datetime
from typing import ClassVar

from stigg_local.core.customer import Customer
from stigg_local.core.period import to_datetime
from stigg_local.core.result import PromotionalResult, Result, promotional_result
from stigg_local.core.subscription_result import ExperimentResult, SubscriptionResult, experiment_result


class CustomerResult(Result, frozen=True, kw_only=True):
    """A customer; `promotional_entitlements` are those in force."""

    _nulls: ClassVar[tuple[str, ...]] = ("name", "email", "metadata")
    _dates: ClassVar[dict[str, str]] = {"created_ms": "created_at", "updated_ms": "updated_at"}

    id: str
    name: str | None
    email: str | None
    created_ms: int
    updated_ms: int
    has_payment_method: bool
    promotional_entitlements: tuple[PromotionalResult, ...]
    metadata: dict[str, str] | None
    coupon_id: str | None
    experiment_info: ExperimentResult | None

    @property
    def created_at(self) -> datetime | None:
        """When the customer was provisioned."""
        return to_datetime(self.created_ms)

    @property
    def updated_at(self) -> datetime | None:
        """When the record last changed."""
        return to_datetime(self.updated_ms)


class ProvisionCustomerResult(Result, frozen=True, kw_only=True):
    """What provisioning a customer gives."""

    customer: CustomerResult
    subscription_decision_strategy: str
    subscription: SubscriptionResult | None = None
    checkout_url: str | None = None


def customer_result(customer: Customer, *, now_ms: int, has_payment_method: bool = False) -> CustomerResult:
    """A record that was advanced to `now_ms` as calls return it."""
    return CustomerResult(
        id=customer.id,
        name=customer.name,
        email=customer.email,
        created_ms=customer.created_ms,
        updated_ms=customer.updated_ms,
        has_payment_method=has_payment_method,
        promotional_entitlements=tuple(
            promotional_result(item)
            for item in customer.promotional_entitlements
            if item.end_ms is None or item.end_ms > now_ms
        ),
        metadata=customer.metadata,
        coupon_id=customer.coupon_id,
        experiment_info=experiment_result(customer.experiments[0]) if customer.experiments else None,
    )
