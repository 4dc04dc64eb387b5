"""Billing arguments of calls, checked for their shape: what is handed to the payment provider and never kept.

Law: nothing here is written anywhere by this package; what is replaced is replaced whole. Source: the seed's
provisionCustomer and provisionSubscription.
"""

from collections.abc import Mapping
from typing import Any

from stigg_local.core.command import SUBSCRIPTION_FIELDS, check_bool, check_metadata, check_text, fields, items
from stigg_local.core.ids import told
from stigg_local.core.iso import check_country
from stigg_local.core.quantity import to_decimal
from stigg_local.errors import InvalidInput

_ADDRESS = ("country", "city", "state", "address_line1", "address_line2", "phone_number", "postal_code")
_BILLING_INFO = (
    "language",
    "timezone",
    "customer_name",
    "billing_address",
    "shipping_address",
    "tax_ids",
    "invoice_custom_fields",
    "payment_method_id",
    "currency",
    "metadata",
)
_BILLING_INFORMATION = ("tax_rate_ids", "tax_percentage", "metadata")
_CHECKOUT_FLAGS = ("allow_promo_codes", "collect_billing_address", "allow_tax_id_collection", "collect_phone_number")
_CHECKOUT = ("success_url", "cancel_url", "reference_id", *_CHECKOUT_FLAGS)
PERCENT_MAX = 100
# Arguments of provision_subscription that go to the payment provider and not into the command.
_PORT = ("billing_information", "checkout_options")


def split_port(params: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the arguments that decide, those that the payment provider gets) of a nested provisioning."""
    found = fields(params, (*SUBSCRIPTION_FIELDS, *_PORT), where)
    port = {name: found.pop(name) for name in _PORT if name in found}
    return found, port


def billing_info(value: object) -> dict[str, Any] | None:
    """A customer's billing information with snake-case keys, whole; None for none.

    Raises:
        InvalidInput: An unknown key, a country that is none, a value of another type.
    """
    if value is None:
        return None
    where = "billing_info"
    found = _fields(value, _BILLING_INFO, where)
    for name in ("language", "timezone", "customer_name", "payment_method_id", "currency"):
        if name in found:
            found[name] = _text(found[name], f"{where}.{name}")
    for name in ("billing_address", "shipping_address"):
        if found.get(name) is not None:
            found[name] = _address(found[name], f"{where}.{name}")
    if found.get("tax_ids") is not None:
        found["tax_ids"] = [dict(item) for item in items(found["tax_ids"], f"{where}.tax_ids", _tax_id)]
    for name in ("invoice_custom_fields", "metadata"):
        if name in found:
            found[name] = check_metadata(found[name], f"{where}.{name}")
    return found


def billing_information(value: object) -> dict[str, Any] | None:
    """Tax rates, tax percentage and metadata of a subscription's billing; None for none.

    Raises:
        InvalidInput: An unknown key, or a percentage that is none.
    """
    if value is None:
        return None
    where = "billing_information"
    found = _fields(value, _BILLING_INFORMATION, where)
    if found.get("tax_rate_ids") is not None:
        found["tax_rate_ids"] = list(items(found["tax_rate_ids"], f"{where}.tax_rate_ids", _text))
    if found.get("tax_percentage") is not None:
        percentage = to_decimal(found["tax_percentage"], name=f"{where}.tax_percentage")
        if not 0 <= percentage <= PERCENT_MAX:
            raise InvalidInput(
                f"{where}.tax_percentage is `{told(found['tax_percentage'])}`",
                code="InvalidArgumentError",
                hint=f"0 to {PERCENT_MAX}",
            )
    if "metadata" in found:
        found["metadata"] = check_metadata(found["metadata"], f"{where}.metadata")
    return found


def checkout_options(value: object) -> dict[str, Any] | None:
    """What a hosted checkout page is told; None for none. The two URLs are mandatory.

    Raises:
        InvalidInput: An unknown key, a missing URL, a value of another type.
    """
    if value is None:
        return None
    where = "checkout_options"
    found = _fields(value, _CHECKOUT, where, required=("success_url", "cancel_url"))
    for name in ("success_url", "cancel_url", "reference_id"):
        if name in found:
            found[name] = _text(found[name], f"{where}.{name}")
    for name in _CHECKOUT_FLAGS:
        if found.get(name) is not None:
            found[name] = check_bool(found[name], f"{where}.{name}")
    return found


def _fields(value: object, known: tuple[str, ...], where: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """As `command.fields`, without the value in the error: it may be of a person."""
    if not isinstance(value, Mapping):
        raise InvalidInput(
            f"{where} is not a mapping", code="InvalidArgumentError", hint=f"it takes {', '.join(known)}"
        )
    return fields(value, known, where, required=required)


def _text(value: object, where: str) -> str | None:
    """As `command.check_text`, without the value in the error."""
    try:
        return check_text(value, where)
    except InvalidInput:
        raise InvalidInput(f"{where} is not text", code="InvalidArgumentError", hint="pass text") from None


def _address(value: object, where: str) -> dict[str, Any]:
    found = _fields(value, _ADDRESS, where)
    for name, item in found.items():
        found[name] = check_country(item, f"{where}.country") if name == "country" else _text(item, f"{where}.{name}")
    return found


def _tax_id(value: object, where: str) -> Mapping[str, Any]:
    found = _fields(value, ("type", "value"), where, required=("type", "value"))
    return {name: _text(item, f"{where}.{name}") for name, item in found.items()}
