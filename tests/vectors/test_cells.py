"""The cells of the table of reads, run at the public client: every offline one, and the rows of an embedded engine."""

import json
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import pytest

from stigg_local import Stigg
from stigg_local.errors import StoreCorrupt
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, start
from tests.vectors.cells import DATA, MODES, ROWS_NOW, UPSTREAMS, Cell, Scenario, cells, row_of

ITEM = {"BOOLEAN": "feature-sso", "METERED": "feature-calls", "CREDIT": "currency-ai"}
LACKED = {"BOOLEAN": "feature-audit", "METERED": "feature-seats", "CREDIT": "currency-ai"}
UNKNOWN = {"BOOLEAN": "feature-none", "METERED": "feature-none", "CREDIT": "currency-none"}
GRANTS: dict[str, dict[str, Any]] = {
    "BOOLEAN": {"hasAccess": True},
    "METERED": {"hasAccess": True, "usageLimit": 10},
    "CREDIT": {"hasAccess": True, "currentBalance": 10},
}
OFFLINE = [cell for cell in cells() if cell.mode == "OFFLINE"]


def read(client: Stigg, kind: str, item: str, *, request: int, fallback: Any, customer: str = "customer-1") -> Any:
    """Ask the getter of the kind."""
    if kind == "BOOLEAN":
        return client.get_boolean_entitlement(customer, item, fallback=fallback)
    if kind == "METERED":
        return client.get_metered_entitlement(customer, item, requested_usage=request, fallback=fallback)
    return client.get_credit_entitlement(customer, item, requested_usage=request, fallback=fallback)


def fallbacks_of(kind: str, item: str) -> dict[str, Any]:
    """The arguments of a client with a configured fallback for one item."""
    name = "credit_entitlements_fallback" if kind == "CREDIT" else "entitlements_fallback"
    return {name: {item: GRANTS[kind]}}


def file_of(kind: str, item: str, path: Path) -> dict[str, Any]:
    """The same as a fallback file."""
    section = "credits" if kind == "CREDIT" else "features"
    path.write_text(json.dumps({"schema": 1, section: {item: GRANTS[kind]}}))
    return {"fallback_file": path}


def test_every_combination_is_answered_by_one_row() -> None:
    for mode in MODES:
        for data in DATA:
            for upstream in UPSTREAMS:
                for fallback in ("PER_CALL", "GLOBAL", "ABSENT"):
                    row_of(mode, data, upstream, fallback)
    assert 648 == len(cells())


def test_how_many_cells_run_and_what_the_others_wait_for(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = Counter(cell.waits_for for cell in cells())
    run = waiting.pop(None)
    with capsys.disabled():
        others = ", ".join(f"{count} wait for {theme}" for theme, count in sorted(waiting.items(), key=str))
        print(f"\n648 cells: {run} run, {others}; {len(ROWS_NOW)} scenarios of an embedded engine run")
    assert 216 == run == len(OFFLINE)
    assert 648 == run + sum(waiting.values())


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with data in it, which an offline client ignores."""
    data_dir = tmp_path_factory.mktemp("cells") / "used"
    with Stigg(catalog=CATALOG, data_dir=data_dir) as client:
        client.provision_customer("customer-1", subscription_params={"plan_id": "plan-app"})
    return data_dir


@pytest.mark.parametrize("configured", ["dict", "file"])
@pytest.mark.parametrize("kind", ITEM)
def test_offline_cells(kind: str, configured: str, used: Path, tmp_path: Path) -> None:
    """Data and upstream do not matter offline, so that all of a kind's cells are asked of three clients."""
    item = ITEM[kind]
    global_ = fallbacks_of(kind, item) if configured == "dict" else file_of(kind, item, tmp_path / "fallback.json")
    with (
        Stigg(offline=True, api_key="any", data_dir=used, **global_) as with_global,
        Stigg(offline=True, api_key="any", data_dir=used) as without,
    ):
        asked = [cell for cell in OFFLINE if cell.kind == kind]
        assert 72 == len(asked)
        for cell in asked:
            run_cell(cell, item, with_global, without)


def run_cell(cell: Cell, item: str, with_global: Stigg, without: Stigg) -> None:
    client = with_global if cell.fallback == "GLOBAL" else without
    per_call = GRANTS[cell.kind] if cell.fallback == "PER_CALL" else None
    # An unentitled customer is nobody special here: nothing is known of anybody.
    customer = "customer-1" if cell.is_entitled else "customer-2"
    answer = read(client, cell.kind, item, request=1, fallback=per_call, customer=customer)
    assert cell.kind == answer.type, cell
    assert cell.has_access is answer.has_access, cell
    assert cell.is_fallback is answer.is_fallback, cell
    assert cell.reason == answer.access_denied_reason, cell
    assert cell.state == client.status().state, cell
    assert ("default" if cell.answer == "DENY" else "fallback") == answer.source, cell


def test_per_call_goes_before_configured_offline() -> None:
    with Stigg(offline=True, entitlements_fallback={"feature-sso": {"hasAccess": True}}) as client:
        assert not client.get_boolean_entitlement("c", "feature-sso", fallback={"hasAccess": False}).has_access


def test_the_file_goes_before_the_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "fallback.json"
    path.write_text(json.dumps({"schema": 1, "features": {"feature-sso": {"hasAccess": False}}}))
    values = {"feature-sso": {"hasAccess": True}, "feature-audit": {"hasAccess": True}}
    with Stigg(offline=True, fallback_file=path, entitlements_fallback=values) as client:
        assert not client.get_boolean_entitlement("c", "feature-sso").has_access
        assert client.get_boolean_entitlement("c", "feature-audit").has_access


# ---------------------------------------------------------------------- the rows of an embedded engine


def checkpoint(data_dir: Path) -> None:
    """Move everything out of the log into the database."""
    connection = apsw.Connection(str(data_dir / "authority.db"))
    # A connection that has read nothing yet checkpoints nothing.
    connection.execute("SELECT count(*) FROM customer").fetchall()
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()


def spoil(data_dir: Path) -> None:
    """Make garbage of the whole database, in place."""
    path = data_dir / "authority.db"
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.write(b"\xaa" * size)


class Stage:
    """A clock, a directory and a client in which a scenario is brought about."""

    def __init__(self, data_dir: Path, scenario: Scenario) -> None:
        self.clock = ManualClock("2025-01-31T10:00:00Z")
        self.data_dir = data_dir
        self.scenario = scenario
        item = {"unknown feature": UNKNOWN, "not entitled": LACKED}.get(scenario.given, ITEM)[scenario.kind]
        if scenario.given == "clock ahead":
            item = "feature-audit"
        self.item = item
        self.configured = fallbacks_of(scenario.kind, item) if scenario.fallback == "GLOBAL" else {}
        self.customer = "nobody" if scenario.given == "unknown customer" else "customer-1"
        self.client = Stigg(catalog=CATALOG, data_dir=data_dir, clock=self.clock, **self.configured)
        plan = "plan-small" if scenario.given in ("limit reached", "not entitled") else "plan-app"
        subscription = None if scenario.given == "clock ahead" else {"plan_id": plan}
        self.client.provision_customer("customer-1", subscription_params=subscription)

    def ask(self) -> Any:
        per_call = GRANTS[self.scenario.kind] if self.scenario.fallback == "PER_CALL" else None
        return read(
            self.client,
            self.scenario.kind,
            self.item,
            request=self.scenario.request,
            fallback=per_call,
            customer=self.customer,
        )

    def bring_about(self) -> None:
        given = self.scenario.given
        if given == "corrupt, cold":
            self.client.close()
            checkpoint(self.data_dir)
            spoil(self.data_dir)
            self.client = Stigg(data_dir=self.data_dir, clock=self.clock, **self.configured)
        elif given == "corrupt, warm":
            # Into the database, out of the log, so that the damage is where reads look.
            self.client.close()
            checkpoint(self.data_dir)
            self.client = Stigg(data_dir=self.data_dir, clock=self.clock, **self.configured)
            assert self.ask().has_access
            spoil(self.data_dir)
            # Whoever is not in memory is noticed to be unreadable, by a connection that has cached nothing.
            with ThreadPoolExecutor(1) as pool:
                other = pool.submit(self.client.get_boolean_entitlement, "customer-9", "feature-sso").result()
            assert (False, True) == (other.has_access, other.is_fallback)
        elif given == "corrupt, rebuilt":
            self.client.close()
            checkpoint(self.data_dir)
            spoil(self.data_dir)
            self.client = Stigg(catalog=CATALOG, data_dir=self.data_dir, clock=self.clock)
            with pytest.raises(StoreCorrupt):
                self.client.report_usage("customer-1", "feature-calls", 1)
            self.client.provision_customer("customer-1", subscription_params={"plan_id": "plan-app"})
        elif given == "limit reached":
            self.client.report_usage("customer-1", "feature-calls", 2)
        elif given == "clock ahead":
            end = "2025-02-01T10:00:00Z"
            self.client.grant_promotional_entitlements(
                "customer-1", [{"feature_id": "feature-audit", "period": "CUSTOM", "custom_end_date": end}]
            )
            assert self.ask().has_access
            self.clock.jump("2025-02-02T10:00:00Z")

    def check_kept(self, caplog: pytest.LogCaptureFixture) -> None:
        keeps = self.scenario.keeps
        if keeps == "one warning, however many reads":
            self.ask()
            warned = [record for record in caplog.records if self.item in str(record.__dict__)]
            assert 1 == len(warned), warned
        elif keeps == "the damaged file or row is kept and never trusted":
            kept = [path for path in self.data_dir.iterdir() if path.name.startswith("authority.db")]
            assert any(path.read_bytes()[:4] == b"\xaa" * 4 for path in kept)
        elif keeps == "another process answers the same":
            answer = self.ask()
            process = start(OTHER, self.data_dir)
            assert f"{answer.has_access} {answer.access_denied_reason.value}" == process.communicate()[0]
        elif keeps == "the jump writes nothing; the returning clock restores access":
            self.clock.jump("2025-01-31T10:00:01Z")
            assert self.ask().has_access
            assert not self.client.status().clock_suspect
        else:
            assert keeps == "the fallback does not fire"
            assert "snapshot" == self.ask().source


OTHER = """
client = Stigg(data_dir=args[0], clock=ManualClock("2025-01-31T10:00:00Z"))
answer = client.get_metered_entitlement("customer-1", "feature-calls", requested_usage=1)
sys.stdout.write(f"{answer.has_access} {answer.access_denied_reason.value}")
"""


@pytest.mark.parametrize(
    "scenario", ROWS_NOW, ids=lambda row: f"{row.row}: {row.given}, {row.kind}, {row.fallback}".lower()
)
def test_rows_of_an_embedded_engine(scenario: Scenario, data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    stage = Stage(data_dir, scenario)
    try:
        stage.bring_about()
        # From the disk, then from memory.
        for _ in range(2):
            answer = stage.ask()
            assert scenario.has_access is answer.has_access
            assert scenario.is_fallback is answer.is_fallback
            assert scenario.reason == answer.access_denied_reason
        status = stage.client.status()
        if scenario.state == "clock_suspect":
            assert status.clock_suspect
        elif scenario.state is not None:
            assert scenario.state == status.state
        stage.check_kept(caplog)
    finally:
        stage.client.close()
