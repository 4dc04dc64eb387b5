"""`customer`, `subscription`, `promotion`, `paywall`, `products`, `coupons` and `events`, as a shell asks them."""

import json
import shutil
import stat
import threading
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stigg_local import Stigg, StoreBusy
from stigg_local.cli import arguments, customer_import
from stigg_local.cli.hints import in_shell_words
from stigg_local.cli.main import main
from stigg_local.errors import InvalidInput
from stigg_local.testing import ManualClock, ScriptedPayments

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "fixtures/catalogs/example.toml"
INSTANT = "2025-01-31T10:00:00Z"
GROWTH, SITE = "plan-revvenu-growth", "plan-site-pro"
CALLS = "addon-10k-calls"


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        assert (self.out.count("\n"), self.err) == (1, ""), self
        return dict(json.loads(self.out))


Run = Callable[..., Ran]


class Shop(NamedTuple):
    """A directory, and the subscriptions in it."""

    where: Path
    acme: str
    site: str
    unpaid: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Three customers: one with a plan that was published anew since, one without anything, one who has to pay."""
    where = tmp_path_factory.mktemp("made") / "stigg"
    dearer = tomllib.loads(EXAMPLE.read_text("utf-8"))
    next(plan for plan in dearer["plans"] if plan["id"] == GROWTH)["prices"][0]["amount"] = "109"
    units = [{"feature_id": "feature-seats", "quantity": 5}]

    def bought(client: Stigg, customer: str, plan: str, **more: Any) -> str:
        found = client.provision_subscription(customer, plan, billing_period="MONTHLY", skip_trial=True, **more)
        assert found.subscription is not None
        return found.subscription.id

    with Stigg(catalog=dearer, data_dir=where, clock=ManualClock(INSTANT)) as client:
        for name in ("acme", "globex", "initech"):
            client.provision_customer(name, name=f"{name} Ltd", subscription_params=None)
        acme = bought(client, "acme", GROWTH, billable_features=units)
        site = bought(client, "acme", SITE, resource_id="site-1")
        client.catalog.apply(EXAMPLE)
    payments = ScriptedPayments(["ACTION_REQUIRED"])
    with Stigg(data_dir=where, clock=ManualClock(INSTANT), payment_provider=payments) as client:
        unpaid = bought(client, "initech", GROWTH, billable_features=units)
    return Shop(where, acme, site, unpaid)


@pytest.fixture
def shop(made: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A copy of it, named by the environment, at an instant."""
    where = tmp_path / "stigg"
    shutil.copytree(made.where, where)
    monkeypatch.setenv("STIGG_LOCAL_DATA_DIR", str(where))
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", INSTANT)
    monkeypatch.delenv("STIGG_LOCAL_TRACEBACK", raising=False)
    return made._replace(where=where)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], shop: Shop) -> Run:
    """Type a line; `@acme`, `@site` and `@unpaid` stand for ids of subscriptions."""

    def run(line: str, *more: str | Path) -> Ran:
        words = [getattr(shop, word[1:]) if word.startswith("@") else word for word in line.split()]
        capsys.readouterr()
        code = main([*words, *map(str, more)])
        return Ran(code, *capsys.readouterr())

    return run


def at(monkeypatch: pytest.MonkeyPatch, instant: str) -> None:
    """Let commands run at an instant."""
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", instant)


def client_of(shop: Shop) -> Stigg:
    """A client on the directory, at the same instant."""
    return Stigg(data_dir=shop.where, clock=ManualClock(INSTANT))


# Customers ------------------------------------------------------------------------------------------------------


def test_a_new_customer_gets_what_the_product_starts_with(run: Run) -> None:
    made = run("customer provision new --email a@new.example --metadata region=eu --json", "--name", "New Ltd").json
    assert ("New Ltd", "a@new.example") == (made["customer"]["name"], made["customer"]["email"])
    assert {"region": "eu"} == made["customer"]["metadata"]
    assert made["subscription"]["planId"] in ("plan-revvenu-basic", GROWTH)


def test_a_first_subscription_is_asked_for_or_declined(run: Run) -> None:
    asked = run(f"customer provision a --plan {SITE} --billing-period MONTHLY --resource site-1 --json").json
    assert (SITE, "MONTHLY", {"id": "site-1"}) == tuple(
        asked["subscription"][key] for key in ("planId", "billingPeriod", "resource")
    )
    assert (
        asked["subscriptionDecisionStrategy"]
        in run(f"customer provision c --plan {SITE} --resource site-1 --billing-period MONTHLY").out
    )
    assert "subscription" not in run("customer provision b --no-subscription --json").json


def test_a_customer_is_patched(run: Run) -> None:
    run("customer update acme --email x@acme.example --metadata a=1 --metadata b=2 --coupon coupon-launch")
    found = run("customer update acme --clear email --metadata b=3 --json").json
    assert ("acme Ltd", None, {"a": "1", "b": "3"}) == (found["name"], found["email"], found["metadata"])
    assert found == run("customer get acme --json").json
    assert "coupon-launch" in run("customer get acme").out


def test_a_customer_is_shown_with_subscriptions_that_run(run: Run, shop: Shop) -> None:
    shown = run("customer get acme")
    assert 0 == shown.code
    assert shop.acme in shown.out
    assert shop.site in shown.out


def test_customers_are_listed_page_by_page(run: Run) -> None:
    names, cursor = [], None
    while True:
        page = run("customer list --limit 2 --json", *(("--cursor", cursor) if cursor else ())).json
        names += [item["id"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert ["acme", "globex", "initech"] == sorted(names)
    first = run("customer list --limit 2")
    assert first.err.startswith("there are more: --cursor ")


def test_archiving_burns_the_id(run: Run) -> None:
    assert {"customerId": "acme"} == run("customer archive acme --json").json
    assert (2, "CustomerNotFound") == code_of(run("customer get acme --json"))
    assert (3, "EntityIsArchivedError") == code_of(run("customer provision acme --json"))


@pytest.mark.parametrize("answer", ["n", "y"])
def test_a_person_is_asked_before_a_customer_is_archived(
    run: Run, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: answer == "y")
    assert (0 if answer == "y" else 2) == run("customer archive globex").code
    assert (2 if answer == "y" else 0) == run("customer get globex").code


def test_erasing_leaves_no_byte(run: Run, shop: Shop) -> None:
    run("customer update acme --email", "secret-address@acme.example")
    assert {"customerId": "acme", "filesRewritten": True} == run("customer erase acme --json").json
    assert not [path.name for path in shop.where.iterdir() if b"secret-address" in path.read_bytes()]


def test_an_export_is_a_file_for_its_owner(run: Run, shop: Shop, tmp_path: Path) -> None:
    target = tmp_path / "acme.json"
    told = run("customer export acme --json --output", target).json
    assert (str(target), 2) == (told["file"], told["counts"]["subscriptions"])
    assert 0o600 == stat.S_IMODE(target.stat().st_mode)
    written = json.loads(target.read_text())
    assert written == json.loads(run("customer export acme").out) == run("customer export acme --json").json
    assert "acme" == written["customer"]["id"]


# Importing ------------------------------------------------------------------------------------------------------

LINES = [
    {"customer_id": "n1", "name": "One", "metadata": {"region": "eu"}},
    {"customerId": "n2", "name": "Two"},
    {"customer_id": "n3", "nam": "Three"},
    {"customer_id": "n1", "email": "later@one.example"},
    {"customer_id": "n4", "coupon_id": "coupon-launh"},
    {"customer_id": "n5", "metadata": {"a": 1}},
    {"name": "nobody"},
    {"customer_id": "n6", "name": None},
    {"customer_id": "n7", "coupon_id": "coupon-launh"},
]


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_lines_that_are_refused_are_told_by_number(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(customer_import, "IMPORT_MAX", at_once)
    file = tmp_path / "customers.ndjson"
    file.write_text("\n".join([*map(json.dumps, LINES), "nonsense"]) + "\n")
    ran = run("customer import", file)
    assert (2, "10 lines: 4 imported, 6 refused\n") == (ran.code, ran.out)
    codes = [line.split(": ")[0:2] for line in ran.err.splitlines()]
    assert [
        [f"{file}:3", "InvalidArgumentError"],
        [f"{file}:5", "CouponNotFound"],
        [f"{file}:6", "InvalidMetadataError"],
        [f"{file}:7", "InvalidArgumentError"],
        [f"{file}:9", "CouponNotFound"],
        [f"{file}:10", "BadUserInput"],
    ] == codes
    assert "(did you mean `name`)" in ran.err
    first = run("customer get n1 --json").json
    assert ("One", "later@one.example", {"region": "eu"}) == (first["name"], first["email"], first["metadata"])


def test_a_csv_file_is_imported_and_again_changes_nothing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text(
        'customer_id,name,email,metadata,metadata.tier\nn1,"One, Ltd",,"{""a"": ""b""}",gold\nacme,,x@y.z,,\n'
    )
    assert {"read": 2, "done": 2, "failed": 0, "dryRun": True, "problems": []} == run(
        "customer import --dry-run --json", file
    ).json
    assert (2, "CustomerNotFound") == code_of(run("customer get n1 --json"))
    assert "2 lines: 2 imported, 0 refused\n" == run("customer import", file).out
    before = run("customer get n1 --json").json
    assert ("One, Ltd", {"a": "b", "tier": "gold"}) == (before["name"], before["metadata"])
    assert ("acme Ltd", "x@y.z") == tuple(run("customer get acme --json").json[key] for key in ("name", "email"))
    events = run("events list --json").json
    assert 0 == run("customer import", file).code
    assert before == run("customer get n1 --json").json
    assert events == run("events list --json").json


# Subscriptions --------------------------------------------------------------------------------------------------


def test_every_option_of_a_subscription_reaches_it(run: Run) -> None:
    made = run(
        f"subscription provision globex {GROWTH} --billing-period monthly --skip-trial --units feature-seats=5 "
        f"--addon {CALLS}=2 --addon addon-extra-credits --metadata team=ops --metadata x=a=b --coupon coupon-launch "
        "--start 2025-01-15 --paid-by acme --billing-cycle-anchor NOW --json"
    ).json
    assert "Success" == made["status"]
    found = made["subscription"]
    assert "ACTIVE" == found["status"]
    assert [{"id": CALLS, "quantity": 2}, {"id": "addon-extra-credits", "quantity": 1}] == found["addons"]
    assert [{"featureId": "feature-seats", "quantity": 5}] == found["billableFeatures"]
    assert {"team": "ops", "x": "a=b"} == found["metadata"]
    assert ("coupon-launch", "acme", "2025-01-15T00:00:00.000Z") == (
        found["couponId"],
        found["payingCustomerId"],
        found["startDate"],
    )
    # 99 + 5 x 12.50 + 2 x 19 + 15, and half of it.
    assert (214.5, 107.25) == (found["price"], found["totalPrice"]["total"]["amount"])


def test_a_custom_plan_takes_values_of_its_own(run: Run) -> None:
    line = "subscription provision globex plan-revvenu-enterprise --entitlement"
    run(f"{line} feature-seats=25 --credits currency-ai-credits=100/month")
    assert 0 == run("check globex feature-seats --requested 25").code
    assert 3 == run("check globex feature-seats --requested 26").code
    run(f"{line} feature-seats=unlimited")
    assert 0 == run("check globex feature-seats --requested 1000000").code


@pytest.mark.parametrize(
    ("options", "status", "end"),
    [
        ("", "IN_TRIAL", "2025-02-14T10:00:00.000Z"),
        ("--trial-until 2025-03-01", "IN_TRIAL", "2025-03-01T00:00:00.000Z"),
        ("--trial-until 2025-03-01 --after-trial CANCEL_SUBSCRIPTION", "IN_TRIAL", "2025-03-01T00:00:00.000Z"),
        ("--skip-trial", "ACTIVE", None),
        ("--skip-trial --start 2025-03-01", "NOT_STARTED", None),
    ],
)
def test_trials_and_starts(run: Run, options: str, status: str, end: str | None) -> None:
    line = f"subscription provision globex {GROWTH} --billing-period MONTHLY --units feature-seats=1"
    found = run(f"{line} {options} --json").json["subscription"]
    assert (status, end) == (found["status"], found.get("trialEndDate"))


def test_an_update_changes_what_is_named(run: Run) -> None:
    found = run(f"subscription update @acme --units feature-seats=8 --addon {CALLS}=2 --metadata a=b --json").json
    assert ([CALLS], [{"featureId": "feature-seats", "quantity": 8}]) == (found["addonIds"], found["billableFeatures"])
    assert {"a": "b"} == found["metadata"]
    assert [] == run("subscription update @acme --no-addons --json").json["addons"]
    set_for = run("subscription update @acme --cancel-at 2025-06-30 --json").json
    assert "2025-06-30T00:00:00.000Z" == set_for["cancellationDate"]
    assert "cancellationDate" not in run("subscription update @acme --cancel-at none --json").json
    assert "STIGG50" == run("subscription update @acme --promotion-code STIGG50 --json").json["promotionCode"]
    cleared = run("subscription update @acme --clear promotion-code --clear metadata --json").json
    assert ("promotionCode" in cleared, cleared["metadata"]) == (False, None)


def test_a_change_that_waits_is_shown_and_taken_back(run: Run) -> None:
    line = f"subscription update @acme --addon {CALLS} --schedule end_of_billing_period"
    shown = run(line).out
    assert "waiting\n" in shown
    assert "2025-02-28 10:00 UTC" in shown
    taken = run("subscription cancel-updates @acme --json").json
    assert run("subscription get @acme --json").json["id"] == taken["subscriptionId"]
    assert (2, "FutureUpdateNotFound") == code_of(run("subscription cancel-updates @acme --json"))


@pytest.mark.parametrize(
    ("options", "status", "end", "afterwards"),
    [
        ("", "ACTIVE", "2025-02-28T10:00:00.000Z", []),
        ("--at 2025-02-10", "ACTIVE", "2025-02-10T00:00:00.000Z", []),
        ("--time immediate --no-prorate", "CANCELED", "2025-01-31T10:00:00.000Z", ["plan-revvenu-basic"]),
        ("--time IMMEDIATE --revoke", "CANCELED", "2025-01-31T10:00:00.000Z", []),
    ],
)
def test_cancelling(run: Run, options: str, status: str, end: str, afterwards: list[str]) -> None:
    found = run(f"subscription cancel @acme {options} --json").json
    assert (status, end) == (found["status"], found["effectiveEndDate"])
    active = run("subscription active acme --json").json["subscriptions"]
    assert (afterwards or ([GROWTH] if status == "ACTIVE" else [])) == [item["plan"]["refId"] for item in active]


def test_migrating_takes_the_new_price(run: Run) -> None:
    assert 171.5 == run("subscription get @acme --json").json["price"]
    assert 161.5 == run("subscription migrate @acme --time IMMEDIATE --json").json["price"]
    assert (3, "SubscriptionAlreadyOnLatestPlanError") == code_of(run("subscription migrate @acme --json"))


def test_moving_to_a_resource_and_to_a_customer(run: Run, shop: Shop) -> None:
    assert {"id": "site-2"} == run("subscription transfer @site site-2 --json").json["resource"]
    handed = run("subscription delegate @acme globex --json").json
    assert ("globex", "acme") == (handed["customerId"], handed["payingCustomerId"])
    assert [shop.acme] == [item["id"] for item in run("subscription list globex --json").json["items"]]


def test_payments_are_settled(run: Run) -> None:
    shown = run("subscription get @unpaid").out
    assert "PAYMENT_PENDING" in shown
    assert "invoice" in shown
    assert "ACTIVE" == run("subscription settle @unpaid paid --json").json["status"]
    assert (3, "InvalidSubscriptionStatus") == code_of(run("subscription settle @unpaid PAID --json"))
    assert (2, "SubscriptionNotFound") == code_of(run("subscription settle https://pay.example/1 FAILED --json"))


def test_json_is_what_the_client_returns(run: Run, shop: Shop) -> None:
    asked: dict[str, Callable[[Stigg], dict[str, Any]]] = {
        "subscription get @acme": lambda client: client.get_subscription(shop.acme).to_dict(),
        "subscription list acme": lambda client: client.get_subscriptions("acme").to_dict(),
        "subscription active acme --resource site-1": lambda client: {
            "subscriptions": [item.to_dict() for item in client.get_active_subscriptions_list("acme", "site-1")]
        },
        "customer get acme": lambda client: client.get_customer("acme").to_dict(),
        "paywall": lambda client: client.get_paywall().to_dict(),
        "paywall product-revvenu --customer acme --include-hidden --country DE": lambda client: client.get_paywall(
            "product-revvenu", customer_id="acme", include_hidden_plans=True, billing_country_code="DE"
        ).to_dict(),
        "products": lambda client: {"products": [item.to_dict() for item in client.get_products()]},
        "coupons": lambda client: {"coupons": [item.to_dict() for item in client.get_coupons()]},
    }
    with client_of(shop) as client:
        expected = {line: json.loads(json.dumps(ask(client))) for line, ask in asked.items()}
    assert expected == {line: run(f"{line} --json").json for line in asked}


def test_lists_are_tables(run: Run, shop: Shop) -> None:
    shown = run("subscription list acme").out.splitlines()
    assert ["id", "status", "starts", "ends", "plan", "resource", "costs"] == shown[0].split()
    assert {shop.acme, shop.site} == {line.split()[0] for line in shown[1:]}
    assert 1 == len(run("subscription list acme --status CANCELED").out.splitlines())
    assert [shop.site] == [
        line.split()[0] for line in run("subscription active acme --resource site-1").out.splitlines()[1:]
    ]


# Promotions and what is sold ------------------------------------------------------------------------------------


def test_promotions_are_given_listed_and_taken_back(run: Run) -> None:
    made = run("promotion grant globex feature-api-calls --limit 500 --reset MONTH --until 2025-12-31 --json").json
    assert [("feature-api-calls", 500, "CUSTOM", "2025-12-31T00:00:00.000Z")] == [
        (item["featureId"], item["usageLimit"], item["period"], item["endDate"])
        for item in made["promotionalEntitlements"]
    ]
    assert made == run("promotion list globex --json").json
    assert 0 == run("check globex feature-api-calls --requested 500").code
    run("promotion grant globex feature-regions --values eu,us --period ONE_WEEK")
    assert 0 == run("check globex feature-regions --values eu,us").code
    shown = run("promotion list globex").out
    assert "500 each MONTH" in shown
    assert "eu, us" in shown
    taken = run("promotion revoke globex feature-api-calls feature-regions --json").json
    assert ["feature-api-calls", "feature-regions"] == sorted(taken["featureIds"])
    assert {"promotionalEntitlements": []} == run("promotion list globex --json").json
    assert (2, "PromotionalEntitlementNotFoundError") == code_of(run("promotion revoke globex feature-sso --json"))


def test_the_paywall_shows_what_is_inherited_apart(run: Run) -> None:
    shown = run("paywall product-revvenu").out
    growth = shown[shown.index("Growth  plan-revvenu-growth") : shown.index("Enterprise  ")]
    rows = [line.split() for line in growth.splitlines()]
    assert ["feature-sso", "the", "plan", "Single", "sign-on:", "yes"] in rows
    assert [
        "feature-seats",
        "inherited",
        "from",
        "Basic",
        "Two",
        "seats:",
        "2",
        "seats",
        "(hidden:",
        "PAYWALL)",
    ] in rows
    assert "111.50 USD a month and more by use, 990 USD a year" in growth
    assert "14 DAY, then CONVERT_TO_PAID" in growth
    assert "up to 1,000 0.15 USD each and 5 USD flat" in growth
    assert "addon-unmetered-api" in growth
    assert "needs addon-10k-calls" in growth


def test_the_paywall_shows_what_a_customer_has(run: Run, shop: Shop) -> None:
    shown = run("paywall product-revvenu --customer acme").out
    assert "what acme has\n" in shown
    assert shop.acme in shown


def test_products_and_coupons_are_tables(run: Run) -> None:
    assert "product-revvenu  Revvenu  plan-revvenu-basic" in run("products").out
    shown = run("coupons").out
    assert ["coupon-launch", "Launch", "50", "%", "3", "months"] == shown.splitlines()[1].split()[:6]
    assert "first invoice" in shown.splitlines()[2]


# Events ---------------------------------------------------------------------------------------------------------


def test_the_newest_events_are_listed_or_all_page_by_page(run: Run) -> None:
    every: list[dict[str, Any]] = []
    page = run("events list --first --limit 2 --json").json
    while page["items"]:
        every += page["items"]
        page = run("events list --limit 2 --json --after", page["next"]).json
    assert len(every) == len({event["id"] for event in every})
    assert every[-3:] == run("events list --limit 3 --json").json["items"]
    made = [event for event in every if event["type"] == "subscription.created"]
    assert made == run("events list --type subscription.created --json").json["items"]
    of_acme = run("events list --customer acme --json").json["items"]
    assert [event for event in every if event["customerId"] == "acme"] == of_acme
    assert 20 + 1 == len(run("events list").out.splitlines()) < len(every) + 1
    assert len(every) + 1 == len(run("events list --limit 1000").out.splitlines())


@pytest.mark.parametrize("line", ["events --follow", "events follow", "events --plain --follow"])
def test_following_begins_with_the_newest_and_ends(run: Run, line: str) -> None:
    shown = run(f"{line} --last 2 --count 2").out.splitlines()
    assert run("events list --limit 2 --json").json["items"][0]["id"] == shown[0].split()[0]
    assert 2 == len(shown)
    assert Ran(0, "", "") == run(f"{line} --seconds 0")


def test_following_ends_after_so_many(run: Run) -> None:
    """Also where there are more of them at once."""
    newest = [event["id"] for event in run("events list --limit 5 --json").json["items"]]
    assert 5 == len(newest)
    followed = run("events follow --last 5 --count 2 --json").out.splitlines()
    assert newest[:2] == [json.loads(line)["id"] for line in followed]


def test_following_shows_what_others_do(run: Run, shop: Shop) -> None:
    def change() -> None:
        with client_of(shop) as client:
            client.update_customer("globex", name="Globex")
            client.update_customer("acme", name="Acme")

    writer = threading.Timer(0.3, change)
    writer.start()
    ran = run("events --follow --customer acme --count 1 --seconds 20 --json")
    writer.join()
    assert ("customer.updated", "acme") == (ran.json["type"], ran.json["customerId"])


# What is wrong --------------------------------------------------------------------------------------------------


def code_of(ran: Ran) -> tuple[int, str]:
    """The exit code, and the error's own."""
    return ran.code, str(ran.json.get("code"))


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("customer provision a --units feature-seats=5", 2, "options of a subscription go with --plan"),
        (f"customer provision a --plan {GROWTH} --no-subscription", 2, "--plan does not go with --no-subscription"),
        ("customer update acme", 2, "there is nothing to change"),
        ("customer update acme --name a --clear name", 2, "name is both set and cleared"),
        ("customer update acme --metadata a", 2, "--metadata is `a`, not KEY=VALUE"),
        ("customer update acme --metadata a=1 --metadata a=2", 2, "--metadata says `a` twice"),
        ("customer get nobody", 2, "CustomerNotFound: customer `nobody` does not exist (`customer provision` makes"),
        ("customer import nothing.txt", 2, "--format csv or --format ndjson"),
        ("customer import nothing.csv", 2, "`nothing.csv` cannot be read"),
        (f"subscription provision acme {GROWTH} --units x", 2, "--units is `x`, not ID=N"),
        (f"subscription provision acme {GROWTH} --units x=y", 2, "--units x is `y`, not a number"),
        (f"subscription provision acme {GROWTH} --skip-trial --trial", 2, "--skip-trial does not go with --trial"),
        (f"subscription provision acme {GROWTH}", 2, "(pass --billing-period "),
        (f"subscription provision globex {GROWTH} --billing-period MONTHLY", 2, "(pass --units feature-seats=N)"),
        (f"subscription provision acme {SITE} --billing-period MONTHLY", 2, "(pass --resource)"),
        (f"subscription provision acme {GROWTH[:-1]} --billing-period MONTHLY", 2, f"did you mean `{GROWTH}`"),
        ("subscription provision acme plan-revvenu-enterprise --entitlement x", 2, "not FEATURE=N"),
        ("subscription provision acme plan-revvenu-enterprise --credits x=5", 2, "not CURRENCY=N/MONTH"),
        ("subscription update @acme", 2, "there is nothing to change"),
        ("subscription update @acme --addon a --no-addons", 2, "--addon does not go with --no-addons"),
        ("subscription update @acme --clear metadata --metadata a=b", 2, "metadata is both set and cleared"),
        ("subscription update @acme --cancel-at 2020-01-01", 2, "or cancel with --time IMMEDIATE"),
        ("subscription update @acme --addon addon-unmetered-api", 3, "AddonDependencyMissingError"),
        ("subscription cancel @acme --at 2025-06-30 --time IMMEDIATE", 2, "--at does not go with --time IMMEDIATE"),
        ("subscription get nothing", 2, "SubscriptionNotFound"),
        ("promotion grant acme", 2, "name a FEATURE or a --group"),
        ("promotion revoke acme", 2, "name a FEATURE or a --group"),
        ("promotion grant acme f --until 2025-12-31 --period LIFETIME", 2, "--until does not go with --period"),
        ("promotion grant acme feature-calls --limit x", 2, "--limit is `x`, not a number"),
        ("paywall product-revenu", 2, "did you mean `product-revvenu`"),
        ("paywall --resource site-1", 2, "--resource goes with --customer"),
        ("paywall --country XX", 2, "XX"),
        ("events list --type subscription.create", 2, "did you mean `subscription.created`"),
        ("events list --first --after 1.0", 2, "--after does not go with --first"),
        ("events follow --last 1 --after 1.0", 2, "--after does not go with --last"),
        ("events list --after x", 2, "the cursor is `x`"),
        ("events --follow list", 2, "--follow does not go with list"),
        ("events lst", 2, "there is no command `lst` (did you mean `list`)"),
    ],
)
def test_what_is_wrong_is_one_line_with_a_way_out(run: Run, line: str, code: int, said: str) -> None:
    ran = run(line)
    assert (code, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran
    assert said in ran.err


def test_busy_is_told_apart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any, **__: Any) -> None:
        raise StoreBusy("another process holds the file")

    monkeypatch.setattr(Stigg, "cancel_subscription", busy)
    ran = run("subscription cancel @acme --json")
    assert (4, True) == (ran.code, ran.json["retryable"])


def test_the_same_key_is_carried_out_once(run: Run) -> None:
    line = f"subscription provision globex {SITE} --billing-period MONTHLY --resource r --idempotency-key k --json"
    assert run(line).json == run(line).json
    assert 1 == len(run("subscription list globex --json").json["items"])
    assert (3, "IdempotencyConflict") == code_of(run(line.replace("--resource r", "--resource s")))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("subscription get subscription-site", ["@site"]),
        ("subscription provision acme plan-s", [SITE]),
        ("subscription list ac", ["acme"]),
        ("customer provision new --plan plan-revvenu-g", [GROWTH]),
        ("promotion grant acme feature-s", ["feature-seats", "feature-sso", "feature-storage"]),
        ("paywall product-r", ["product-revvenu"]),
        ("events list --type trial.", ["trial.started", "trial.converted", "trial.expired"]),
        ("subscription update x --billing-p", ["--billing-period"]),
    ],
)
def test_a_shell_completes_ids_and_words(
    run: Run, shop: Shop, monkeypatch: pytest.MonkeyPatch, words: str, offered: list[str]
) -> None:
    monkeypatch.setenv("_STIGG_LOCAL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"stigg-local {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    expected = [shop.site if name == "@site" else name for name in offered]
    assert expected == [line.removeprefix("plain,") for line in run("").out.splitlines()]


# Words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["a=1", "b=2"], [("a", 1), ("b", 2)]),
        (["a"], [("a", 1)]),
        (["x=y=3"], [("x=y", 3)]),
        (["a=1.5"], [("a", 1.5)]),
        (["a="], None),
        (["=5"], None),
        (["a=five"], None),
    ],
)
def test_quantities(given: Sequence[str], found: list[tuple[str, float]] | None) -> None:
    def parse() -> list[tuple[str, float]]:
        return [(item["id"], item["quantity"]) for item in arguments.quantities(given, "--x", "id", default=1)]

    if found is None:
        with pytest.raises(InvalidInput):
            parse()
    else:
        assert found == parse()


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (None, None),
        ("add `addon-a` to addons=", "add `addon-a` to --addon"),
        ("pass billing_country_code=DE, or none", "pass --country DE, or none"),
        ("end_date goes with cancellation_time=SPECIFIC_DATE", "--at goes with --time SPECIFIC_DATE"),
        ("pass end_date=, or cancellation_time=IMMEDIATE", "pass --at, or --time IMMEDIATE"),
        ("cancel_subscription ends it", "`subscription cancel` ends it"),
        ("did you mean `end_date`", "did you mean `end_date`"),
        ("customer_end_date stays", "customer_end_date stays"),
    ],
)
def test_a_hint_speaks_of_commands_and_options(hint: str | None, said: str | None) -> None:
    assert said == in_shell_words(hint)
