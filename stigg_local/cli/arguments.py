"""Words of a command line as arguments of the client: dates, `ID=N` and `KEY=VALUE` pairs, options of subscriptions.

Laws: an option that was not given is absent, never a default; what the values may be is the client's matter.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import click

from stigg_local.cli.options import number
from stigg_local.core.words import BillingPeriod, ScheduleStrategy, SubscriptionBillingCycleAnchor, TrialEndBehavior
from stigg_local.errors import InvalidInput

Command = Callable[..., Any]

NONE = "none"
UNLIMITED = "unlimited"
PAGE = 100
PAGE_MAX = 1000

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def choice(words: type[StrEnum]) -> "click.Choice[str]":
    """The words of an enumeration, in any case."""
    return click.Choice([member.value for member in words], case_sensitive=False)


def instant(text: str) -> str:
    """A date as the client takes it: a day alone is its first moment in UTC."""
    return f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text


def instant_or_none(text: str) -> str | None:
    """A date, or None for the word `none`."""
    return None if text.lower() == NONE else instant(text)


def pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """`KEY=VALUE` of an option that may be repeated.

    Raises:
        InvalidInput: No `=`, or a key twice.
    """
    found: dict[str, str] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InvalidInput(f"{option} is `{text[:60]}`, not KEY=VALUE", hint=f"for example {option} region=eu")
        if key in found:
            raise InvalidInput(f"{option} says `{key[:60]}` twice", hint="say it once")
        found[key] = value
    return found


def quantities(given: Iterable[str], option: str, key: str, *, default: int | None = None) -> list[dict[str, Any]]:
    """`ID=N` of an option that may be repeated, as items of a call.

    Args:
        given: What was typed.
        option: Its name.
        key: What the call calls the id.
        default: The number of an id that stands alone; None where it has to have one.

    Raises:
        InvalidInput: No number.
    """
    found = []
    for text in given:
        name, sign, count = text.rpartition("=")
        if sign and name:
            found.append({key: name, "quantity": _count(count, f"{option} {name[:60]}")})
        elif default is not None and not sign:
            found.append({key: text, "quantity": default})
        else:
            raise InvalidInput(f"{option} is `{text[:60]}`, not ID=N", hint=f"for example {option} some-id=5")
    return found


def custom_entitlements(features: Iterable[str], credits: Iterable[str]) -> list[dict[str, Any]]:
    """`FEATURE=N` or `FEATURE=unlimited`, and `CURRENCY=N/MONTH`, as the values of a custom plan.

    Raises:
        InvalidInput: Something else.
    """
    found: list[dict[str, Any]] = []
    for text in features:
        name, _, value = text.rpartition("=")
        if not name:
            raise InvalidInput(
                f"--entitlement is `{text[:60]}`, not FEATURE=N", hint="for example --entitlement feature-seats=25"
            )
        if value.lower() == UNLIMITED:
            found.append({"feature": {"feature_id": name, "is_unlimited": True}})
        else:
            limit = number(value, f"--entitlement {name[:60]}")
            found.append({"feature": {"feature_id": name, "usage_limit": limit}})
    for text in credits:
        name, _, value = text.rpartition("=")
        amount, _, cadence = value.partition("/")
        if not name or not cadence:
            raise InvalidInput(
                f"--credits is `{text[:60]}`, not CURRENCY=N/MONTH",
                hint="for example --credits currency-ai-credits=1000/MONTH",
            )
        count = number(amount, f"--credits {name[:60]}")
        found.append({"credit": {"currency_id": name, "amount": count, "cadence": cadence.upper()}})
    return found


def changes(clear: Iterable[str], clearable: Mapping[str, str], named: Mapping[str, Any]) -> dict[str, Any]:
    """What is named of a record, and None for what is taken away, as arguments of a call.

    Args:
        clear: The words of `--clear`.
        clearable: These words and the arguments that they are of.
        named: Arguments; None where nothing was said.

    Raises:
        click.UsageError: Something is both set and cleared.
    """
    found: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    for word in clear:
        if clearable[word] in found:
            raise click.UsageError(f"{word} is both set and cleared")
    return found | {clearable[word]: None for word in clear}


def _count(text: str, name: str) -> int | float:
    # What is no whole number is refused by the client, with the field's own code.
    value = number(text, name)
    return float(value) if isinstance(value, Decimal) else value


# Options --------------------------------------------------------------------------------------------------------


def options(*several: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one, in the order in which help shows them."""

    def all_of_them(command: Command) -> Command:
        for option in reversed(several):
            command = option(command)
        return command

    return all_of_them


key_option = click.option(
    "--idempotency-key", metavar="K", help="The same key with the same arguments is carried out once."
)
units_option = click.option("--units", metavar="FEATURE=N", multiple=True, help="Units that are bought; repeatable.")
addon_option = click.option(
    "--addon", "addons", metavar="ADDON=N", multiple=True, help="An add-on, once or N times; repeatable."
)
billing_period_option = click.option("--billing-period", type=choice(BillingPeriod), help="How often it renews.")
promotion_code_option = click.option("--promotion-code", metavar="CODE", help="A discount of this subscription.")
metadata_option = click.option(
    "--metadata", metavar="KEY=VALUE", multiple=True, help="Merged with what is there; repeatable."
)
anchor_option = click.option(
    "--billing-cycle-anchor",
    type=choice(SubscriptionBillingCycleAnchor),
    show_default="UNCHANGED",
    help="NOW begins a new billing cycle.",
)
schedule_option = click.option(
    "--schedule", type=choice(ScheduleStrategy), show_default="what the product says", help="When it takes effect."
)
page_options = options(
    click.option(
        "--limit", type=click.IntRange(1, PAGE_MAX), default=PAGE, show_default=True, metavar="N", help="At most N."
    ),
    click.option("--cursor", metavar="C", help="Go on from here: `next` of the page before."),
)
subscription_options = options(
    billing_period_option,
    units_option,
    addon_option,
    click.option(
        "--entitlement",
        "entitlements",
        metavar="FEATURE=N",
        multiple=True,
        help="A value of a custom plan, or `unlimited`; repeatable.",
    ),
    click.option(
        "--credits", metavar="CURRENCY=N/MONTH", multiple=True, help="Credits of a custom plan, or /YEAR; repeatable."
    ),
    click.option("--resource", metavar="R", help="For products with several subscriptions."),
    promotion_code_option,
    click.option("--country", metavar="CC", help="ISO 3166-1 alpha-2, for the prices of that country."),
    click.option("--start", metavar="DATE", show_default="now", help="Past or future: a day, or an ISO-8601 instant."),
    click.option("--skip-trial", is_flag=True, help="Paid at once."),
    click.option("--trial", is_flag=True, help="A trial, whatever the plan says."),
    click.option("--trial-until", metavar="DATE", help="A trial that ends then."),
    click.option("--after-trial", type=choice(TrialEndBehavior), help="What follows the trial."),
    schedule_option,
    anchor_option,
    click.option("--paid-by", metavar="CUSTOMER", help="Another customer, who pays."),
)
# What `subscription_options` gives a command and the call takes as it is, under a name of its own.
_AS_THEY_ARE = {
    "billing_period": "billing_period",
    "resource": "resource_id",
    "promotion_code": "promotion_code",
    "country": "billing_country_code",
    "schedule": "schedule_strategy",
    "billing_cycle_anchor": "billing_cycle_anchor",
    "paid_by": "paying_customer_id",
}


def subscription_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `provision_subscription` from `subscription_options`, of which those that were given.

    Raises:
        InvalidInput: A value is not of its form.
        click.UsageError: Options contradict each other.
    """
    found = {name: given[option] for option, name in _AS_THEY_ARE.items() if given[option] is not None}
    if given["units"]:
        found["billable_features"] = quantities(given["units"], "--units", "feature_id")
    if given["addons"]:
        found["addons"] = quantities(given["addons"], "--addon", "addon_id", default=1)
    if given["entitlements"] or given["credits"]:
        found["entitlements"] = custom_entitlements(given["entitlements"], given["credits"])
    if given["start"] is not None:
        found["start_date"] = instant(given["start"])
    trial = _trial(given)
    if given["skip_trial"]:
        if trial is not None:
            raise click.UsageError("--skip-trial does not go with --trial, --trial-until and --after-trial")
        found["skip_trial"] = True
    if trial is not None:
        found["trial_override"] = trial
    return found


def _trial(given: dict[str, Any]) -> dict[str, Any] | None:
    until, behavior = given["trial_until"], given["after_trial"]
    if not given["trial"] and until is None and behavior is None:
        return None
    found: dict[str, Any] = {"is_trial": True}
    if until is not None:
        found["trial_end_date"] = instant(until)
    if behavior is not None:
        found["trial_end_behavior"] = behavior
    return found
