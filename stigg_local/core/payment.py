"""Payment as a port: what is asked of a payment provider and what it answers.

Nothing here knows a provider. The default one is none at all: then nothing is ever due. What an outcome makes of a
record is in `settlement`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol

from msgspec import Struct

from stigg_local.core.catalog import Coupon
from stigg_local.core.period import HOUR_MS
from stigg_local.core.pricing import Line
from stigg_local.errors import InvalidInput

PAID, PROCESSING, ACTION_REQUIRED, FAILED, CHECKOUT = "PAID", "PROCESSING", "ACTION_REQUIRED", "FAILED", "CHECKOUT"
OUTCOMES = (PAID, PROCESSING, ACTION_REQUIRED, FAILED, CHECKOUT)
# Why an invoice is made.
NEW, UPDATE, TRIAL_END, START, RENEWAL = "NEW", "UPDATE", "TRIAL_END", "START", "RENEWAL"
# How long a subscription waits for its first payment.
PAYMENT_WINDOW_MS = 23 * HOUR_MS


class Invoice(Struct, frozen=True, kw_only=True, rename="camel"):
    """One collection.

    Attributes:
        id: Ours, the same for the same command: a provider may take it as its idempotency key.
        customer_id: Whose subscription it is for.
        paying_customer_id: Who pays, where it is somebody else.
        subscription_id: What it is for.
        reason: NEW, UPDATE, TRIAL_END, START or RENEWAL.
        currency: ISO 4217.
        lines: What it is made of; a change has negative ones, too.
        sub_total, discount, amount: Full currency units; `amount` is what is to be collected, above 0.
        period_start_ms, period_end_ms: The billing period that it pays for.
        coupon_id, promotion_code: The discount's, where there is one.
        billing_information: Tax rates, tax percentage and metadata of the call, as they were passed; never stored.
    """

    id: str
    customer_id: str
    subscription_id: str
    reason: str
    currency: str
    lines: tuple[Line, ...]
    sub_total: Decimal
    discount: Decimal
    amount: Decimal
    plan_id: str
    billing_period: str | None = None
    period_start_ms: int | None = None
    period_end_ms: int | None = None
    coupon_id: str | None = None
    promotion_code: str | None = None
    paying_customer_id: str | None = None
    billing_information: Mapping[str, Any] | None = None


class PaymentOutcome(Struct, frozen=True, kw_only=True):
    """What a provider answers: one of `OUTCOMES`, and where the customer goes on from here."""

    outcome: str = PAID
    billing_id: str | None = None
    checkout_url: str | None = None
    payment_url: str | None = None
    payment_secret: str | None = None
    error_message: str | None = None


def check_provider(provider: object) -> None:
    """Whether something can be a payment provider.

    Raises:
        InvalidInput: It lacks a method of the protocol.
    """
    for name in ("sync_customer", "collect", "resolve_promotion_code"):
        if not callable(getattr(provider, name, None)):
            raise InvalidInput(
                f"payment_provider has no method `{name}`",
                code="InvalidArgumentError",
                hint="pass an object with the methods of `stigg_local.PaymentProvider`",
            )


class PaymentProvider(Protocol):
    """Whoever collects the money. Calls are made outside of any transaction and may be repeated with one invoice.

    One that also has `has_payment_method(customer_id) -> bool` is asked for `has_payment_method` of customers.
    """

    def sync_customer(self, customer_id: str, billing_info: Mapping[str, Any]) -> None:
        """Take a customer's billing information, whole; it replaces what was known."""

    def collect(self, invoice: Invoice, checkout_options: Mapping[str, Any] | None = None) -> PaymentOutcome:
        """Collect an invoice, or say how the customer can pay it."""

    def resolve_promotion_code(self, code: str) -> Coupon | None:
        """The coupon that a promotion code stands for; None for an unknown one."""
