"""The level of the command line for life vectors: each step is one command on a data directory.

Law: a step has the same words at every run; one that no command can say is known before anything runs.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stigg_local.clock import wall_ms
from stigg_local.core.period import to_text
from stigg_local.errors import InvalidInput, NotAllowed
from stigg_local.testing import ManualClock
from tests.vectors.life import by_start, flat_customer, flat_plan, flat_subscription, snaked
from tests.vectors.runner import GETTERS, catalog_path, snake

# An argument, the option that says it, and how its value is written there.
Options = Mapping[str, tuple[str, Callable[[str, Any], list[str]]]]

# Exit codes: done, wrong input, and no access or a rule that refuses.
DONE, WRONG, REFUSED = 0, 2, 3


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class NoCommand(Exception):
    """No command takes the argument, or the value of it."""

    def __init__(self, argument: str, value: Any = None) -> None:
        super().__init__(argument, value)
        self.argument = argument
        self.value = value


def counted(key: str) -> Callable[[str, Any], list[str]]:
    """An option for each item that has a quantity."""

    def words(option: str, items: Any) -> list[str]:
        for item in items:
            if item.keys() != {key, "quantity"}:
                raise NoCommand(key, item)
        return [word for item in items for word in (option, f"{item[key]}={item['quantity']}")]

    return words


def one(option: str, value: Any) -> list[str]:
    """An option and its value."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise NoCommand(option.removeprefix("--"), value)
    return [option, str(value)]


def many(option: str, value: Any) -> list[str]:
    """An option for each value, or for the one."""
    return [word for item in ([value] if isinstance(value, str) else value) for word in one(option, item)]


def flag(option: str, value: Any) -> list[str]:
    """An option that says yes; no is not to name it."""
    return [option] if value else []


def either(option: str, value: Any) -> list[str]:
    """An option that says yes or no."""
    return [option if value else f"--no-{option[2:]}"]


def clearable(option: str, value: Any) -> list[str]:
    """An option and its value, or `--clear` for None."""
    return ["--clear", option[2:]] if value is None else one(option, value)


def metadata(option: str, value: Any) -> list[str]:
    """Pairs, of which a command line can say those of text; an empty mapping it cannot say."""
    if value is None:
        return ["--clear", "metadata"]
    if not value or not all(isinstance(text, str) for text in value.values()):
        raise NoCommand(option.removeprefix("--"), value)
    return [word for key, text in value.items() for word in (option, f"{key}={text}")]


def addons_from_now_on(option: str, value: Any) -> list[str]:
    return counted("addon_id")(option, value) if value else ["--no-addons"]


def end_or_none(option: str, value: Any) -> list[str]:
    return one(option, "none" if value is None else value)


def trial(_: str, value: Any) -> list[str]:
    """A trial of one's own; `trialOverride.isTrial` false has no option but `--skip-trial`, which is another field."""
    found = dict(value)
    if found.pop("is_trial", None) is not True:
        raise NoCommand("trial_override", value)
    options: Options = {"trial_end_date": ("--trial-until", one), "trial_end_behavior": ("--after-trial", one)}
    return ["--trial", *spoken(found, options)]


def custom(option: str, value: Any) -> list[str]:
    """Values of a custom plan."""
    found: list[str] = []
    for item in value:
        feature = item.get("feature", {})
        if item.keys() != {"feature"} or feature.keys() != {"feature_id", "usage_limit"}:
            raise NoCommand("entitlements", item)
        found += [option, f"{feature['feature_id']}={feature['usage_limit']}"]
    return found


def spoken(arguments: Mapping[str, Any], options: Options) -> list[str]:
    """Arguments as options.

    Raises:
        NoCommand: There is none for an argument.
    """
    found: list[str] = []
    for key, value in arguments.items():
        if key not in options:
            raise NoCommand(key, value)
        option, words = options[key]
        found += words(option, value)
    return found


KEY: Options = {"idempotency_key": ("--idempotency-key", one)}
WHO: Options = {
    "name": ("--name", clearable),
    "email": ("--email", clearable),
    "coupon_id": ("--coupon", clearable),
    "metadata": ("--metadata", metadata),
}
FIRST: Options = {
    "billing_period": ("--billing-period", one),
    "billable_features": ("--units", counted("feature_id")),
    "addons": ("--addon", counted("addon_id")),
    "entitlements": ("--entitlement", custom),
    "resource_id": ("--resource", one),
    "promotion_code": ("--promotion-code", one),
    "billing_country_code": ("--country", one),
    "start_date": ("--start", one),
    "skip_trial": ("--skip-trial", flag),
    "trial_override": ("--trial", trial),
    "schedule_strategy": ("--schedule", one),
    "billing_cycle_anchor": ("--billing-cycle-anchor", one),
}
CHANGE: Options = {
    "billable_features": ("--units", counted("feature_id")),
    "addons": ("--addon", addons_from_now_on),
    "billing_period": ("--billing-period", one),
    "promotion_code": ("--promotion-code", clearable),
    "metadata": ("--metadata", metadata),
    "cancellation_date": ("--cancel-at", end_or_none),
    "trial_end_date": ("--trial-until", one),
    "schedule_strategy": ("--schedule", one),
    "billing_cycle_anchor": ("--billing-cycle-anchor", one),
}
PROMISE: Options = {
    "usage_limit": ("--limit", one),
    "period": ("--period", one),
    "custom_end_date": ("--until", one),
    "has_soft_limit": ("--soft-limit", flag),
    "reset_period": ("--reset", one),
}
# A step that is a command, its arguments that have a place, and its options.
COMMANDS: Mapping[str, tuple[str, tuple[str, ...], Options]] = {
    "provision_customer": ("customer provision", ("customer_id",), WHO),
    "update_customer": ("customer update", ("customer_id",), WHO),
    "archive_customer": ("customer archive --yes", ("customer_id",), {}),
    "provision_subscription": (
        "subscription provision",
        ("customer_id", "plan_id"),
        {**FIRST, "coupon_id": ("--coupon", one), "metadata": ("--metadata", metadata)},
    ),
    "update_subscription": ("subscription update", ("subscription_id",), CHANGE),
    "cancel_subscription": (
        "subscription cancel",
        ("subscription_id",),
        {
            "cancellation_time": ("--time", one),
            "end_date": ("--at", one),
            "prorate": ("--prorate", either),
        },
    ),
    "cancel_subscription_scheduled_updates": (
        "subscription cancel-updates",
        ("subscription_id",),
        {"status": ("--status", one)},
    ),
    "migrate_subscription_to_latest": (
        "subscription migrate",
        ("subscription_id",),
        {"subscription_migration_time": ("--time", one)},
    ),
    "report_usage": ("report", ("customer_id", "feature_id", "value"), {"resource_id": ("--resource", one)}),
}
CHECKS: Mapping[str, tuple[str, tuple[str, ...], Options]] = {
    "customer": ("customer get", ("customer_id",), {}),
    "subscription": ("subscription get", ("subscription_id",), {}),
    "subscriptions": ("subscription list", ("customer_id",), {}),
    "active_subscriptions": ("subscription active", ("customer_id",), {"resource_id": ("--resource", many)}),
    "paywall": (
        "paywall",
        ("product_id",),
        {"customer_id": ("--customer", one), "include_hidden_plans": ("--include-hidden", flag)},
    ),
    "products": ("products", (), {}),
    "coupons": ("coupons", (), {}),
}


def words_of_do(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """The words of a step that does something; none for `tick`, after which every answer is the same.

    Raises:
        NoCommand: No command can say it.
    """
    left = dict(arguments)
    if name == "tick":
        return []
    if name == "apply_catalog":
        return ["catalog", "apply", *spoken(left, {"migrate": ("--migrate", one), "catalog": ("", _catalog)})]
    if name == "grant_promotional_entitlements":
        return _grant(**left)
    if name == "revoke_promotional_entitlements":
        return ["promotion", "revoke", "--", left.pop("customer_id"), *_names(**left)]
    more: list[str] = []
    if name == "provision_customer" and "subscription_params" in left:
        more = _first_subscription(left.pop("subscription_params"))
    if name == "cancel_subscription" and left.pop("action", None) is not None:
        if arguments["action"] != "REVOKE_ENTITLEMENTS":
            raise NoCommand("action", arguments["action"])
        more = ["--revoke"]
    return _words(COMMANDS, name, left, more)


def words_of_check(get: str, arguments: Mapping[str, Any]) -> list[str]:
    """The words of a step that asks.

    Raises:
        NoCommand: No command can say it.
    """
    if get not in GETTERS:
        return _words(CHECKS, get, dict(arguments), [])
    kind = [] if get == "entitlement" else ["--type", get]
    place = ("customer_id", "currency_id" if get == "credit" else "feature_id")
    return _words({get: ("check", place, {"resource_id": ("--resource", one)})}, get, dict(arguments), kind)


def _words(
    commands: Mapping[str, tuple[str, tuple[str, ...], Options]], name: str, left: dict[str, Any], more: list[str]
) -> list[str]:
    if name not in commands:
        raise NoCommand(name)
    command, places, options = commands[name]
    placed = [str(left.pop(place)) for place in places if place in left]
    return [*command.split(), *more, *spoken(left, {**options, **KEY}), "--", *placed]


def _catalog(_: str, value: Any) -> list[str]:
    return [str(catalog_path(value))]


def _first_subscription(asked: dict[str, Any] | None) -> list[str]:
    if asked is None:
        return ["--no-subscription"]
    left = dict(asked)
    return ["--plan", left.pop("plan_id"), *spoken(left, FIRST)]


def _names(feature_ids: Any) -> list[str]:
    return [feature_ids] if isinstance(feature_ids, str) else list(feature_ids)


def _grant(customer_id: str, entitlements: list[dict[str, Any]]) -> list[str]:
    """One command gives everything it names on the same terms."""
    features, groups, terms = [], [], []
    for item in entitlements:
        left = dict(item)
        if "feature_group_id" in left:
            groups += ["--group", left.pop("feature_group_id")]
        else:
            features.append(left.pop("feature_id"))
        terms.append(spoken(left, PROMISE))
    if any(term != terms[0] for term in terms):
        raise NoCommand("entitlements", entitlements)
    return ["promotion", "grant", *groups, *terms[0], "--", customer_id, *features]


def unsaid(vector: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The arguments of a vector that no command can say, and their values."""
    for step in vector["steps"]:
        what = dict(step.get("do") or step["check"])
        try:
            if "do" in step:
                words_of_do(snake(what.pop("type")), snaked(what))
            else:
                words_of_check(what.pop("get"), snaked(what))
        except NoCommand as error:
            yield error.argument, error.value


class CommandLifeLevel:
    """The steps as commands, each of which opens the directory and closes it again."""

    def __init__(self, catalog: str, clock: ManualClock, data_dir: Path, run: Callable[[list[str]], Ran]) -> None:
        self._clock = clock
        self._options = ["--json", "--data-dir", str(data_dir)]
        self._run = run
        self._ask(["catalog", "apply", str(catalog_path(catalog))])

    def do(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        words = words_of_do(name, arguments)
        if not words:
            return {}
        answer = self._ask(words)
        if answer.get("subscription"):
            answer["subscription"] = flat_subscription(answer["subscription"])
        return flat_subscription(answer) if "planId" in answer else answer

    def check(self, get: str, arguments: dict[str, Any]) -> Any:
        answer = self._ask(words_of_check(get, arguments))
        if get == "customer":
            return flat_customer(answer)
        if get == "subscription":
            return flat_subscription(answer)
        if get == "subscriptions":
            assert answer["next"] is None
            return by_start([flat_subscription(item) for item in answer["items"]])
        if get == "active_subscriptions":
            return by_start([{**item, "planId": item["plan"]["refId"]} for item in answer["subscriptions"]])
        if get == "paywall":
            return [flat_plan(plan) for plan in answer["plans"]]
        return answer[get] if get in ("coupons", "products") else answer

    def close(self) -> None:
        """Nothing is open between two commands."""

    def _ask(self, words: list[str]) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STIGG_LOCAL_CLOCK", to_text(wall_ms(self._clock)) or "")
            # Options before the command's own, so that `--` may end them.
            ended = self._run([*self._options, *words])
        assert (ended.out.count("\n"), ended.err) == (1, ""), (words, ended)
        found: dict[str, Any] = json.loads(ended.out)
        if "code" in found and "message" in found:
            assert ended.code in (WRONG, REFUSED), (words, ended)
            raise (InvalidInput if ended.code == WRONG else NotAllowed)(found["message"], code=found["code"])
        assert ended.code == (DONE if found.get("hasAccess", True) else REFUSED), (words, ended)
        return found
