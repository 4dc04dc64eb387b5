"""Every suite runs with its smoke parameters, gives the same answers each time, and is roughly as fast as it should.

Ratios are asserted as orders of magnitude only: a machine that is busy must not fail a test.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import commit, consume, durability, events, harness, imports, memory, provision, read
from benchmarks import open as opening
from benchmarks.data import BOOLEANS, CURRENCY, METERED, catalog, customer_id, write_customers
from benchmarks.harness import SMOKE, Parameters, Report
from stigg_local import Stigg

SUITES: dict[str, Callable[[Parameters], Report]] = {
    "read": read.run,
    "open": opening.run,
    "memory": memory.run,
    "imports": imports.run,
    "commit": commit.run,
    "durability": durability.run,
    "events": events.run,
    "consume": consume.run,
    "provision": provision.run,
}


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    """Each suite, run once."""
    return {name: run(SMOKE) for name, run in SUITES.items()}


def test_hot_reads_cost_a_few_dictionary_lookups(reports: dict[str, Report]) -> None:
    read = reports["read"]
    for name in ("boolean", "numeric", "metered", "credit", "keyword call", "repeated requested_usage"):
        assert read.value(name) < 100, name
    assert read.value("new requested_usage") < 300


def test_a_customer_from_disk_costs_a_few_point_reads(reports: dict[str, Report]) -> None:
    assert reports["read"].value("customer from disk, metered") < 100


def test_opening_does_not_depend_on_the_number_of_customers(reports: dict[str, Report]) -> None:
    found = reports["open"]
    small = found.value("  the same with 10 customers on disk")
    assert found.value("open to first answer, modules loaded") < 20 * small


def test_the_memo_takes_about_what_it_says(reports: dict[str, Report]) -> None:
    assert reports["memory"].value("memo: resident over its own estimate") < 10


def test_a_durable_report_costs_a_few_commits(reports: dict[str, Report]) -> None:
    assert reports["commit"].value("durable report, 1 thread, of the raw rate") > 0.01


def test_a_queued_report_costs_a_few_microseconds(reports: dict[str, Report]) -> None:
    found = reports["durability"]
    assert found.value("a queued report, burst of 100") < 100
    assert found.value("sustained, of the raw rate, 1,000 a commit") > 0.01


def test_consume_costs_a_few_commits_and_a_refusal_none(reports: dict[str, Report]) -> None:
    consumed = reports["consume"]
    assert consumed.value("disk: consume of a limit, of the raw rate") > 0.01
    assert consumed.value("disk: refused consume, of the raw rate") > 0.1


def test_what_a_command_costs_does_not_grow_with_the_customers(reports: dict[str, Report]) -> None:
    provisioned = reports["provision"]
    for name in provision.COMMANDS:
        assert provisioned.value(f"growth of {name}, processor time") < 20, name


def test_the_same_suite_gives_the_same_answers(reports: dict[str, Report]) -> None:
    assert reports["read"].answers == read.run(SMOKE).answers
    assert reports["commit"].answers == commit.run(SMOKE).answers


def test_every_figure_has_a_value_and_is_written_as_json(
    reports: dict[str, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for report in reports.values():
        assert report.figures
        assert report.answers
    file = tmp_path / "read.json"
    monkeypatch.setattr(sys, "argv", ["read", "--smoke", "--json", str(file)])
    harness.main(lambda _: reports["read"])
    assert reports["read"].answers in capsys.readouterr().out
    assert json.loads(file.read_text("utf-8"))["answers"] == reports["read"].answers


def test_batches_write_what_the_public_call_writes() -> None:
    from stigg_local.testing import ManualClock, memory_client

    with (
        memory_client(catalog(), clock=ManualClock()) as batched,
        memory_client(catalog(), clock=ManualClock()) as called,
    ):
        write_customers(batched, 4)
        for index in range(4):
            called.provision_customer(customer_id(index), subscription_params={"plan_id": f"plan-{index}"})
        for index in range(1, 4):
            assert _shown(called, customer_id(index)) == _shown(batched, customer_id(index))


def _shown(client: Stigg, customer: str) -> list[dict[str, object]]:
    return [
        client.get_entitlements_state(customer, include_credits=True).to_dict(),
        client.get_boolean_entitlement(customer, BOOLEANS[0]).to_dict(),
        client.get_metered_entitlement(customer, METERED[0], requested_usage=5).to_dict(),
        client.get_credit_entitlement(customer, CURRENCY).to_dict(),
    ]
