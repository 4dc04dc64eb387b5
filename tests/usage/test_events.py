"""Raw events on a directory: what survives, what is found damaged, what is forgotten, and who is told."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from stigg_local import InvalidInput, NotAvailableOffline, Stigg, StoreCorrupt
from stigg_local.doctor import examine
from stigg_local.testing import ManualClock
from tests.usage.worlds import catalog

START = "2025-01-31T10:00:00Z"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def client(tmp_path: Path, clock: ManualClock) -> Iterator[Stigg]:
    with opened(tmp_path, clock) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
        yield client


def opened(path: Path, clock: ManualClock, source: Any = None, **arguments: Any) -> Stigg:
    return Stigg(catalog=source or catalog("ALWAYS_RESET"), data_dir=path / "state", clock=clock, **arguments)


def login(number: int, user: str = "u1", **rest: Any) -> dict[str, Any]:
    return {
        "customer_id": "c",
        "event_name": "login",
        "idempotency_key": f"k{number}",
        "dimensions": {"user": user, "d": number},
        **rest,
    }


def usage(client: Stigg, *features: str) -> list[Any]:
    return [client.get_metered_entitlement("c", feature).current_usage for feature in features]


def change(path: Path, statement: str) -> None:
    """Change rows behind the store's back."""
    connection = apsw.Connection(str(path / "state" / "authority.db"))
    connection.execute(statement)
    assert connection.changes() > 0
    connection.close()


def codes(path: Path) -> set[str]:
    return {finding.id for finding in examine(path / "state").findings if finding.severity == "error"}


# Damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meter_value SET count = count + 1",
        "UPDATE meter_value SET total = '999'",
        "UPDATE meter_value SET to_ms = to_ms - 1",
        "DELETE FROM meter_value",
        "UPDATE usage_counter SET value = value + 1",
        "DELETE FROM usage_counter",
    ],
)
def test_what_meters_made_is_rebuilt_from_the_log(tmp_path: Path, clock: ManualClock, statement: str) -> None:
    with opened(tmp_path, clock) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
        client.report_event([login(number, f"u{number % 3}") for number in range(1, 8)])
    change(tmp_path, statement)
    with opened(tmp_path, clock) as client:
        client.report_event(login(8, "u8"))
        assert usage(client, "count", "unique", "sum", "max", "min", "avg") == [8, 4, 36, 8, 1, 4.5]
        # What is left of a row that was damaged goes with a repair.
        assert client._embedded is not None
        client._embedded.authority.runner.repair("c")
        assert usage(client, "count", "unique", "sum", "max", "min", "avg") == [8, 4, 36, 8, 1, 4.5]
    assert codes(tmp_path) == set()


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE usage_event SET body = x'80' WHERE idempotency_key = 'k3'", "RowDamaged"),
        ("UPDATE usage_event SET created_ms = created_ms - 1 WHERE idempotency_key = 'k3'", "RowDamaged"),
        ("DELETE FROM usage_event WHERE idempotency_key = 'k3'", "SumDiffers"),
        ("UPDATE meter_value SET count = count + 1", "RowDamaged"),
        ("DELETE FROM meter_member WHERE value = (SELECT min(value) FROM meter_member)", "SumDiffers"),
        ("UPDATE usage_event_key SET hash = x'00' WHERE hash = (SELECT min(hash) FROM usage_event_key)", "KeyMissing"),
        ("UPDATE usage_threshold SET percent = 1", "RowDamaged"),
    ],
)
def test_doctor_finds_what_is_damaged(tmp_path: Path, clock: ManualClock, statement: str, code: str) -> None:
    with opened(tmp_path, clock) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
        client.report_event([login(number, f"u{number}") for number in range(1, 10)])
    assert codes(tmp_path) == set()
    change(tmp_path, statement)
    assert code in codes(tmp_path)


def test_a_changed_event_is_never_counted(tmp_path: Path, clock: ManualClock) -> None:
    with opened(tmp_path, clock) as client:
        client.provision_customer("c", subscription_params=None)
        client.report_event([login(number) for number in range(1, 5)])
    change(tmp_path, "UPDATE usage_event SET body = x'80' WHERE idempotency_key = 'k3'")
    with opened(tmp_path, clock) as client, pytest.raises(StoreCorrupt):
        client.provision_subscription("c", "forever")


def test_a_set_that_lost_a_member_is_rebuilt(tmp_path: Path, clock: ManualClock) -> None:
    with opened(tmp_path, clock) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
        client.report_event([login(1, "u1"), login(2, "u2")])
    change(tmp_path, "DELETE FROM meter_member WHERE value = CAST('tu1' AS BLOB)")
    with opened(tmp_path, clock) as client:
        assert client._embedded is not None
        client._embedded.authority.runner.repair("c")
        client.report_event(login(3, "u1"))
        assert usage(client, "unique") == [2]


# Compaction ---------------------------------------------------------------------------------------------------


def rows(path: Path, table: str) -> int:
    connection = apsw.Connection(str(path / "state" / "authority.db"))
    found = connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
    connection.close()
    assert isinstance(found, int)
    return found


def test_the_logs_stay_bounded_and_no_answer_changes(tmp_path: Path, clock: ManualClock) -> None:
    with opened(tmp_path, clock, usage_retention_days=3) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
        for day in range(30):
            client.report_event([login(100 * day + number, f"u{day}-{number % 5}") for number in range(20)])
            for number in range(10):
                client.report_usage("c", "calls", number % 3, durability="os")
                client.report_usage("c", "seats", number, update_behavior="SET", durability="os")
            before = usage(client, "count", "unique", "sum", "max", "min", "avg", "calls", "seats")
            client.tick()
            assert usage(client, "count", "unique", "sum", "max", "min", "avg", "calls", "seats") == before
            clock.advance(seconds=24 * 3600)
        assert usage(client, "count", "unique", "calls", "seats") == [600, 150, 270, 9]
        with pytest.raises(InvalidInput, match="from when on usage is kept"):
            client.report_event(login(1, timestamp="2025-02-10T00:00:00Z"))
        with pytest.raises(InvalidInput, match="from when on usage is kept"):
            client.report_usage("c", "calls", 1, created_at="2025-02-10T00:00:00Z")
        # Another subscription looks at everything ever reported, folded or not.
        client.provision_subscription("c", "daily")
        client.provision_subscription("c", "forever")
        assert usage(client, "count", "unique", "sum", "calls", "seats") == [600, 150, before[2], 270, 9]
        assert client._embedded is not None
        client._embedded.authority.runner.repair("c")
        assert usage(client, "count", "unique", "sum", "calls", "seats") == [600, 150, before[2], 270, 9]
        client.tick()
    # Four days of twenty events, and a row or two for what was folded of each meter.
    assert rows(tmp_path, "usage_event") <= 80 + 40
    assert rows(tmp_path, "usage_event_key") <= 80
    assert rows(tmp_path, "measurement") <= 82
    assert codes(tmp_path) == set()


def test_a_log_of_any_length_is_verified_whole(client: Stigg, tmp_path: Path) -> None:
    for first in (0, 1000, 2000):
        client.report_event([login(number) for number in range(first, min(first + 1000, 2001))])
    assert client._embedded is not None
    client._embedded.store.read(lambda tx: tx.verify_log("c"))
    assert 2001 == usage(client, "count")[0]
    assert set() == codes(tmp_path)


def test_what_was_folded_for_another_meter_does_not_count(tmp_path: Path, clock: ManualClock) -> None:
    """Of its events nothing is left that could be looked at anew."""
    with opened(tmp_path, clock, usage_retention_days=1) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
        client.report_event([login(5), login(7)])
        clock.advance(seconds=3 * 24 * 3600)
        client.tick()
        client.report_event(login(9))
        assert [21, 3] == usage(client, "sum", "count")
        other = catalog("ALWAYS_RESET")
        next(item for item in other["features"] if item["id"] == "sum")["meter"] = {"function": "COUNT"}
        client.catalog.apply(other)
        assert [1, 3] == usage(client, "sum", "count")


def test_the_time_before_which_usage_is_folded_never_goes_back(client: Stigg) -> None:
    assert client._embedded is not None
    store = client._embedded.store
    for number, from_ms in enumerate((10, 5)):
        store.write(lambda tx, at=from_ms: tx.put_usage_from(at), operation="fold", key=f"{number}")  # type: ignore[misc]
    assert 10 == store.read(lambda tx: tx.usage_from_ms())


def test_members_of_closed_windows_are_deleted(tmp_path: Path, clock: ManualClock) -> None:
    with opened(tmp_path, clock, usage_retention_days=1) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "daily")
        for day in range(6):
            client.report_event([login(100 * day + number, f"u{number}") for number in range(50)])
            clock.advance(seconds=24 * 3600)
            client.tick()
        assert usage(client, "unique") == [0]
    assert rows(tmp_path, "meter_member") <= 100


def test_members_are_deleted_a_few_at_a_time_and_none_is_left(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stigg_local.authority.retention.ROWS", 20)
    with opened(tmp_path, clock, usage_retention_days=1) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "daily")
        client.report_event([login(number, f"u{number}") for number in range(50)])
        clock.advance(seconds=3 * 24 * 3600)
        client.tick()
    assert 0 == rows(tmp_path, "meter_member")
    assert set() == codes(tmp_path)


def test_a_clock_that_cannot_be_believed_folds_nothing(tmp_path: Path, clock: ManualClock) -> None:
    with opened(tmp_path, clock, usage_retention_days=1) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
        client.report_event([login(number) for number in range(5)])
        clock.jump("2035-01-01T00:00:00Z")
        assert client.tick()["folded_usage"] == 0
        clock.jump(START)
        client.report_event(login(9, timestamp="2025-01-30T00:00:00Z"))
        assert usage(client, "count") == [6]


def test_erasing_leaves_nothing_of_a_customers_events(tmp_path: Path, client: Stigg) -> None:
    client.report_event([login(number, f"user-{number}@example.com") for number in range(1, 6)])
    assert client._embedded is not None
    client._embedded.store.write(lambda tx: tx.scrub_usage("c"), operation="erase", key="erase")
    client.close()
    tables = ("usage_event", "usage_event_key", "meter_value", "meter_member", "usage_threshold")
    assert [0] * 5 == [rows(tmp_path, table) for table in tables]
    assert "RowDamaged" not in codes(tmp_path)


# The catalog --------------------------------------------------------------------------------------------------


def test_a_changed_meter_counts_the_log_again(client: Stigg) -> None:
    client.report_event([login(number, f"u{number % 2}") for number in range(1, 5)])
    source = catalog("ALWAYS_RESET")
    features = {feature["id"]: feature for feature in source["features"]}
    features["count"]["meter"] = {"function": "MAX", "field": "d"}
    features["unique"]["meter"]["field"] = "d"
    client.catalog.apply(source)
    assert usage(client, "count", "unique", "sum") == [4, 4, 10]
    client.report_event(login(7))
    assert usage(client, "count", "unique", "sum") == [7, 5, 17]
    del features["count"]["meter"]
    client.catalog.apply(source)
    assert usage(client, "count") == [0]
    client.report_usage("c", "count", 2)
    assert usage(client, "count") == [2]


# Telling ------------------------------------------------------------------------------------------------------


def test_thresholds_are_told_once_also_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    told: list[dict[str, Any]] = []

    def listen(client: Stigg) -> None:
        client.add_listener("entitlement.usage_exceeded", lambda event: told.append(event.to_dict()))

    with opened(tmp_path, clock) as client:
        listen(client)
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
        client.report_event([login(number) for number in range(9)])
    with opened(tmp_path, clock) as client:
        listen(client)
        client.report_usage("c", "seats", 8)
        client.report_usage("c", "seats", -8)
        client.report_usage("c", "seats", 8)
    with opened(tmp_path, clock, usage_thresholds=(50, 150)) as client:
        listen(client)
        client.report_usage("c", "seats", -8)
        client.report_usage("c", "seats", 7)
        client.report_usage("c", "seats", 8)
    data = [(item["featureId"], item["data"]["threshold"]) for item in told]
    # The sum is 36 of 10, the greatest 8, the average 4; four logins are above 2.5, by the same user.
    assert data[:3] == [("count", "90"), ("sum", "100"), ("max", "80")]
    assert data[3:] == [("seats", "80"), ("seats", "150")]


def test_a_damaged_note_of_what_was_told_keeps_nothing_back(tmp_path: Path, clock: ManualClock) -> None:
    """Better told twice than never."""
    told: list[str] = []
    with opened(tmp_path, clock) as client:
        client.add_listener("entitlement.usage_exceeded", lambda event: told.append(event.data["threshold"]))
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
        client.report_usage("c", "seats", 8)
        change(tmp_path, "UPDATE usage_threshold SET percent = 100")
        client.report_usage("c", "seats", 1)
        client.report_usage("c", "seats", -2)
        client.report_usage("c", "seats", 2)
    assert ["80", "90"] == told


def test_a_history_ends_now(tmp_path: Path, clock: ManualClock) -> None:
    """What will be is not known, and windows that have not begun are not reset yet."""
    with opened(tmp_path, clock) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "daily")
        client.report_usage("c", "calls", 2)
        clock.advance(seconds=3600)
        asked = {"start_date": START, "end_date": "2025-03-31T10:00:00Z"}
        found = client.get_usage_history("c", "calls", **asked)
        assert (clock.time(), 1, ()) == (found.end_date.timestamp(), len(found.points), found.markers)  # type: ignore[union-attr]


def test_thresholds_and_retention_are_checked(tmp_path: Path, clock: ManualClock) -> None:
    for arguments in (
        {"usage_thresholds": (0,)},
        {"usage_thresholds": "80"},
        {"usage_thresholds": (80.5,)},
        {"usage_retention_days": 0},
        {"usage_retention_days": "90"},
    ):
        with pytest.raises(InvalidInput):
            opened(tmp_path, clock, **arguments)
    with opened(tmp_path, clock, usage_thresholds=()):
        pass


def test_listeners_hear_of_usage_by_events(client: Stigg) -> None:
    heard: list[tuple[str, Any]] = []
    client.add_listener("usageUpdated", lambda told: heard.append((told.entitlement.feature.id, told.usage)))
    client.report_event(login(5))
    client.report_usage_bulk([{"customer_id": "c", "feature_id": "calls", "value": 2}])
    assert ("count", 1) in heard
    assert ("sum", 5) in heard
    assert heard[-1] == ("calls", 2)


def test_a_batch_tells_listeners_once_of_each_feature_and_resource(tmp_path: Path, clock: ManualClock) -> None:
    source = catalog("ALWAYS_RESET")
    source["products"].append({"id": "product-many", "multipleSubscriptions": True})
    source["plans"].append(
        {
            "id": "site",
            "productId": "product-many",
            "pricingType": "FREE",
            "entitlements": source["plans"][1]["entitlements"],
        }
    )
    heard: list[tuple[str, Any]] = []
    with opened(tmp_path, clock, source) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "forever")
        client.provision_subscription("c", "site", resource_id="site-1")
        client.report_event(login(1))
        client.add_listener("usageUpdated", lambda told: heard.append((told.entitlement.feature.id, told.usage)))
        client.report_event([login(3, resource_id="site-1"), login(4, resource_id="site-1")])
        assert [2] == [usage for feature, usage in heard if feature == "count"]
        heard.clear()
        reports = [{"customer_id": "c", "feature_id": "calls", "value": value} for value in (1, 2)]
        client.report_usage_bulk([*reports, reports[0] | {"resource_id": "site-1"}])
    assert [("calls", 3), ("calls", 1)] == heard


def test_offline_events_succeed_and_do_nothing() -> None:
    with Stigg(offline=True) as client:
        assert client.report_event(login(1)).to_dict() == {"accepted": 0, "duplicates": 0, "durability": "none"}
        assert client.report_events([login(1)]).accepted == 0
        for call in (
            lambda: client.report_usage_bulk([]),
            lambda: client.get_usage_history("c", "calls", start_date=START),
        ):
            with pytest.raises(NotAvailableOffline):
                call()


def test_arguments_are_named_where_they_are_wrong(client: Stigg) -> None:
    for wrong, named in (
        (login(1) | {"dimensions": {"user": None}}, "dimensions.user"),
        (login(1) | {"dimensions": {"user": {"a": 1}}}, "dimensions.user"),
        (login(1) | {"dimensions": {"d": float("nan")}}, "dimensions.d"),
        (login(1) | {"dimensions": {1: "a"}}, "the name `1`"),
        (login(1) | {"idempotency_key": ""}, "idempotency_key"),
        (login(1) | {"eventname": "x"}, "eventname"),
        (login(1) | {"timestamp": "yesterday"}, "timestamp"),
        ([login(1)] * 1001, "1001 events"),
        ("login", "login"),
    ):
        with pytest.raises(InvalidInput, match=named):
            client.report_event(wrong)  # type: ignore[arg-type]
    assert client.report_event([]).accepted == 0
    assert usage(client, "count") == [0]


def test_events_of_many_threads_all_count_once(client: Stigg) -> None:
    def work(number: int) -> None:
        for index in range(25):
            # Every event is reported by two threads.
            client.report_event(login(number // 2 * 1000 + index, f"u{number // 2}-{index}"), durability="os")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert usage(client, "count", "unique") == [100, 100]


# The command line ---------------------------------------------------------------------------------------------


def test_events_and_history_on_the_command_line(
    tmp_path: Path, client: Stigg, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stigg_local.cli.main import main

    client.close()
    where = ["--data-dir", str(tmp_path / "state")]
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", "2025-02-03T10:00:00Z")
    dimensions = ["--dimension", "user=u1", "--dimension", "d=3"]
    assert main(["events", "report", "c", "login", "--key", "a", *dimensions, *where]) == 0
    assert capsys.readouterr().out == "recorded 1\n"
    events = tmp_path / "events.ndjson"
    lines = [login(number, timestamp=f"2025-02-0{number}T00:00:00Z") for number in (1, 2)]
    events.write_text("".join(json.dumps(line) + "\n" for line in [*lines, lines[0]]))
    assert main(["events", "report", "--file", str(events), "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out) == {"accepted": 2, "duplicates": 1, "durability": "disk"}
    odd = ["--dimension", "d=[1]", "--dimension", "user=null", "--dimension", "flag=true"]
    assert main(["events", "report", "c", "visit", "--key", "odd", *odd, *where]) == 0
    assert capsys.readouterr().out == "recorded 1\n"
    picture = tmp_path / "usage.svg"
    asked = ["usage", "history", "c", "sum", "--from", "2025-02-01"]
    assert main([*asked, "--svg", str(picture), "--plain", *where]) == 0
    out = capsys.readouterr().out
    assert "sum of c" in out
    assert "2025-02-02 00:00 UTC  3" in out
    assert picture.read_text().startswith("<svg ")
    assert main([*asked, "--json", *where]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [point["value"] for point in points] == [1, 3, 6]
    assert main(["events", "report", "nobody", "login", "--key", "b", *where]) == 2
    assert "CustomerNotFound" in capsys.readouterr().err
    assert main(["events", "report", "c", "login", *where]) == 2
    assert main(["events", "report", "--file", str(tmp_path / "none"), *where]) == 2


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"customer_id": "c", "event_name": "login"}, "line 5 of `{path}`"),
        (login(3, dimensions={"user": [1]}), "line 5 of `{path}`, dimensions.user is `[1]`"),
        (login(3, timestamp="2031-01-01T00:00:00Z"), "line 5 of `{path}`, timestamp is 2031-01-01"),
        (login(3) | {"customer_id": "nobody"}, "lines 4 to 5 of `{path}`: customer `nobody`"),
        (7, "line 5 of `{path}` is `7`"),
    ],
    ids=["key missing", "dimension", "future", "customer", "no event"],
)
def test_a_wrong_event_of_a_file_is_named_by_its_line(
    tmp_path: Path,
    client: Stigg,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    wrong: Any,
    told: str,
) -> None:
    """Also in a later batch, after an empty line; what stands before is recorded and counts once."""
    from stigg_local.cli import events_report
    from stigg_local.cli.main import main

    client.close()
    monkeypatch.setattr(events_report, "BATCH", 2)
    events = tmp_path / "events.ndjson"
    lines = [json.dumps(login(number)) for number in (1, 2)]
    events.write_text("\n".join([*lines, "", json.dumps(login(4)), json.dumps(wrong)]))
    where = ["--file", str(events), "--data-dir", str(tmp_path / "state"), "--json"]
    assert main(["events", "report", *where]) == 2
    error = json.loads(capsys.readouterr().out)
    assert told.format(path=events) in error["message"]
    assert "lines before 4 are recorded" in error["hint"]
    events.write_text("\n".join([*lines, "", json.dumps(login(4))]))
    assert main(["events", "report", *where]) == 0
    assert json.loads(capsys.readouterr().out)["duplicates"] == 2


def test_an_event_of_a_clock_that_is_ahead_counts_now(tmp_path: Path, clock: ManualClock) -> None:
    """Its sender's clock is three minutes ahead and in the next window already; ours is what counts."""
    with opened(tmp_path, clock) as client:
        client.provision_customer("c", subscription_params=None)
        client.provision_subscription("c", "daily")
        clock.advance(hours=23, minutes=58)
        client.report_event(login(1, timestamp="2025-02-01T10:01:00Z"))
        assert usage(client, "count") == [1]
        clock.advance(minutes=2)
        assert usage(client, "count") == [0]
