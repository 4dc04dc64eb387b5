"""`client.payments`: what a billing webhook tells after the call that asked for the money has returned."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from stigg_local.authority.payments import Payments
from stigg_local.core.command import check_text
from stigg_local.core.ids import told
from stigg_local.errors import InvalidInput

if TYPE_CHECKING:
    from stigg_local.core.subscription_result import SubscriptionResult

URL_LENGTH_MAX = 4096


class PaymentCalls:
    """The payments of an embedded client."""

    def __init__(self, payments: Payments, changed: Callable[[str], None]) -> None:
        self._payments = payments
        self._changed = changed

    def settle(
        self,
        subscription_id_or_checkout_url: str,
        outcome: Literal["PAID", "FAILED"] | str,
        *,
        error_message: str | None = None,
        idempotency_key: str | None = None,
    ) -> "SubscriptionResult | None":
        """A payment that was open came in, or failed.

        Args:
            subscription_id_or_checkout_url: What is unpaid: a subscription, or the address of a checkout page.
            outcome: PAID or FAILED.
            error_message: Why it failed.
            idempotency_key: The same key with the same arguments returns the first result.

        Returns:
            The subscription; None for a checkout that was given up: there is no subscription then.

        Raises:
            NotFound: Neither a subscription nor a pending checkout (`SubscriptionNotFound`).
            NotAllowed: It has nothing to pay (`InvalidSubscriptionStatus`).
            InvalidInput: Another outcome.
        """
        subject = check_text(subscription_id_or_checkout_url, "subscription_id_or_checkout_url")
        if not subject or len(subject) > URL_LENGTH_MAX:
            raise InvalidInput(
                "subscription_id_or_checkout_url is empty or too long",
                code="InvalidArgumentError",
                hint="pass the id of a subscription, or the checkout_url of a result that says PaymentRequired",
            )
        if outcome not in ("PAID", "FAILED"):
            raise InvalidInput(f"outcome is `{told(outcome)}`", code="InvalidArgumentError", hint="PAID or FAILED")
        result = self._payments.settle(
            subject,
            paid=outcome == "PAID",
            error_message=check_text(error_message, "error_message"),
            key=idempotency_key,
        )
        if result is not None:
            self._changed(result.customer_id)
        return result
