"""`explain` where the directory is damaged, read-only or gone: it answers as the getters do, and never raises more."""

import os
import shutil
from pathlib import Path

import pytest

from stigg_local import Stigg, StoreError
from tests.shell.clients import CATALOG, CUSTOMERS, GETTERS, client_of
from tests.shell.test_corruption import Original, edit, row_edits


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return Original(tmp_path_factory.mktemp("original"))


def explained(client: Stigg) -> int:
    """Explain every question; how many answers were not authoritative."""
    fallbacks = 0
    for customer in CUSTOMERS:
        for feature, kind in {**GETTERS, "currency-ai": "credit"}.items():
            requested = 50 if kind in ("metered", "credit") else 0
            answer = client.get_entitlement(customer, feature, requested_usage=requested)
            explanation = client.explain(customer, feature, requested_usage=requested)
            assert answer.to_dict() == explanation.entitlement.to_dict()
            assert str(explanation)
            assert explanation.to_json()
            fallbacks += answer.is_fallback
            if answer.is_fallback and answer.access_denied_reason is None:
                assert explanation.error is not None
    return fallbacks


def sweep(original: Original, seed: int, every: int) -> tuple[int, int]:
    """(directories that were explained, answers that were not authoritative) over damaged rows."""
    served = fallbacks = 0
    for number, (_, statement, bindings) in enumerate(row_edits(original, seed)):
        if number % every:
            continue
        data_dir = original.copy()
        edit(data_dir / "authority.db", statement, bindings)
        try:
            with client_of(data_dir, original.clock()) as client:
                fallbacks += explained(client)
                served += 1
        except StoreError:
            # The directory cannot be opened at all: there is no client to ask.
            continue
        finally:
            shutil.rmtree(data_dir)
    return served, fallbacks


def test_damaged_rows_are_explained_as_they_are_answered(original: Original) -> None:
    served, fallbacks = sweep(original, 8, 71)
    assert served > 0
    assert fallbacks > 0


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_every_damaged_row_is_explained_as_it_is_answered(original: Original) -> None:
    print(sweep(original, 9, 1))


def test_a_warm_client_explains_from_memory(original: Original) -> None:
    """The file is overwritten while the answers are held: the sources are told, and what could not be looked at."""
    data_dir = original.copy()
    with client_of(data_dir, original.clock()) as client:
        assert client.get_entitlement("customer-1", "feature-calls", requested_usage=10**6) is not None
        for path in data_dir.iterdir():
            if path.name.startswith("authority.db") and not path.name.endswith("shm"):
                with path.open("r+b") as file:
                    size = path.stat().st_size
                    file.write(os.urandom(size))
        answer = client.get_entitlement("customer-1", "feature-calls", requested_usage=10**6)
        explanation = client.explain("customer-1", "feature-calls", requested_usage=10**6)
        assert answer.to_dict() == explanation.entitlement.to_dict()
        assert explanation.sources or explanation.error is not None


def test_a_directory_that_is_read_only_is_explained(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its ways, for they are rehearsed in memory."""
    with Stigg(catalog=CATALOG, data_dir=data_dir) as writer:
        writer.provision_customer("acme", subscription_params={"plan_id": "plan-app"})
        writer.report_usage("acme", "feature-calls", 2)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with Stigg(data_dir=data_dir) as client:
        explanation = client.explain("acme", "feature-calls", requested_usage=10**6)
        assert explanation.error is None
        assert explanation.winner is not None
        assert {"LESS", "PROMOTION"} <= {way.kind for way in explanation.ways}
