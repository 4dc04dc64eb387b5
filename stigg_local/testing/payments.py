"""A payment provider that follows a script, for tests and demonstrations."""

from collections.abc import Iterable, Mapping
from typing import Any

from stigg_local.core.catalog import Coupon
from stigg_local.core.ids import told
from stigg_local.core.nearest import nearest
from stigg_local.core.payment import ACTION_REQUIRED, CHECKOUT, FAILED, OUTCOMES, PAID, Invoice, PaymentOutcome
from stigg_local.errors import InvalidInput

# Where nobody listens: the addresses of pages that a script makes up.
ADDRESS = "https://checkout.invalid"


class ScriptedPayments:
    """A payment provider whose outcomes are written down beforehand; PAID when the script has run out.

    Args:
        outcomes: In order: PAID, PROCESSING, ACTION_REQUIRED, FAILED or CHECKOUT, or a whole `PaymentOutcome`.
        promotion_codes: Code -> coupon that it stands for.
        payment_methods: Customers that have a payment method.

    Attributes:
        invoices: What was collected, in order.
        options: The checkout options of each collection.
        billing: Customer -> the billing information that came last.
    """

    def __init__(
        self,
        outcomes: Iterable[str | PaymentOutcome] = (),
        *,
        promotion_codes: Mapping[str, Coupon] | None = None,
        payment_methods: Iterable[str] = (),
    ) -> None:
        self._script = [_outcome(item) for item in ((outcomes,) if isinstance(outcomes, str) else outcomes)]
        self._codes = dict(promotion_codes or {})
        self._methods = set(payment_methods)
        self._answered: dict[str, PaymentOutcome] = {}
        self.invoices: list[Invoice] = []
        self.options: list[Mapping[str, Any] | None] = []
        self.billing: dict[str, Mapping[str, Any]] = {}

    def sync_customer(self, customer_id: str, billing_info: Mapping[str, Any]) -> None:
        """Remember a customer's billing information."""
        self.billing[customer_id] = billing_info
        if billing_info.get("payment_method_id"):
            self._methods.add(customer_id)

    def has_payment_method(self, customer_id: str) -> bool:
        """Whether a payment method is known of a customer."""
        return customer_id in self._methods

    def collect(self, invoice: Invoice, checkout_options: Mapping[str, Any] | None = None) -> PaymentOutcome:
        """The next outcome of the script; one invoice asked for again gets the same one."""
        known = self._answered.get(invoice.id)
        if known is not None:
            return known
        scripted = self._script.pop(0) if self._script else PaymentOutcome(outcome=PAID)
        self.invoices.append(invoice)
        self.options.append(checkout_options)
        outcome = _addressed(scripted, invoice)
        self._answered[invoice.id] = outcome
        return outcome

    def resolve_promotion_code(self, code: str) -> Coupon | None:
        """The coupon of a code."""
        return self._codes.get(code)


def _outcome(item: str | PaymentOutcome) -> PaymentOutcome:
    if isinstance(item, PaymentOutcome):
        return item
    if item not in OUTCOMES:
        near = nearest(told(item), OUTCOMES)
        raise InvalidInput(
            f"the script has the outcome `{told(item)}`",
            hint=f"did you mean `{near}`" if near else f"one of {', '.join(OUTCOMES)}",
        )
    return PaymentOutcome(outcome=item)


def _addressed(outcome: PaymentOutcome, invoice: Invoice) -> PaymentOutcome:
    """The outcome with what a provider would name, where the script does not."""
    word = outcome.outcome
    to_pay = word in (ACTION_REQUIRED, FAILED)
    return PaymentOutcome(
        outcome=word,
        billing_id=outcome.billing_id or (None if word == CHECKOUT else f"bill-{invoice.id}"),
        checkout_url=outcome.checkout_url or (f"{ADDRESS}/{invoice.id}" if word == CHECKOUT else None),
        payment_url=outcome.payment_url or (f"{ADDRESS}/pay/{invoice.id}" if to_pay else None),
        payment_secret=outcome.payment_secret or (f"secret-{invoice.id}" if word == ACTION_REQUIRED else None),
        error_message=outcome.error_message or ("the payment was declined" if word == FAILED else None),
    )
