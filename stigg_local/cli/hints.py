"""The way out of an error in the words of the shell: the library names calls and arguments, a shell has neither."""

import re

# What is longer stands before what it begins with.
_WORDS = {
    "update_customer with coupon_id=None": "`customer update --clear coupon`",
    "provision_customer": "`customer provision`",
    "get_subscriptions": "`subscription list`",
    "get_paywall": "`paywall`",
    "get_products": "`paywall`",
    "cancel_subscription_scheduled_updates": "`subscription cancel-updates`",
    "cancel_subscription": "`subscription cancel`",
    "provision_subscription": "`subscription provision`",
    "payments.settle": "`subscription settle`",
    "cancellation_time": "--time",
    "billing_country_code": "--country",
    "custom_end_date": "--until",
    "feature_group_ids": "--group",
    "billable_features": "--units",
    "trial_end_date": "--trial-until",
    "trial_override": "--trial, --trial-until and --after-trial",
    "idempotency_key": "--idempotency-key",
    "billing_period": "--billing-period",
    "reset_period": "--reset",
    "resource_id": "--resource",
    "usage_limit": "--limit",
    "end_date": "--at",
    "addons=": "--addon",
}
_UNITS = re.compile(r'billable_features=\[\{"feature_id": "([^"]*)", "quantity": …\}\]')
_ANY = re.compile("|".join(rf"(?<![\w.`]){re.escape(words)}(?!\w)=?" for words in _WORDS))


def in_shell_words(hint: str | None) -> str | None:
    """A hint with calls and arguments as commands and options."""
    return None if hint is None else _ANY.sub(_replaced, _UNITS.sub(r"--units \1=N", hint))


def _replaced(found: re.Match[str]) -> str:
    text = found[0]
    words = _WORDS.get(text) or _WORDS[text.removesuffix("=")]
    # A value may follow, and what ends there has no use for the blank.
    has_value = text.endswith("=") and found.end() < len(found.string) and found.string[found.end()] not in " ,;)"
    return f"{words} " if has_value else words
