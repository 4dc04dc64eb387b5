"""The client's life: opening, closing, sharing, listening, waiting, going offline, following its catalog."""

import asyncio
import gc
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stigg_local import (
    BooleanEntitlement,
    CatalogInvalid,
    ClientClosed,
    InvalidInput,
    NotAvailableOffline,
    NotFound,
    Stigg,
    StiggError,
)
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, FALLBACKS, NOON, client_of

Call = Callable[[Stigg], object]

READS: dict[str, Call] = {
    "get_entitlement": lambda client: client.get_entitlement("customer-1", "feature-sso"),
    "get_boolean_entitlement": lambda client: client.get_boolean_entitlement("customer-1", "feature-sso"),
    "get_numeric_entitlement": lambda client: client.get_numeric_entitlement("customer-1", "feature-retention"),
    "get_metered_entitlement": lambda client: client.get_metered_entitlement("customer-1", "feature-calls"),
    "get_enum_entitlement": lambda client: client.get_enum_entitlement("customer-1", "feature-regions"),
    "get_credit_entitlement": lambda client: client.get_credit_entitlement("customer-1", "currency-ai"),
    "get_entitlements": lambda client: client.get_entitlements("customer-1"),
    "get_entitlements_state": lambda client: client.get_entitlements_state("customer-1"),
}
QUIET: dict[str, Call] = {
    "report_usage": lambda client: client.report_usage("customer-1", "feature-calls", 1),
    "reload_entitlements": lambda client: client.reload_entitlements("customer-1"),
    "add_listener": lambda client: client.add_listener("usageUpdated", print),
    "wait_for_initialization": lambda client: client.wait_for_initialization(timeout=1),
    "preload": lambda client: client.preload(),
}
WRITES: dict[str, Call] = {
    "provision_customer": lambda client: client.provision_customer("customer-1"),
    "provision_subscription": lambda client: client.provision_subscription("customer-1", "plan-app"),
    "grant_promotional_entitlements": lambda client: client.grant_promotional_entitlements(
        "customer-1", [{"feature_id": "feature-sso"}]
    ),
    "grant_credits": lambda client: client.grant_credits("customer-1", "currency-ai", 1),
    "catalog.apply": lambda client: client.catalog.apply(CATALOG),
    "catalog.diff": lambda client: client.catalog.diff(CATALOG),
    "catalog.show": lambda client: client.catalog.show(),
    "tick": lambda client: client.tick(),
}
SIMPLE = {"plan_id": "plan-app"}


def opened(data_dir: Path, **arguments: Any) -> Stigg:
    client = Stigg(catalog=CATALOG, data_dir=data_dir, **arguments)
    client.provision_customer("customer-1", subscription_params=SIMPLE)
    return client


# ---------------------------------------------------------------------- opening and closing


def test_a_client_reopens_what_it_stored(data_dir: Path) -> None:
    with opened(data_dir) as client:
        client.report_usage("customer-1", "feature-calls", 3)
        before = client.get_entitlements_state("customer-1", include_credits=True).to_dict()
    with Stigg(data_dir=data_dir) as client:
        assert before == client.get_entitlements_state("customer-1", include_credits=True).to_dict()


def test_closing_again_does_nothing(data_dir: Path) -> None:
    client = opened(data_dir)
    client.close()
    client.close()
    assert "CLOSED" == client.status().state
    assert "closed" in repr(client)


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize("name", READS | QUIET | WRITES)
def test_every_call_after_closing_says_so(name: str, offline: bool, data_dir: Path) -> None:
    client = Stigg(offline=True) if offline else opened(data_dir)
    # A warm memo must not answer for a closed client.
    for read in READS.values():
        read(client)
    client.close()
    with pytest.raises(ClientClosed):
        (READS | QUIET | WRITES)[name](client)
    client.remove_listener("usageUpdated", print)


def test_leaving_the_context_closes_also_after_an_exception(data_dir: Path) -> None:
    with pytest.raises(RuntimeError, match="mine"), opened(data_dir) as client:
        raise RuntimeError("mine")
    with pytest.raises(ClientClosed), client:
        pass


def test_initialize_is_the_constructor(data_dir: Path) -> None:
    with Stigg.initialize(catalog=CATALOG, data_dir=data_dir) as client:
        assert isinstance(client, Stigg)
        assert client is client.wait_for_initialization(timeout=0)


def test_two_clients_of_a_process_share_one_directory(data_dir: Path) -> None:
    first = opened(data_dir)
    second = Stigg(data_dir=data_dir)
    first.report_usage("customer-1", "feature-calls", 1)
    assert 1 == second.get_metered_entitlement("customer-1", "feature-calls").current_usage
    second.report_usage("customer-1", "feature-calls", 1)
    assert 2 == first.get_metered_entitlement("customer-1", "feature-calls").current_usage
    first.close()
    second.report_usage("customer-1", "feature-calls", 1)
    assert 3 == second.get_metered_entitlement("customer-1", "feature-calls").current_usage
    second.close()


def test_opening_and_closing_many_times_leaves_nothing_behind(data_dir: Path) -> None:
    opened(data_dir).close()
    for _ in range(3):
        Stigg(data_dir=data_dir).close()
    gc.collect()
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(60):
        Stigg(data_dir=data_dir).close()
    # A mapping lives as long as whoever looks into it, which a closed client's parts do until they are collected.
    gc.collect()
    assert threads == threading.active_count()
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_a_client_without_a_directory_removes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client = Stigg(catalog=CATALOG)
    assert 1 == len(list(tmp_path.iterdir()))
    client.close()
    assert [] == list(tmp_path.iterdir())


def test_files_are_for_the_owner_alone(data_dir: Path) -> None:
    with opened(data_dir):
        assert 0o700 == data_dir.stat().st_mode & 0o777
        assert {0o600} == {path.stat().st_mode & 0o777 for path in data_dir.iterdir()}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"offline": True, "catalog": CATALOG},
        {"catalog": CATALOG, "durability": "memory"},
        {"catalog": CATALOG, "memory_limit_bytes": 5},
        {"catalog": CATALOG, "api_key": 5},
        {"offline": True, "entitlements_fallback": {"feature-sso": {"hasAcess": True}}},
        {"offline": True, "entitlements_fallback": [1]},
        {"catalog": CATALOG, "environment": ""},
        {"catalog": CATALOG, "environment": "a\nb"},
        {"catalog": CATALOG, "environment": 5},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(InvalidInput):
        Stigg(**arguments)
    assert [] == list(tmp_path.iterdir())


def test_a_directory_without_a_catalog_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no catalog"):
        Stigg(data_dir=tmp_path / "new")
    assert [] == list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StiggError):
        Stigg(catalog=CATALOG, data_dir=tmp_path / "file" / "below")
    with pytest.raises(StiggError):
        Stigg(catalog=CATALOG, data_dir=tmp_path / "file")


# ---------------------------------------------------------------------- environments and catalogs


def test_another_environment_is_refused(data_dir: Path) -> None:
    with Stigg(catalog=CATALOG | {"environment": "staging"}, data_dir=data_dir) as client:
        assert "staging" == client.status().environment
    for arguments in (
        {"environment": "production"},
        {"catalog": CATALOG | {"environment": "production"}},
        {"catalog": CATALOG | {"environment": "production"}, "environment": "staging"},
    ):
        with pytest.raises(InvalidInput, match="environment"):
            Stigg(data_dir=data_dir, **arguments)
    with Stigg(data_dir=data_dir, environment="staging") as client:
        assert "feature-sso" in str(client.catalog.show())
        with pytest.raises(InvalidInput, match="environment"):
            client.catalog.apply(CATALOG | {"environment": "production"})


def changed(limit: int) -> dict[str, Any]:
    catalog: dict[str, Any] = json.loads(json.dumps(CATALOG))
    catalog["plans"][1]["entitlements"][0]["usageLimit"] = limit
    return catalog


def limit_of_new_customer(client: Stigg, customer_id: str) -> object:
    client.provision_customer(customer_id, subscription_params={"plan_id": "plan-small"})
    return client.get_metered_entitlement(customer_id, "feature-calls").usage_limit


def test_a_rolling_deploy_does_not_fight(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Old and new processes restart in any order; the newest catalog wins once and for all."""
    with Stigg(catalog=CATALOG, data_dir=data_dir) as old:
        assert 2 == limit_of_new_customer(old, "customer-1")
        with Stigg(catalog=changed(5), data_dir=data_dir) as new:
            assert 5 == limit_of_new_customer(new, "customer-2")
            assert 5 == limit_of_new_customer(old, "customer-3")
            assert 2 == new.get_metered_entitlement("customer-1", "feature-calls").usage_limit
        assert [] == caplog.records
        with Stigg(catalog=CATALOG, data_dir=data_dir) as restarted:
            assert 5 == limit_of_new_customer(restarted, "customer-4")
        assert ["an older catalog was ignored"] == [record.msg.split(":")[0] for record in caplog.records]
        # Going back is said in so many words.
        assert old.catalog.apply(CATALOG).changes
        assert 2 == limit_of_new_customer(old, "customer-5")
        assert () == old.catalog.apply(CATALOG).changes


def test_the_same_catalog_as_file_and_mapping_is_applied_once(data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(CATALOG))
    with Stigg(catalog=path, data_dir=data_dir) as client:
        version = client.status().version
    for _ in range(2):
        with Stigg(catalog=path, data_dir=data_dir) as client:
            assert version == client.status().version


@pytest.mark.parametrize("broken", [{"schema": 1}, {"schema": 2}, {}, "missing.toml"], ids=str)
def test_a_bad_catalog_leaves_no_directory_behind(broken: Any, tmp_path: Path) -> None:
    catalog = CATALOG | {"plans": [{"id": "x"}]} if broken == {"schema": 1} else broken
    if isinstance(catalog, str):
        catalog = tmp_path / catalog
    with pytest.raises(InvalidInput):
        Stigg(catalog=catalog, data_dir=tmp_path / "new")
    assert [] == list(tmp_path.iterdir())


def test_a_bad_catalog_changes_nothing_that_is_stored(data_dir: Path) -> None:
    with opened(data_dir) as client:
        before = client.catalog.show()
        with pytest.raises(CatalogInvalid) as caught:
            client.catalog.apply(CATALOG | {"features": [{"id": "feature-sso", "featureType": "Enum"}]})
        assert caught.value.problems
        assert before == client.catalog.show()


# ---------------------------------------------------------------------- offline


@pytest.mark.parametrize("name", READS)
def test_reads_are_answered_offline_from_fallback_values(name: str) -> None:
    with Stigg(offline=True, api_key="any", **FALLBACKS) as client:
        answer: Any = READS[name](client)
        for one in answer if isinstance(answer, list) else getattr(answer, "entitlements", [answer]):
            assert one.has_access
            assert one.is_fallback


@pytest.mark.parametrize("name", READS)
def test_reads_are_denied_offline_without_fallback_values(name: str) -> None:
    with Stigg(offline=True) as client:
        answer: Any = READS[name](client)
        if name == "get_entitlements":
            assert [] == answer
        elif name == "get_entitlements_state":
            assert ((), "Unknown") == (answer.entitlements, answer.access_denied_reason)
        else:
            assert (False, True, "Unknown") == (answer.has_access, answer.is_fallback, answer.access_denied_reason)


@pytest.mark.parametrize("name", QUIET)
def test_quiet_calls_succeed_offline(name: str) -> None:
    with Stigg(offline=True) as client:
        QUIET[name](client)
        assert "OFFLINE" == client.status().state


@pytest.mark.parametrize("name", WRITES)
def test_everything_else_is_not_available_offline(name: str) -> None:
    with Stigg(offline=True) as client, pytest.raises(NotAvailableOffline):
        WRITES[name](client)


def test_offline_nothing_is_written(tmp_path: Path) -> None:
    with Stigg(offline=True, data_dir=tmp_path / "data") as client:
        client.report_usage("customer-1", "feature-calls", 1)
        with pytest.raises(InvalidInput):
            client.report_usage("customer-1", "feature-calls", float("nan"))
    assert [] == list(tmp_path.iterdir())


def test_a_fallback_per_call_is_used_only_where_nothing_else_answers(data_dir: Path) -> None:
    grant = {"has_access": True}
    with opened(data_dir) as client:
        assert not client.get_boolean_entitlement("customer-1", "feature-audit", fallback=grant).has_access
        assert not client.get_boolean_entitlement("nobody", "feature-sso", fallback=grant).has_access
        unknown = client.get_boolean_entitlement("customer-1", "feature-none", fallback=grant)
        assert (True, True, "FeatureNotFound") == (
            unknown.has_access,
            unknown.is_fallback,
            unknown.access_denied_reason,
        )
        mismatch = client.get_boolean_entitlement("customer-1", "feature-calls", fallback=grant)
        assert (True, "FeatureTypeMismatch") == (mismatch.has_access, mismatch.access_denied_reason)
        with pytest.raises(InvalidInput, match="fallback"):
            client.get_boolean_entitlement("customer-1", "feature-none", fallback={"hasAcess": True})


# ---------------------------------------------------------------------- listeners


def test_listeners_hear_of_every_change(data_dir: Path) -> None:
    heard: list[Any] = []
    with opened(data_dir) as client:
        client.add_listener("entitlementsUpdated", heard.append)
        client.add_listener("usageUpdated", heard.append)
        client.provision_customer("customer-2", subscription_params={"plan_id": "plan-small"})
        client.report_usage("customer-2", "feature-calls", 2)
        client.grant_credits("customer-2", "currency-ai", 5)
        client.grant_promotional_entitlements("customer-2", [{"feature_id": "feature-sso"}])
        client.remove_listener("entitlementsUpdated", heard.append)
        client.provision_customer("customer-3")
    first, used, _, last = heard
    assert ("customer-2", ["feature-calls"]) == (
        first.customer_id,
        [entitlement.feature.id for entitlement in first.entitlements],
    )
    assert (2, 2, 2) == (used.usage, used.entitlement.current_usage, used.entitlement.usage_limit)
    assert any(isinstance(entitlement, BooleanEntitlement) for entitlement in last.entitlements)


def test_a_listener_that_fails_is_logged_once_and_stops_nothing(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    def fail(event: Any) -> None:
        raise RuntimeError("mine")

    with opened(data_dir) as client:
        client.add_listener("usageUpdated", fail)
        client.add_listener("usageUpdated", heard.append)
        for value in (1, 2, 3):
            result = client.report_usage("customer-1", "feature-calls", value)
            assert result is not None
    assert [1, 3, 6] == [event.usage for event in heard]
    assert 1 == len([record for record in caplog.records if "listener" in record.msg])


def test_a_listener_may_call_the_client_and_take_itself_away(data_dir: Path) -> None:
    heard: list[Any] = []
    with opened(data_dir) as client:

        def once(event: Any) -> None:
            heard.append(client.get_metered_entitlement("customer-1", "feature-calls").current_usage)
            client.remove_listener("usageUpdated", once)
            client.report_usage("customer-1", "feature-calls", 1)

        client.add_listener("usageUpdated", once)
        client.report_usage("customer-1", "feature-calls", 1)
        client.report_usage("customer-1", "feature-calls", 1)
        assert 3 == client.get_metered_entitlement("customer-1", "feature-calls").current_usage
    assert [1] == heard


def test_a_list_of_fallbacks_has_credits_on_demand_and_the_file_first(tmp_path: Path) -> None:
    file = tmp_path / "fallback.toml"
    file.write_text("schema = 1\n[features.feature-calls]\nhasAccess = true\nusageLimit = 7\n")
    with Stigg(offline=True, fallback_file=file, **FALLBACKS) as client:
        told = [item.to_dict() for item in client.get_entitlements("c")]
        limits = {item["feature"]["id"]: item["usageLimit"] for item in told}
        assert (7, 4242) == (limits["feature-calls"], limits["feature-seats"])
        assert len(limits) == len(client.get_entitlements("c"))
        assert len(limits) + 1 == len(client.get_entitlements("c", include_credits=True))


def test_a_listener_that_was_added_twice_is_taken_away_once(data_dir: Path) -> None:
    heard: list[Any] = []

    def hear(event: Any) -> None:
        heard.append(event.usage)

    with opened(data_dir) as client:
        for _ in range(2):
            client.add_listener("usageUpdated", hear)
        client.remove_listener("usageUpdated", hear)
        client.report_usage("customer-1", "feature-calls", 1)
        client.remove_listener("usageUpdated", hear)
        client.report_usage("customer-1", "feature-calls", 1)
    assert [1] == heard


def test_unknown_events_and_listeners_are_refused(data_dir: Path) -> None:
    with opened(data_dir) as client:
        with pytest.raises(InvalidInput, match="usageUpdate") as caught:
            client.add_listener("usageUpdate", print)
        assert caught.value.hint == "did you mean `usageUpdated`"
        with pytest.raises(InvalidInput):
            client.add_listener("usageUpdated", 5)  # type: ignore[arg-type]
        client.remove_listener("usageUpdated", print)


# ---------------------------------------------------------------------- the awaitable view


def test_the_awaitable_view_has_the_same_calls(data_dir: Path) -> None:
    async def run() -> None:
        client = Stigg(catalog=CATALOG, data_dir=data_dir)
        async with client.aio as view:
            await view.provision_customer("customer-1", subscription_params=SIMPLE)
            results = await asyncio.gather(*(view.report_usage("customer-1", "feature-calls", 1) for _ in range(20)))
            assert 20 == len({result.measurement_id for result in results})
            answer = await view.get_metered_entitlement("customer-1", "feature-calls")
            assert 20 == answer.current_usage
            with pytest.raises(NotFound):
                await view.report_usage("nobody", "feature-calls", 1)
            with pytest.raises(AttributeError):
                _ = view.get_nothing
        with pytest.raises(ClientClosed):
            await client.aio.get_metered_entitlement("customer-1", "feature-calls")

    asyncio.run(run())


def test_every_call_that_does_io_has_its_awaitable_twin(data_dir: Path) -> None:
    with opened(data_dir) as client:
        twins = dir(client.aio)
        for name in [*READS, *QUIET, *WRITES]:
            if "." not in name:
                assert name in twins
                assert callable(getattr(client.aio, name))


# ---------------------------------------------------------------------- status


def test_status_tells_where_and_how_the_state_is_kept(data_dir: Path) -> None:
    with opened(data_dir) as client:
        status = client.status()
        assert ("FRESH", "production", 0.0, 0, 0, None) == (
            status.state,
            status.environment,
            status.age,
            status.lag,
            status.outbox_depth,
            status.last_error,
        )
        assert status.storage is not None
        assert str(data_dir.resolve() / "authority.db") == status.storage["path"]
        before = status.version
        client.report_usage("customer-1", "feature-calls", 1)
        assert before != client.status().version
        assert json.loads(status.to_json()) == status.to_dict()


def test_status_offline_names_the_fallback_file(tmp_path: Path) -> None:
    path = tmp_path / "fallback.json"
    path.write_text(json.dumps({"schema": 1, "features": {"feature-sso": {"hasAccess": True}}}))
    with Stigg(offline=True, fallback_file=path) as client:
        status = client.status()
        assert ("OFFLINE", None, None, None) == (status.state, status.version, status.age, status.last_error)
        assert "fallback.json" in str(status.fallback_file)
        assert client.get_boolean_entitlement("customer-1", "feature-sso").has_access


def test_the_package_says_nothing_to_a_healthy_application(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with opened(data_dir) as client:
        client.report_usage("customer-1", "feature-calls", 1)
        client.get_boolean_entitlement("nobody", "feature-sso")
    assert [] == [record for record in caplog.records if record.name.startswith("stigg")]


# ---------------------------------------------------------------------- time


def promoted(data_dir: Path, clock: ManualClock) -> Stigg:
    client = Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock)
    client.provision_customer("customer-1", subscription_params=None)
    client.grant_promotional_entitlements(
        "customer-1",
        [{"feature_id": "feature-sso", "period": "CUSTOM", "custom_end_date": "2025-01-31T13:00:00Z"}],
    )
    return client


@pytest.mark.parametrize("back", ["2025-01-31T12:59:59Z", "2025-01-31T12:00:00Z", "2024-01-31T12:00:00Z"])
def test_winding_the_clock_back_revives_nothing(back: str, data_dir: Path) -> None:
    clock = ManualClock(NOON)
    client = promoted(data_dir, clock)
    assert client.get_boolean_entitlement("customer-1", "feature-sso").has_access
    clock.set("2025-01-31T13:00:00Z")
    assert not client.get_boolean_entitlement("customer-1", "feature-sso").has_access
    # Any write stores how late it is.
    client.provision_customer("customer-2")
    clock.jump(back)
    for _ in range(2):
        assert not client.get_boolean_entitlement("customer-1", "feature-sso").has_access
        client.reload_entitlements("customer-1")
    client.close()
    with client_of(data_dir, clock) as again:
        assert not again.get_boolean_entitlement("customer-1", "feature-sso").has_access


def test_a_jump_ahead_deletes_nothing_and_is_told(data_dir: Path) -> None:
    clock = ManualClock(NOON)
    client = promoted(data_dir, clock)
    clock.jump("2030-01-31T12:00:00Z")
    for _ in range(2):
        assert not client.get_boolean_entitlement("customer-1", "feature-sso").has_access
    assert client.status().clock_suspect
    client.provision_customer("customer-2")
    client.close()
    with client_of(data_dir, clock) as again:
        assert not again.get_boolean_entitlement("customer-1", "feature-sso").has_access
        assert again.status().clock_suspect
        clock.jump("2025-01-31T12:00:01Z")
        for _ in range(2):
            assert again.get_boolean_entitlement("customer-1", "feature-sso").has_access
        assert not again.status().clock_suspect


# ---------------------------------------------------------------------- files changed under a running client


def test_a_backup_put_in_place_under_a_running_client_is_followed(data_dir: Path, tmp_path: Path) -> None:
    with opened(data_dir) as client:
        client.report_usage("customer-1", "feature-calls", 1)
    shutil.copytree(data_dir, tmp_path / "backup")
    with Stigg(data_dir=data_dir) as client:
        client.catalog.apply(
            CATALOG | {"features": [*CATALOG["features"], {"id": "feature-new", "featureType": "Boolean"}]}
        )
        client.report_usage("customer-1", "feature-calls", 5)
        assert 6 == client.get_metered_entitlement("customer-1", "feature-calls").current_usage
        assert (
            "CustomerNotEntitledForFeature" == client.get_entitlement("customer-1", "feature-new").access_denied_reason
        )
        for suffix in ("-wal", "-shm"):
            (data_dir / f"authority.db{suffix}").unlink(missing_ok=True)
            if (tmp_path / f"backup/authority.db{suffix}").exists():
                shutil.copy(tmp_path / f"backup/authority.db{suffix}", data_dir)
        os.rename(tmp_path / "backup/authority.db", data_dir / "authority.db")
        end = time.monotonic() + 10
        while 1 != client.get_metered_entitlement("customer-1", "feature-calls").current_usage:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert "FeatureNotFound" == client.get_entitlement("customer-1", "feature-new").access_denied_reason
        result = client.report_usage("customer-1", "feature-calls", 1)
        assert result is not None
        assert 2 == result.current_usage
        assert str(client.status().version).startswith("2:")


def test_the_deprecated_name_of_the_credit_getter_warns_and_answers(data_dir: Path) -> None:
    with opened(data_dir) as client:
        with pytest.warns(DeprecationWarning, match="get_credit_entitlement"):
            old = client.get_credit_balance("customer-1", "currency-tokens")
        assert client.get_credit_entitlement("customer-1", "currency-tokens") == old
