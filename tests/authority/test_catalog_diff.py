"""Publishing: what a catalog changes of what is stored, and that the same catalog changes nothing."""

from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from stigg_local.authority.catalog_diff import Publish, Stored, differences, plan_publish
from stigg_local.authority.catalog_file import load
from stigg_local.core.catalog import CatalogFile, PackageVersion, Plan
from tests.authority.catalogs import Table, catalogs, example


def applied(state: list[Stored], publish: Publish) -> list[Stored]:
    """The stored state after a publish, as the store would hold it."""
    rows = {(kind, name, version): body for kind, name, version, body in state}
    for kind, name, version, record in publish.puts:
        rows[kind, name, version] = msgspec.json.encode(record).decode()
    return [(*key, body) for key, body in rows.items() if (key[0], key[1]) not in set(map(tuple, publish.removed))]


def stored_of(catalog: CatalogFile) -> list[Stored]:
    """The state after a first publish."""
    return applied([], plan_publish([], catalog))


def package(publish: Publish, name: str) -> PackageVersion:
    """The package version of that id that a publish puts."""
    return next(record for _, item, _, record in publish.puts if item == name and isinstance(record, PackageVersion))


def catalog_of(source: Table) -> CatalogFile:
    return load(source).catalog


def changed(source: Table, *path: Any, value: Any) -> Table:
    """A copy of a mapping with one value replaced, or dropped where it is None."""
    made = deepcopy(source)
    around: Any = made
    for key in path[:-1]:
        around = around[key]
    if value is None:
        del around[path[-1]]
    else:
        around[path[-1]] = value
    return made


BASIC, GROWTH, ENTERPRISE, SITE = range(4)


@pytest.fixture
def source() -> Table:
    return example()


@pytest.fixture
def state(source: Table) -> list[Stored]:
    return stored_of(catalog_of(source))


def test_a_first_publish_puts_everything_once(source: Table) -> None:
    publish = plan_publish([], catalog_of(source))
    sections = [items for items in source.values() if isinstance(items, list)]
    assert sum(map(len, sections)) == len(publish.puts) == len(publish.changes)
    assert {"added"} == {change.action for change in publish.changes}
    assert {1} == {version for _, _, version, _ in publish.puts}
    assert [] == publish.removed
    assert [] == publish.problems


def test_the_same_catalog_again_changes_nothing(source: Table, state: list[Stored]) -> None:
    assert Publish(puts=[], removed=[], changes=[], problems=[]) == plan_publish(state, catalog_of(source))


def test_a_plan_holds_what_its_bases_give_and_it_does_not_state_itself(source: Table) -> None:
    """Basic{api:100, sso}, Pro→Basic{api:1000}, Ent→Pro{audit}: Ent = {audit, api:1000, sso}."""
    source = {
        "schema": 1,
        "features": [
            {"id": "api", "featureType": "Numeric", "meterType": "Incremental"},
            {"id": "sso", "featureType": "Boolean"},
            {"id": "audit", "featureType": "Boolean"},
        ],
        "creditCurrencies": [{"id": "credits"}],
        "products": [{"id": "product"}],
        "plans": [
            {
                "id": "ent",
                "productId": "product",
                "parentPlanId": "pro",
                "entitlements": [{"featureId": "audit"}],
                "creditEntitlements": [{"currencyId": "credits", "amount": 9, "cadence": "YEAR"}],
            },
            {
                "id": "pro",
                "productId": "product",
                "parentPlanId": "basic",
                "entitlements": [{"featureId": "api", "usageLimit": 1000}],
                "creditEntitlements": [{"currencyId": "credits", "amount": 5, "cadence": "MONTH"}],
            },
            {
                "id": "basic",
                "productId": "product",
                "entitlements": [{"featureId": "api", "usageLimit": 100}, {"featureId": "sso"}],
                "creditEntitlements": [
                    {"currencyId": "credits", "amount": 1, "cadence": "MONTH"},
                    {"currencyId": "credits", "amount": 1, "cadence": "YEAR"},
                ],
            },
        ],
    }
    version = package(plan_publish([], catalog_of(source)), "ent")
    assert [("pro", "api", 1000), ("basic", "sso", None)] == [
        (item.plan_id, item.entitlement.feature_id, item.entitlement.limit) for item in version.inherited
    ]
    assert [("pro", "MONTH", 5)] == [
        (item.plan_id, item.entitlement.cadence, item.entitlement.amount) for item in version.inherited_credits
    ]


def test_editing_a_base_plan_publishes_its_heirs(source: Table, state: list[Stored]) -> None:
    edited = changed(source, "plans", BASIC, "entitlements", 2, "usageLimit", value=9)
    publish = plan_publish(state, catalog_of(edited))
    # Growth inherits the seats of Basic; Enterprise states its own.
    assert [("plan-revvenu-basic", 2), ("plan-revvenu-growth", 2)] == [
        (name, version) for _, name, version, _ in publish.puts
    ]
    assert [
        ("published", "plan-revvenu-basic", 2, (("entitlements[feature-seats].usageLimit", 2, 9),)),
        ("published", "plan-revvenu-growth", 2, (("inherited.feature-seats.entitlement.usageLimit", 2, 9),)),
    ] == [(change.action, change.id, change.version, change.fields) for change in publish.changes]


def test_versions_count_up_and_the_latest_is_compared(source: Table, state: list[Stored]) -> None:
    edited = changed(source, "plans", SITE, "entitlements", 0, "usageLimit", value=60)
    state = applied(state, plan_publish(state, catalog_of(edited)))
    back = plan_publish(state, catalog_of(source))
    assert [("plan", "plan-site-pro", 3)] == [put[:3] for put in back.puts]


def test_an_item_is_replaced_where_it_stands(source: Table, state: list[Stored]) -> None:
    edited = changed(source, "features", 0, "displayName", value="SSO")
    publish = plan_publish(state, catalog_of(edited))
    assert [("feature", "feature-sso", 1)] == [put[:3] for put in publish.puts]
    assert [("changed", (("displayName", "Single sign-on", "SSO"),))] == [
        (change.action, change.fields) for change in publish.changes
    ]


def test_a_package_that_vanishes_is_archived_once(source: Table, state: list[Stored]) -> None:
    edited = changed(source, "plans", SITE, value=None)
    publish = plan_publish(state, catalog_of(edited))
    plan = package(publish, "plan-site-pro").plan
    assert isinstance(plan, Plan)
    assert "ARCHIVED" == plan.status
    assert [("removed", 2, (("status", "PUBLISHED", "ARCHIVED"),))] == [
        (change.action, change.version, change.fields) for change in publish.changes
    ]
    state = applied(state, publish)
    assert [] == plan_publish(state, catalog_of(edited)).puts
    assert [("plan", "plan-site-pro", 3)] == [put[:3] for put in plan_publish(state, catalog_of(source)).puts]


def test_what_a_stored_version_refers_to_stays(source: Table, state: list[Stored]) -> None:
    """Subscriptions may still be on the version that gives the feature."""
    edited = changed(source, "plans", SITE, value=None)
    edited = changed(edited, "products", 1, value=None)
    edited = changed(edited, "plans", GROWTH, "entitlements", 4, value=None)
    edited = changed(edited, "features", 5, value=None)
    edited = changed(edited, "experiments", 0, value=None)
    publish = plan_publish(state, catalog_of(edited))
    assert [("experiment", "should-we-use-trial")] == publish.removed
    again = plan_publish(applied(state, publish), catalog_of(edited))
    assert ([], [], []) == (again.puts, again.removed, again.changes)


def test_a_coupon_that_vanishes_is_archived(source: Table, state: list[Stored]) -> None:
    """Customers who have it keep it, and it cannot come back with another value."""
    edited = changed(changed(source, "promotionCodes", value=None), "coupons", 0, value=None)
    publish = plan_publish(state, catalog_of(edited))
    assert [("promotionCode", "STIGG50")] == publish.removed
    assert [("coupon", "coupon-launch", 1)] == [put[:3] for put in publish.puts]
    state = applied(state, publish)
    back = changed(source, "coupons", 0, "percentOff", value=60)
    assert ["coupons[coupon-launch].percentOff"] == [
        problem.path for problem in plan_publish(state, catalog_of(back)).problems
    ]


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("features", 3, "meterType"), "Incremental", "features[feature-seats].meterType"),
        (("features", 6, "scale"), 3, "features[feature-storage].scale"),
        (("creditCurrencies", 0, "scale"), 2, "creditCurrencies[currency-ai-credits].scale"),
        (("coupons", 0, "percentOff"), 40, "coupons[coupon-launch].percentOff"),
        (("products", 0, "multipleSubscriptions"), True, "products[product-revvenu].multipleSubscriptions"),
    ],
)
def test_what_never_changes_is_a_problem(
    source: Table, state: list[Stored], path: tuple[Any, ...], value: Any, where: str
) -> None:
    publish = plan_publish(state, catalog_of(changed(source, *path, value=value)), file="catalog.toml")
    assert [("catalog.toml", where)] == [(problem.file, problem.path) for problem in publish.problems]
    assert "since it was first applied" in publish.problems[0].message


def test_differences_tell_a_changed_order_from_changed_entries(source: Table) -> None:
    first = catalog_of(source).plans[SITE]
    two = [{"featureId": "feature-sso"}, {"featureId": "feature-seats", "isUnlimited": True}]
    here = catalog_of(changed(source, "plans", SITE, "entitlements", value=two)).plans[SITE]
    there = catalog_of(changed(source, "plans", SITE, "entitlements", value=two[::-1])).plans[SITE]
    assert () == differences(first, first)
    assert (("entitlements", ["feature-sso", "feature-seats"], ["feature-seats", "feature-sso"]),) == (
        differences(here, there)
    )


@given(catalogs())
@settings(max_examples=60, deadline=None)
def test_publishing_what_is_stored_changes_nothing(source: Table) -> None:
    catalog = load(source).catalog
    again = plan_publish(stored_of(catalog), catalog)
    assert Publish(puts=[], removed=[], changes=[], problems=[]) == again


@given(catalogs(), catalogs())
@settings(max_examples=60, deadline=None)
def test_any_catalog_can_follow_any_other(first: Table, second: Table) -> None:
    """After the second is applied it is what is stored; published versions stay as they were."""
    before = stored_of(load(first).catalog)
    catalog = load(second).catalog
    publish = plan_publish(before, catalog)
    after = applied(before, publish)
    assert {row for row in before if row[0] in {"plan", "addon"}} <= set(after)
    again = plan_publish(after, catalog)
    assert ([], [], []) == (again.puts, again.removed, again.changes)
