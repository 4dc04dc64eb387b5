"""Hostile arguments to every public call: a typed error or a denial, never an exception from inside.

Whatever a call says, it leaves the client and its data as they were for everybody else.
"""

import json
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stigg_local import Entitlement, Stigg, StiggError
from stigg_local.errors import InvalidInput
from tests.shell.clients import CATALOG, FALLBACKS, GETTERS, ask

# The call's own depth and time budget must not depend on these.
MEGABYTE = "x" * 1_000_000

NUMBERS: list[Any] = [
    float("nan"),
    float("inf"),
    float("-inf"),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal("1e400"),
    Decimal("1e-400"),
    Decimal("1E+999999"),
    10**400,
    -(10**400),
    10**5000,
    -1,
    -0.5,
    1e308,
    5e-324,
    2**63,
    -(2**63),
    True,
    False,
    "1",
    "",
    b"1",
    None,
    [1],
    {"value": 1},
    1j,
    object(),
    float,
]
IDS: list[Any] = [
    "",
    " ",
    "nobody",
    MEGABYTE,
    "\0",
    "a\0b",
    "a\nb",
    "\ud800",
    "customer-1\u202e",
    "\u200bcustomer-1",
    "\u0441ustomer-1",
    "customer\u20111",
    "café",
    "cafe\u0301",
    "'; DROP TABLE customer; --",
    "../../etc/passwd",
    "%s%n",
    "🦊" * 80,
    "🦊" * 300,
    None,
    0,
    1,
    -1,
    1.5,
    True,
    float("nan"),
    b"customer-1",
    ["customer-1"],
    ("customer-1",),
    {"id": "customer-1"},
    {"customer-1"},
    object(),
    str,
]


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def deep_mapping(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"feature": value}
    return value


class Strange:
    """Something whose every look is an unpleasant surprise."""

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no items")


SHAPES: list[Any] = [
    *NUMBERS[:6],
    *IDS[:9],
    5,
    "text",
    b"bytes",
    [],
    {},
    set(),
    (1, 2),
    [None],
    [[]],
    [{}],
    [{"nothing": 1}],
    [{1: 2}],
    {1: 2},
    {"hasAccess": "yes"},
    {"hasAccess": True, "usageLimit": float("nan")},
    {"hasAccess": True, "usageLimit": 10**400},
    {"hasAccess": True, "usageLimit": Decimal("sNaN")},
    {"hasAccess": True, "enumValues": "eu"},
    {"hasAccess": True, "enumValues": [1]},
    {"plan_id": None},
    {"plan_id": "plan-app", "addons": [{"addon_id": "x", "quantity": 10**400}]},
    {"plan_id": "plan-app", "nothing": 1},
    {"planId": "plan-app", "billableFeatures": deep(50)},
    [{"feature_id": "feature-calls", "usage_limit": float("nan")}],
    [{"feature_id": "feature-calls", "usage_limit": 10**400}],
    [{"feature_id": "feature-calls", "usage_limit": "5"}],
    [{"feature_id": "feature-calls", "period": 5}],
    [{"feature_id": "feature-calls", "period": "CUSTOM", "custom_end_date": "soon"}],
    [{"feature_id": "feature-regions", "enum_values": 5}],
    [{"feature_id": "feature-regions", "enum_values": [["eu"]]}],
    [{"feature_id": "feature-regions", "enum_values": "eu"}],
    [{"feature_id": MEGABYTE}],
    [{"feature": {"feature_id": "feature-calls", "usage_limit": float("inf")}}],
    [{"credit": {"custom_currency_id": "currency-ai", "amount": float("nan"), "cadence": "MONTH"}}],
    [{"credit": {"custom_currency_id": "currency-ai", "amount": 1, "cadence": []}}],
    [{"credit": 5}, {"feature": "x"}],
    [{"addon_id": ["x"], "quantity": float("nan")}],
    [{"feature_id": "feature-calls", "quantity": float("inf")}],
    {"amount": float("nan"), "currency": "USD"},
    {"amount": 5},
    {"key": float("nan")},
    {"key": object()},
    {"key": "\ud800"},
    {"key": 10**400},
    {MEGABYTE: MEGABYTE},
    {"\ud800": 1},
    deep(900),
    deep_mapping(900),
    "2025-13-45T00:00:00Z",
    "2025-01-01T00:00:00",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00",
    MEGABYTE,
    iter([1]),
    range(10**9),
    lambda: None,
    Strange,
]

# Call -> its arguments: a good value, and what kind of bad ones there are.
CALLS: dict[str, dict[str, tuple[Any, list[Any]]]] = {
    "get_entitlement": {
        "customer_id": ("customer-1", IDS),
        "feature_id": ("feature-calls", IDS),
        "resource_id": (None, IDS),
        "requested_usage": (1, NUMBERS),
        "requested_values": ((), SHAPES),
        "dimensions": (None, SHAPES),
        "fallback": (None, SHAPES),
    },
    **{
        f"get_{kind}_entitlement": {
            "customer_id": ("customer-1", IDS),
            "feature_id": (feature, IDS),
            "resource_id": (None, IDS),
            "fallback": (None, SHAPES),
        }
        for feature, kind in GETTERS.items()
    },
    "get_credit_entitlement": {
        "customer_id": ("customer-1", IDS),
        "currency_id": ("currency-ai", IDS),
        "resource_id": (None, IDS),
        "requested_usage": (1, NUMBERS),
        "fallback": (None, SHAPES),
    },
    "get_entitlements": {"customer_id": ("customer-1", IDS), "resource_id": (None, IDS)},
    "get_entitlements_state": {"customer_id": ("customer-1", IDS), "resource_id": (None, IDS)},
    "reload_entitlements": {"customer_id": ("customer-1", IDS), "resource_id": (None, IDS)},
    "provision_customer": {
        "customer_id": ("customer-1", IDS),
        "name": (None, SHAPES),
        "email": (None, SHAPES),
        "coupon_id": (None, SHAPES),
        "subscription_params": (None, SHAPES),
        "metadata": (None, SHAPES),
        "idempotency_key": (None, IDS),
    },
    "provision_subscription": {
        "customer_id": ("customer-1", IDS),
        "plan_id": ("plan-app", IDS),
        "billing_period": (None, SHAPES),
        "resource_id": (None, IDS),
        "billable_features": ((), SHAPES),
        "addons": ((), SHAPES),
        "entitlements": ((), SHAPES),
        "billing_country_code": (None, SHAPES),
        "metadata": (None, SHAPES),
        "billing_cycle_anchor": ("UNCHANGED", SHAPES),
        "skip_trial": (False, SHAPES),
        "idempotency_key": (None, IDS),
    },
    "grant_promotional_entitlements": {
        "customer_id": ("customer-1", IDS),
        "entitlements": ([{"feature_id": "feature-sso"}], SHAPES),
        "idempotency_key": (None, IDS),
    },
    "grant_credits": {
        "customer_id": ("customer-1", IDS),
        "currency_id": ("currency-ai", IDS),
        "amount": (1, NUMBERS),
        "grant_type": ("PROMOTIONAL", SHAPES),
        "priority": (0, NUMBERS),
        "effective_at": (None, SHAPES),
        "expire_at": (None, SHAPES),
        "cost": (None, [*SHAPES, *NUMBERS]),
        "resource_id": (None, IDS),
        "idempotency_key": (None, IDS),
    },
    "report_usage": {
        "customer_id": ("customer-1", IDS),
        "feature_id": ("feature-calls", IDS),
        "value": (1, NUMBERS),
        "resource_id": (None, IDS),
        "update_behavior": ("DELTA", SHAPES),
        "created_at": (None, SHAPES),
        "dimensions": (None, SHAPES),
        "durability": (None, SHAPES),
        "idempotency_key": (None, IDS),
    },
    "add_listener": {"event": ("usageUpdated", [*IDS, *SHAPES]), "listener": (5, SHAPES)},
    "remove_listener": {"event": ("usageUpdated", [*IDS, *SHAPES]), "listener": (print, SHAPES)},
    "wait_for_initialization": {"timeout": (1, NUMBERS)},
}
# The last of a kind's features names its getter; what else the getter takes.
CALLS["get_metered_entitlement"]["requested_usage"] = (1, NUMBERS)
CALLS["get_enum_entitlement"]["requested_values"] = ((), SHAPES)

CATALOG_CALLS = ("apply", "diff", "validate")
CATALOGS: list[Any] = [
    *(item for item in [*IDS, *SHAPES] if item is not None),
    {"schema": 1, "features": deep(900)},
    {"schema": 10**400},
    {"schema": float("nan")},
    {"schema": 1, "features": [{"id": "x" * 300, "featureType": "Boolean"}]},
    {"schema": 1, "features": [{"id": "\ud800", "featureType": "Boolean"}]},
    {"schema": 1, "features": [{"id": "x", "featureType": "Numeric", "meterType": "Incremental", "scale": 10**400}]},
    {
        "schema": 1,
        "plans": [{"id": "p", "productId": "q", "entitlements": [{"featureId": "x", "usageLimit": float("nan")}]}],
    },
    {"schema": 1, "creditCurrencies": [{"id": "x", "displayName": MEGABYTE}]},
    {"schema": 1, 5: 6},
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stigg]:
    data_dir = tmp_path_factory.mktemp("hostile") / "stigg"
    with Stigg(catalog=CATALOG, data_dir=data_dir) as found:
        for number in (1, 2, 3):
            found.provision_customer(f"customer-{number}", subscription_params={"plan_id": "plan-app"})
        yield found


@pytest.fixture(scope="module")
def offline() -> Iterator[Stigg]:
    with Stigg(offline=True, **FALLBACKS) as found:
        yield found


def readable(error: StiggError) -> StiggError:
    """The error, when logs, terminals and JSON can take it."""
    assert len(str(error)) < 2000, "a message repeats the whole input"
    str(error).encode()
    json.dumps(error.to_dict())
    repr(error)
    return error


def call(client: Stigg, name: str, arguments: dict[str, Any]) -> Any:
    """Call a method; returns the error, or the answer after looking at it from every side."""
    try:
        answer = getattr(client, name)(**arguments)
    except StiggError as error:
        return readable(error)
    for one in answer if isinstance(answer, list) else [answer]:
        if hasattr(one, "to_dict"):
            json.dumps(one.to_dict())
        if hasattr(one, "to_json"):
            json.loads(one.to_json())
    return answer


@pytest.mark.parametrize("name", CALLS)
def test_one_bad_argument_is_a_typed_error_or_a_denial(name: str, client: Stigg, offline: Stigg) -> None:
    good = {argument: value for argument, (value, _) in CALLS[name].items()}
    for argument, (_, bad) in CALLS[name].items():
        for value in bad:
            for one in (client, offline):
                try:
                    call(one, name, good | {argument: value})
                except Exception as error:
                    error.add_note(f"{name}({argument}={repr(value)[:80]})")
                    raise


@pytest.mark.parametrize("name", CATALOG_CALLS)
def test_a_bad_catalog_is_a_typed_error(name: str, client: Stigg) -> None:
    for catalog in CATALOGS:
        try:
            answer = call(client.catalog, name, {"catalog": catalog})  # type: ignore[arg-type]
        except Exception as error:
            error.add_note(f"catalog.{name}({repr(catalog)[:80]})")
            raise
        if name == "validate":
            assert answer


CONSTRUCTOR: dict[str, list[Any]] = {
    "catalog": CATALOGS,
    "data_dir": [*IDS[3:6], IDS[7], *IDS[20:]],
    "api_key": [5, b"x", []],
    "environment": IDS,
    "entitlements_fallback": [item for item in SHAPES if item not in (None, {})],
    "credit_entitlements_fallback": [item for item in SHAPES if item not in (None, {})],
    "fallback_file": [*IDS[:10], *IDS[20:]],
    "durability": SHAPES,
    "memory_limit_bytes": [*NUMBERS[:9], *IDS[:4], b"x", []],
}


@pytest.mark.parametrize("argument", CONSTRUCTOR)
def test_a_bad_constructor_argument_is_a_typed_error(
    argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for value in CONSTRUCTOR[argument]:
        for base in ({"offline": True}, {"catalog": CATALOG}):
            try:
                Stigg(**(base | {argument: value})).close()
            except StiggError as error:
                readable(error)
            except Exception as error:
                error.add_note(f"Stigg({argument}={repr(value)[:80]})")
                raise


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.decimals(),
        st.text(max_size=20),
        st.text(alphabet=st.characters(categories=["Cs", "Cc", "Cf", "Co"]), max_size=5),
        st.binary(max_size=5),
        st.datetimes(),
        st.sampled_from([10**400, MEGABYTE, "customer-1", "feature-calls", "plan-app", "eu", "ONE_MONTH"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["feature_id", "featureId", "usage_limit", "plan_id", "period", "quantity", "hasAccess", "x"]
            ),
            inner,
            max_size=4,
        ),
        st.dictionaries(st.one_of(st.integers(), st.text(max_size=3)), inner, max_size=2),
    ),
    max_leaves=8,
)


def relaxed(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )


def fuzz(client: Stigg, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CALLS)))
    arguments = {}
    for argument, (good, bad) in CALLS[name].items():
        # Mostly good, so that calls come far enough in to break.
        arguments[argument] = data.draw(st.one_of(st.just(good), st.just(good), anything, st.sampled_from(bad)))
    if name == "add_listener":
        arguments["listener"] = None
    call(client, name, arguments)


@relaxed(400)
@given(data=st.data())
def test_any_arguments_are_a_typed_error_or_an_answer(client: Stigg, data: st.DataObject) -> None:
    fuzz(client, data)


@pytest.mark.stress
@pytest.mark.timeout(600)
@relaxed(15_000)
@given(data=st.data())
def test_any_arguments_at_length_are_a_typed_error_or_an_answer(client: Stigg, data: st.DataObject) -> None:
    fuzz(client, data)


# ---------------------------------------------------------------------- what they must not do


def test_hostile_calls_change_nothing_for_others(tmp_path: Path) -> None:
    with Stigg(catalog=CATALOG, data_dir=tmp_path) as client:
        client.provision_customer("customer-2", subscription_params={"plan_id": "plan-app"})
        before = ask(client)
        for value in NUMBERS:
            for name, argument in (("report_usage", "value"), ("grant_credits", "amount")):
                good = {key: item for key, (item, _) in CALLS[name].items()} | {"customer_id": "customer-2"}
                if name == "report_usage" and type(value) in (int, float) and value in (-1, -0.5):
                    # A correction downwards is no attack.
                    continue
                assert isinstance(call(client, name, good | {argument: value}), StiggError), repr(value)[:60]
        for value in IDS:
            if isinstance(value, str) and value.isprintable() and 0 < len(value) <= 255:
                continue
            error = call(client, "provision_customer", {"customer_id": value})
            assert isinstance(error, InvalidInput), repr(value)[:60]
        assert before == ask(client)


def test_look_alikes_are_different_customers(tmp_path: Path) -> None:
    ids = [
        "café",
        "cafe\u0301",
        "customer-1",
        "\u0441ustomer-1",
        "Customer-1",
        "'; DROP TABLE customer; --",
        "../x",
        "🦊",
    ]
    with Stigg(catalog=CATALOG, data_dir=tmp_path / "stigg") as client:
        for number, customer_id in enumerate(ids, start=1):
            client.provision_customer(customer_id, subscription_params={"plan_id": "plan-endless"})
            client.report_usage(customer_id, "feature-calls", number)
    with Stigg(data_dir=tmp_path / "stigg") as client:
        found = [client.get_metered_entitlement(customer_id, "feature-calls").current_usage for customer_id in ids]
        assert list(range(1, len(ids) + 1)) == found
    assert ["stigg"] == [path.name for path in tmp_path.iterdir()]


def test_huge_ids_do_not_stay_in_memory(client: Stigg) -> None:
    for number in range(50):
        huge = f"{MEGABYTE}{number}"
        assert not client.get_boolean_entitlement(huge, "feature-sso").has_access
        assert not client.get_metered_entitlement("customer-1", "feature-calls", huge).has_access
        client.get_boolean_entitlement("customer-1", huge)
    assert client._embedded is not None
    assert not any(len(customer_id) > 255 for customer_id in client._embedded.replica.memo)
    held: Any = client._embedded.replica.memo["customer-1"]
    assert not any(len(resource_id) > 255 for resource_id in held[3])
    assert sum(len(item) for item in client._embedded._warned) < 1_000_000


REFUSED: dict[str, Callable[[Stigg], Entitlement]] = {
    "nan": lambda client: client.get_metered_entitlement("customer-2", "feature-calls", requested_usage=float("nan")),
    "inf": lambda client: client.get_metered_entitlement("customer-2", "feature-calls", requested_usage=float("inf")),
    "negative": lambda client: client.get_credit_entitlement("customer-2", "currency-ai", requested_usage=-1),
    "text": lambda client: client.get_entitlement("customer-2", "feature-calls", requested_usage="1"),
    "signalling": lambda client: client.get_metered_entitlement(
        "customer-2", "feature-calls", requested_usage=Decimal("sNaN")
    ),
    "id": lambda client: client.get_boolean_entitlement(5, "feature-sso"),  # type: ignore[arg-type]
    "values": lambda client: client.get_enum_entitlement("customer-2", "feature-regions", requested_values="eu"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_request_that_is_no_request_is_refused_warm_and_cold(what: str, client: Stigg, offline: Stigg) -> None:
    for one in (client, offline):
        one.reload_entitlements("customer-2")
        for _ in range(2):
            with pytest.raises(InvalidInput):
                REFUSED[what](one)
            # A good question in between, so that the second try meets a warm memory.
            for feature in GETTERS:
                one.get_entitlement("customer-2", feature)
            one.get_credit_entitlement("customer-2", "currency-ai")


def test_a_huge_request_is_a_denial(client: Stigg) -> None:
    for value in (10**400, 2**63, Decimal("1e400"), 1e308, sys.maxsize):
        for _ in range(2):
            answer = client.get_metered_entitlement("customer-2", "feature-calls", requested_usage=value)
            assert (False, "RequestedUsageExceedsLimit") == (answer.has_access, answer.access_denied_reason)
