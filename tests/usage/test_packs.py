"""Queued reports are stored in packs, and nobody can tell: beside the same life with a row for each report."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stigg_local import Stigg, StiggError, StoreCorrupt
from stigg_local.authority import retention
from stigg_local.core.period import FOREVER_MS, to_ms, to_text
from stigg_local.doctor import examine
from stigg_local.store import Measurement, Tx, pack, queued
from stigg_local.store.read_only import ReadOnly
from stigg_local.testing import ManualClock
from tests.usage.worlds import catalog, dimensions

START = "2025-01-31T10:00:00Z"
START_MS = to_ms(START, name="start")
HOUR = 3600 * 1000
PLACES = (("c", "calls"), ("c", "seats"), ("d", "calls"))
PREFIX = "q" * 20


class Report(NamedTuple):
    """One call of `report_usage`; `age` in hours, None for now."""

    place: tuple[str, str]
    value: float
    behavior: str
    age: int | None
    dimensions: dict[str, Any]
    key: str | None
    durability: str


reports = st.builds(
    Report,
    place=st.sampled_from(PLACES),
    value=st.sampled_from([1, 3, 0.25, -2, 5, 0]),
    behavior=st.sampled_from(["DELTA", "DELTA", "DELTA", "SET"]),
    age=st.sampled_from([None, None, None, 1, 30]),
    dimensions=st.one_of(st.just({}), st.just({}), dimensions),
    key=st.sampled_from([None, None, None, "k1", "k2"]),
    durability=st.sampled_from(["queued", "queued", "queued", "os"]),
)
# A number is hours to wait.
lives = st.lists(reports | reports | st.sampled_from(["flush", "fold", "change", 1, 30]), min_size=8, max_size=40)


@contextmanager
def at_once(reports_max: int) -> Iterator[pytest.MonkeyPatch]:
    """Packs of so many reports; what is queued is stored when somebody waits for it, and not before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "REPORTS_MAX", reports_max)
        patch.setattr(queued, "QUIET_S", 60)
        patch.setattr(queued, "LINGER_S", 60)
        # Cuts go through packs.
        patch.setattr(retention, "ROWS", 3)
        yield patch


def opened(directory: Path, clock: ManualClock) -> Stigg:
    return Stigg(catalog=catalog("ALWAYS_RESET"), data_dir=directory, clock=clock, usage_retention_days=2)


def measured(client: Stigg, from_ms: int = 0, to_ms: int = FOREVER_MS) -> dict[Any, list[Measurement]]:
    """What is in the log, with the ids of queued reports, which are known."""

    def ask(tx: Tx) -> dict[Any, list[Measurement]]:
        found: dict[Any, list[Measurement]] = {}
        for customer, feature in PLACES:
            tx.verify_log(customer)
            rows = tx.measurements(customer, "", feature, from_ms, to_ms)
            found[customer, feature] = [
                row if row.measurement_id.startswith(PREFIX) else row._replace(measurement_id="") for row in rows
            ]
            assert bool(rows) <= (("", feature) in tx.has_measurements(customer))
        return found

    assert client._embedded is not None
    return client._embedded.store.read(ask)


def live(directory: Path, life: list[Any]) -> dict[str, Any]:
    """Live it; returns everything that can be asked then."""
    clock = ManualClock(START)
    told: dict[str, Any] = {"results": []}
    with opened(directory, clock) as client:
        for customer in "cd":
            client.provision_customer(customer, subscription_params={"plan_id": "daily"})
        client.report_usage("c", "calls", 1, durability="queued")
        client.flush()
        assert client._embedded is not None
        queue = client._embedded.store.queue
        assert queue is not None
        queue.prefix = PREFIX
        for step in life:
            if step == "flush":
                client.flush()
            elif step == "fold":
                client.flush()
                told["results"].append(client.tick()["folded_usage"])
            elif step == "change":
                client.provision_subscription("c", "forever" if len(told["results"]) % 2 else "daily")
            elif isinstance(step, int):
                clock.advance(seconds=step * 3600)
            else:
                told["results"].append(_report(client, step))
        client.flush()
        told |= _asked(client, directory)
        told["findings"] = [item.id for item in examine(directory, clock=clock).findings]
        for customer in "cd":
            client._embedded.authority.runner.repair(customer)
        told["rebuilt"] = _usage(client)
        clock.advance(seconds=72 * 3600)
        told["folded"] = client.tick()["folded_usage"], _usage(client), measured(client)
        client.archive_customer("c")
        told["erased"] = measured(client)
    assert {b""} >= {row.body for place in PLACES[:2] for row in told["erased"][place]}
    assert [] == told["findings"]
    return told


def _report(client: Stigg, step: Report) -> Any:
    arguments: dict[str, Any] = {"dimensions": step.dimensions} if step.dimensions else {}
    if step.age is not None:
        assert client._embedded is not None
        arguments["created_at"] = to_text(client._embedded.store.now_ms() - step.age * HOUR)
    try:
        result = client.report_usage(
            *step.place,
            step.value,
            update_behavior=step.behavior,
            idempotency_key=step.key,
            durability=step.durability,
            **arguments,
        )
    except StiggError as error:
        return error.code
    return result.current_usage, result.durability


def _usage(client: Stigg) -> list[Any]:
    return [client.get_metered_entitlement(*place).current_usage for place in PLACES]


def _asked(client: Stigg, directory: Path) -> dict[str, Any]:
    assert client._embedded is not None
    told: dict[str, Any] = {"usage": _usage(client), "measured": measured(client)}
    told["parts"] = [
        measured(client, START_MS + first * HOUR, START_MS + last * HOUR)
        for first, last in ((-40, 0), (0, 1), (0, 31), (30, 90))
    ]
    told["history"] = [client.get_usage_history(*place, start_date=START).to_dict() for place in PLACES]
    told["export"] = [client.export_customer(customer) for customer in "cd"]
    for exported in told["export"]:
        # Ids of events and subscriptions are drawn at random.
        exported.pop("events")
        exported.pop("subscriptions")
        exported.pop("customer")
    with ReadOnly(str(directory / "authority.db"), environment="production", now_ms=0) as source:
        columns, rows = source.all_of("measurements")
        place = columns.index("measurement_id")
        told["view"] = sorted(
            repr([*row[:place], row[place] if str(row[place]).startswith(PREFIX) else "", *row[place + 1 :]])
            for row in rows
        )
    return told


@settings(max_examples=25, deadline=None)
@given(life=lives)
def test_no_question_tells_packs_from_single_rows(life: list[Any]) -> None:
    told = []
    for reports_max in (1, 2, 500):
        directory = Path(tempfile.mkdtemp(prefix="packs-"))
        try:
            with at_once(reports_max):
                told.append(live(directory / "state", life))
        finally:
            shutil.rmtree(directory)
    assert told[0] == told[1] == told[2]


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_no_question_tells_packs_from_single_rows_in_many_lives() -> None:
    """The same, longer."""
    again = settings(max_examples=400, deadline=None)(given(life=lives)(_both))
    again()


def _both(life: list[Any]) -> None:
    test_no_question_tells_packs_from_single_rows.hypothesis.inner_test(life)  # type: ignore[attr-defined]


# Damage -------------------------------------------------------------------------------------------------------


def change(directory: Path, statement: str) -> None:
    """Change rows behind the store's back."""
    connection = apsw.Connection(str(directory / "authority.db"))
    connection.execute(statement)
    assert connection.changes() > 0
    connection.close()


def tried(call: Any) -> Any:
    try:
        return call()
    except StoreCorrupt:
        return "damaged"


@pytest.mark.parametrize("reports_max", [1, 500])
@pytest.mark.parametrize("has_counters", [True, False])
def test_a_damaged_log_stops_the_same_calls_whichever_rows_it_is_in(
    tmp_path: Path, reports_max: int, has_counters: bool
) -> None:
    clock = ManualClock(START)
    with at_once(reports_max), opened(tmp_path, clock) as client:
        for customer in "cd":
            client.provision_customer(customer, subscription_params={"plan_id": "daily"})
            for value in (1, 2, 3):
                client.report_usage(customer, "calls", value, durability="queued")
        client.flush()
    table, column = ("measurement", "value") if reports_max == 1 else ("measurement_pack", "body")
    damage = f"{column} = {column} + 1" if reports_max == 1 else f"{column} = replace({column}, '000', '001')"
    change(tmp_path, f"UPDATE {table} SET {damage} WHERE customer_id = 'c'")
    if not has_counters:
        change(tmp_path, "DELETE FROM usage_counter WHERE customer_id = 'c'")
    found = examine(tmp_path, clock=clock).findings
    assert {"RowDamaged"} == {item.id for item in found if item.where.startswith(table)}
    with opened(tmp_path, clock) as client:
        # The counters go on where they are whole; what has to ask the log is refused, and so is a rebuild from it.
        asked = client.get_metered_entitlement("c", "calls")
        assert (6 if has_counters else 0, not has_counters) == (asked.current_usage, asked.is_fallback)
        told = tried(lambda: client.report_usage("c", "calls", 1).current_usage)
        assert (7 if has_counters else "damaged") == told
        told = tried(lambda: client.report_usage("c", "calls", 1, durability="queued").current_usage)
        assert (8 if has_counters else "damaged") == told
        with suppress(StoreCorrupt):
            client.flush(5)
        assert "damaged" == tried(lambda: client.get_usage_history("c", "calls", start_date=START))
        assert "damaged" == tried(lambda: client.export_customer("c"))
        assert "damaged" == tried(lambda: client.provision_subscription("c", "forever"))
        assert client._embedded is not None
        with pytest.raises(StoreCorrupt):
            client._embedded.authority.runner.repair("c")
        # The others notice nothing.
        assert 6 == client.get_metered_entitlement("d", "calls").current_usage
        assert 7 == client.report_usage("d", "calls", 1).current_usage
        assert 7 == client.get_usage_history("d", "calls", start_date=START).points[-1].value
        clock.advance(seconds=96 * 3600)
        assert 4 == client.tick()["folded_usage"]


# Lost bytes ---------------------------------------------------------------------------------------------------


def test_nothing_of_an_archived_customers_dimensions_is_left_in_the_files(tmp_path: Path) -> None:
    word, clock = "canary-5d0c", ManualClock(START)
    with at_once(500), opened(tmp_path, clock) as client:
        client.provision_customer("c", subscription_params={"plan_id": "daily"})
        for number in range(40):
            client.report_usage(
                "c", "calls", 1, dimensions={"who": f"{word}-{number}"} if number % 2 else None, durability="queued"
            )
        client.flush()
        assert word.encode() in b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
        assert client.erase_customer("c")
        assert word.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
        assert 40 == len(measured(client)["c", "calls"])
    assert () == examine(tmp_path, clock=clock).findings


def test_reports_of_two_features_in_turn_are_two_packs(tmp_path: Path) -> None:
    """Each feature's in the order of the calls."""
    with at_once(500), opened(tmp_path, ManualClock(START)) as client:
        client.provision_customer("c", subscription_params={"plan_id": "daily"})
        for number in range(20):
            for feature in ("calls", "seats"):
                client.report_usage("c", feature, number, durability="queued")
        client.flush()
        found = measured(client)
        for feature in ("calls", "seats"):
            assert [number * 100 for number in range(20)] == [row.value for row in found["c", feature]]
    connection = apsw.Connection(str(tmp_path / "authority.db"))
    assert [(20,), (20,)] == connection.execute("SELECT count FROM measurement_pack").fetchall()
    connection.close()
