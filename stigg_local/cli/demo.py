"""The tour of the engine: a catalog, customers, decisions, limits, crashes, forks, offline, latencies."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from stigg_local.cli.demo_latency import measure
from stigg_local.cli.demo_offline import go_offline
from stigg_local.cli.demo_process import fork, kill_in_the_middle
from stigg_local.cli.output import Output
from stigg_local.cli.stage import Stage
from stigg_local.cli.words import amount, details, verdict
from stigg_local.client import Stigg
from stigg_local.core.answer import Entitlement
from stigg_local.errors import InvalidInput, StiggError

EXAMPLE = Path(__file__).parent / "example"

FREE, TRIAL, PAID, CUSTOM = "free", "trial", "paid", "custom"
CUSTOMERS = (FREE, TRIAL, PAID, CUSTOM)

GROWTH, ENTERPRISE = "plan-revvenu-growth", "plan-revvenu-enterprise"
SSO, RETENTION, REGIONS = "feature-sso", "feature-retention-days", "feature-regions"
SEATS, CALLS, IMAGES = "feature-seats", "feature-api-calls", "feature-generated-images"
CREDITS = "currency-ai-credits"
ITEMS = (SSO, RETENTION, REGIONS, SEATS, CALLS, IMAGES, CREDITS)

FREE_CALLS = 100
PLAN_CREDITS = 5000
IMAGE_CREDITS = 10


class Question(Struct, frozen=True):
    """One decision of the tour and what the example catalog makes of it."""

    customer: str
    kind: str
    item: str
    asked: Mapping[str, Any]
    verdict: str
    shows: Mapping[str, Any]

    def ask(self, client: Stigg) -> Entitlement:
        """Ask through the getter of the type."""
        answer: Entitlement = getattr(client, f"get_{self.kind}_entitlement")(self.customer, self.item, **self.asked)
        return answer

    def is_met(self, answer: Entitlement) -> bool:
        """Whether the answer is the one that the catalog gives."""
        shown = all(getattr(answer, name) == value for name, value in self.shows.items())
        return shown and verdict(answer) == self.verdict and not answer.is_fallback

    def words(self) -> str:
        """The question for people."""
        wanted = self.asked.get("requested_usage") or ", ".join(self.asked.get("requested_values", ()))
        return f"{self.item}, {wanted}" if wanted else self.item


def _denied(reason: str) -> str:
    return f"denied: {reason}"


QUESTIONS = (
    Question(FREE, "boolean", SSO, {}, _denied("Revoked"), {}),
    Question(TRIAL, "boolean", SSO, {}, "access", {}),
    Question(FREE, "numeric", RETENTION, {}, "access", {"value": 7}),
    Question(PAID, "numeric", RETENTION, {}, "access", {"value": 90}),
    Question(FREE, "enum", REGIONS, {"requested_values": ("eu",)}, _denied("CustomerNotEntitledForFeature"), {}),
    Question(PAID, "enum", REGIONS, {"requested_values": ("eu",)}, "access", {"enum_values": ("eu", "us")}),
    Question(PAID, "enum", REGIONS, {"requested_values": ("eu", "ap")}, _denied("RequestedValuesMismatch"), {}),
    Question(FREE, "metered", CALLS, {"requested_usage": 100}, "access", {"usage_limit": FREE_CALLS}),
    Question(FREE, "metered", CALLS, {"requested_usage": 101}, _denied("RequestedUsageExceedsLimit"), {}),
    # 10,000 of the plan and twice 10,000 of the add-on.
    Question(PAID, "metered", CALLS, {}, "access", {"usage_limit": 30_000, "has_soft_limit": True}),
    Question(PAID, "metered", SEATS, {"requested_usage": 5}, "access", {"usage_limit": 5}),
    Question(CUSTOM, "metered", SEATS, {"requested_usage": 21}, _denied("RequestedUsageExceedsLimit"), {}),
    Question(FREE, "credit", CREDITS, {"requested_usage": 1}, _denied("InsufficientCredits"), {}),
    Question(PAID, "credit", CREDITS, {"requested_usage": 50}, "access", {"current_balance": PLAN_CREDITS}),
    # 1,000 for each of 20 seats.
    Question(CUSTOM, "credit", CREDITS, {}, "access", {"current_balance": 20_000}),
)


def tour(out: Output) -> bool:
    """Run the tour in a temporary directory; whether every claim held."""
    stage = Stage(out)
    directory = _temporary_directory()
    # What the library would log is shown by the tour itself.
    logger = logging.getLogger("stigg_local")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with directory as root:
            _tour(stage, Path(root))
    except StiggError as error:
        stage.claim("every call of the tour succeeds", False, error)
    finally:
        logger.setLevel(level)
    return stage.end()


def _temporary_directory() -> "tempfile.TemporaryDirectory[str]":
    try:
        return tempfile.TemporaryDirectory(prefix="stigg-local-demo-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InvalidInput(
            f"no temporary directory can be made: {error.strerror}", hint="set TMPDIR to a writable directory"
        ) from error


def _tour(stage: Stage, root: Path) -> None:
    data_dir = root / "stigg"
    stage.step("A catalog file becomes a database")
    with Stigg(catalog=EXAMPLE / "catalog.toml", data_dir=data_dir) as client:
        _catalog(stage, client, data_dir)
        _customers(stage, client)
        _decide(stage, client)
        _use_up(stage, client)
        kill_in_the_middle(stage, client, data_dir, customer_id=PAID, feature_id=CALLS)
        before = _answers(client)
    stage.step("Close, and open again")
    with Stigg(data_dir=data_dir) as client:
        after = _answers(client)
        stage.say("the directory alone is opened, without the catalog file")
        stage.claim(f"the same {len(after)} answers as before, to the last field", before == after)
        fork(stage, client, customer_id=PAID, feature_id=CALLS)
    go_offline(stage, root, EXAMPLE / "fallback.toml", feature_id=CALLS)
    with Stigg(data_dir=data_dir) as client:
        measure(stage, client, customer_id=PAID, boolean=SSO, metered=CALLS, credit=CREDITS)


def _catalog(stage: Stage, client: Stigg, data_dir: Path) -> None:
    found = client.catalog.show()
    names = {"features": "features", "plans": "plans", "addons": "add-ons", "creditCurrencies": "credit currency"}
    stage.say("catalog.toml: " + ", ".join(f"{len(found[key])} {name}" for key, name in names.items()))
    stage.say(f"data directory: {data_dir}")
    problems = client.catalog.validate(EXAMPLE / "catalog.toml")
    stage.claim("it has no mistakes", not problems, problems)
    again = client.catalog.apply(EXAMPLE / "catalog.toml")
    stage.claim("applying the same file again changes nothing", not again.changes, again.changes)


def _customers(stage: Stage, client: Stigg) -> None:
    stage.step("Customers and their subscriptions")
    seats = [{"feature_id": SEATS, "quantity": 5}]
    free = client.provision_customer(FREE, name="Free Ltd").subscription
    for customer_id in (TRIAL, PAID, CUSTOM):
        client.provision_customer(customer_id, subscription_params=None)
    trial = client.provision_subscription(TRIAL, GROWTH, billing_period="MONTHLY", billable_features=seats)
    paid = client.provision_subscription(
        PAID,
        GROWTH,
        billing_period="MONTHLY",
        billable_features=seats,
        addons=[{"addon_id": "addon-10k-calls", "quantity": 2}],
        skip_trial=True,
    )
    custom = client.provision_subscription(
        CUSTOM, ENTERPRISE, entitlements=[{"feature": {"feature_id": SEATS, "usage_limit": 20}}]
    )
    assert free is not None
    rows = [(FREE, free.plan_id, free.status, "what the catalog gives every new customer")]
    for result, what in ((trial, "5 seats"), (paid, "5 seats, 2 x 10,000 more calls"), (custom, "20 seats agreed")):
        made = result.subscription
        assert made is not None
        end = f", trial until {made.trial_end_date:%Y-%m-%d}" if made.trial_end_date else ""
        rows.append((made.customer_id, made.plan_id, made.status, what + end))
    stage.table(("customer", "plan", "status", "with"), rows)
    statuses = [row[2] for row in rows]
    stage.claim(
        "one free, one in trial, one paid, one custom",
        statuses == ["ACTIVE", "IN_TRIAL", "ACTIVE", "ACTIVE"],
        statuses,
    )


def _decide(stage: Stage, client: Stigg) -> None:
    stage.step("Decisions of all five types, each with its reason")
    answers = [(question, question.ask(client)) for question in QUESTIONS]
    stage.table(
        ("type", "customer", "question", "decision"),
        [(answer.type, question.customer, question.words(), _decision(answer)) for question, answer in answers],
    )
    wrong = [f"{question.customer} {question.words()}" for question, answer in answers if not question.is_met(answer)]
    kinds = {answer.type for _, answer in answers}
    stage.claim(
        f"all {len(answers)} are what the catalog says, of {len(kinds)} types", not wrong and len(kinds) == 5, wrong
    )


def _decision(answer: Entitlement) -> str:
    """The verdict; what a customer has stands beside a yes, the reason beside a no."""
    state = details(answer)
    return f"access: {state}" if answer.has_access and state else verdict(answer)


def _use_up(stage: Stage, client: Stigg) -> None:
    stage.step("Use a limit up")
    rows = []
    for units in (60, 40):
        result = client.report_usage(FREE, CALLS, units)
        assert result is not None
        asked = client.get_metered_entitlement(FREE, CALLS, requested_usage=1)
        rows.append((f"{FREE} reports {units} calls", amount(result.current_usage), verdict(asked)))
    stage.table(("what happens", "usage", "one more call"), rows)
    full = client.get_metered_entitlement(FREE, CALLS, requested_usage=1)
    stage.claim(
        f"at {FREE_CALLS} of {FREE_CALLS} calls one more is refused: RequestedUsageExceedsLimit",
        (verdict(full), full.current_usage) == (_denied("RequestedUsageExceedsLimit"), FREE_CALLS),
        f"{verdict(full)} at {full.current_usage}",
    )
    client.report_usage(PAID, IMAGES, 3)
    wallet = client.get_credit_entitlement(PAID, CREDITS, requested_usage=PLAN_CREDITS)
    left = PLAN_CREDITS - 3 * IMAGE_CREDITS
    stage.say(f"{PAID} makes 3 images at {IMAGE_CREDITS} credits: {details(wallet)}")
    stage.claim(
        f"{amount(left)} credits are left, and a request for {amount(PLAN_CREDITS)} is refused: InsufficientCredits",
        (verdict(wallet), wallet.current_balance) == (_denied("InsufficientCredits"), left),
        f"{verdict(wallet)} at {wallet.current_balance}",
    )


def _answers(client: Stigg) -> Sequence[dict[str, Any]]:
    """Everything that the tour's customers are answered, as it would be sent to a program."""
    return [client.get_entitlement(customer, item).to_dict() for customer in CUSTOMERS for item in ITEMS]
