"""An answer in a few words, the same for `check` and for the demo."""

from datetime import datetime

from stigg_local.core.answer import (
    CreditEntitlement,
    Entitlement,
    EnumEntitlement,
    MeteredEntitlement,
    NumericEntitlement,
)


def verdict(answer: Entitlement) -> str:
    """`access`, or `denied` with the reason."""
    if answer.has_access:
        return "access"
    reason = answer.access_denied_reason
    return "denied" if reason is None else f"denied: {reason.value}"


def details(answer: Entitlement) -> str:
    """What the answer says beyond yes and no; empty for a boolean."""
    if isinstance(answer, NumericEntitlement):
        return _numeric(answer)
    if isinstance(answer, EnumEntitlement):
        return ", ".join(answer.enum_values) or "no values"
    if isinstance(answer, MeteredEntitlement):
        return _metered(answer)
    return _credit(answer) if isinstance(answer, CreditEntitlement) else ""


def amount(value: float) -> str:
    """A number with thousands apart."""
    return f"{value:,}"


def instant(value: datetime | None) -> str:
    """An instant to the minute."""
    return "never" if value is None else value.strftime("%Y-%m-%d %H:%M UTC")


def _numeric(answer: NumericEntitlement) -> str:
    if answer.is_unlimited:
        return "unlimited"
    return "no value" if answer.value is None else f"{amount(answer.value)} {_units(answer, answer.value)}".strip()


def _metered(answer: MeteredEntitlement) -> str:
    if answer.is_unlimited or answer.usage_limit is None:
        text = f"{amount(answer.current_usage)} {_units(answer, answer.current_usage)}".rstrip() + " used"
        text += ", unlimited" if answer.is_unlimited else ""
    else:
        used = answer.current_usage if answer.transformed_usage is None else answer.transformed_usage
        text = (
            f"{amount(used)} of {amount(answer.usage_limit)} {_units(answer, answer.usage_limit)}".rstrip() + " used"
        )
        text += ", soft limit" if answer.has_soft_limit else ""
    return text


def _credit(answer: CreditEntitlement) -> str:
    name = "credits" if answer.currency is None else answer.currency.display_name or answer.currency.id
    return f"{amount(answer.current_balance)} of {amount(answer.total_granted)} {name} left"


def _units(answer: Entitlement, value: float) -> str:
    if answer.feature is None:
        return ""
    return answer.feature.units if value == 1 else answer.feature.units_plural or answer.feature.units
