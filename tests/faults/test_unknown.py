"""Commits that end in an error although they are stored, or are not: the command runs again and happens once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from stigg_local import Stigg
from stigg_local.core.period import FOREVER_MS
from stigg_local.errors import StoreError
from stigg_local.store.generation import Generation
from stigg_local.store.mark import Mark
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, NOON

CALLS: dict[str, Callable[[Stigg], Any]] = {
    "report": lambda client: client.report_usage("customer-1", "feature-calls", 3),
    "report of a feature with a rate": lambda client: client.report_usage("customer-1", "feature-images", 3),
    "late report": lambda client: client.report_usage("customer-1", "feature-calls", 3, created_at=NOON),
    "report with a key": lambda client: client.report_usage("customer-1", "feature-calls", 3, idempotency_key="key-1"),
    "reports": lambda client: client.report_usage_bulk(
        [{"customer_id": "customer-1", "feature_id": "feature-calls", "value": 1}] * 3
    ),
    "consume": lambda client: client.consume("customer-1", "feature-calls", 3),
    "consume of a wallet": lambda client: client.consume("customer-1", currency_id="currency-ai", value=3),
}


def failing(patch: pytest.MonkeyPatch, kind: type, name: str, times: int) -> list[int]:
    """Let a step around the commit fail so often; the list gets what it was called with then."""
    failed: list[int] = []
    plain = getattr(kind, name)

    def fail(self: Any, *arguments: Any) -> Any:
        if len(failed) < times:
            failed.append(1)
            raise apsw.IOError("the disk does not answer")
        return plain(self, *arguments)

    patch.setattr(kind, name, fail)
    return failed


def opened(place: Path) -> Stigg:
    client = Stigg(catalog=CATALOG, data_dir=place, clock=ManualClock(NOON))
    client.provision_customer("customer-1", subscription_params={"plan_id": "plan-app"})
    client.grant_credits("customer-1", "currency-ai", 100)
    return client


def told(client: Stigg) -> tuple[Any, ...]:
    """Usage, credits and the log of what was measured."""
    kept = client.export_customer("customer-1")
    return (
        client.get_metered_entitlement("customer-1", "feature-calls").current_usage,
        client.get_metered_entitlement("customer-1", "feature-images").current_usage,
        client.get_credit_entitlement("customer-1", "currency-ai").current_balance,
        [(one["featureId"], one["value"]) for one in kept["measurements"]],
        len(kept["creditLedger"]),
    )


def measured(client: Stigg) -> list[str]:
    """The ids of what was measured."""
    assert client._embedded is not None
    return client._embedded.store.read(
        lambda tx: [
            row.measurement_id
            for place in tx.has_measurements("customer-1")
            for row in tx.measurements("customer-1", *place, 0, FOREVER_MS)
        ]
    )


@pytest.mark.parametrize("step", [(Generation, "mark_in_flight"), (Mark, "store_seq")], ids=["undone", "stored"])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_happens_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: tuple[type, str]
) -> None:
    with opened(tmp_path / "plain") as plain, opened(tmp_path / "data") as client:
        expected = CALLS[name](plain)
        with monkeypatch.context() as patch:
            failed = failing(patch, *step, 1)
            result = CALLS[name](client)
        assert [1] == failed
        assert told(plain) == told(client)
        if isinstance(expected, list):
            expected, result = expected[-1], result[-1]
        if hasattr(expected, "current_usage"):
            assert expected.current_usage == result.current_usage
        else:
            assert expected.entitlement == result.entitlement
        # What the call says it made is what is there.
        assert measured(client)[-1:] in ([], [result.measurement_id])


@pytest.mark.parametrize("has_key", [False, True])
def test_an_outcome_that_stays_unknown_says_how_to_repeat_safely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_key: bool
) -> None:
    with opened(tmp_path) as client:
        options: dict[str, Any] = {"idempotency_key": "key-1"} if has_key else {}
        with monkeypatch.context() as patch:
            failing(patch, Generation, "mark_in_flight", 2)
            with pytest.raises(StoreError, match="the outcome of `reportUsage`") as caught:
                client.report_usage("customer-1", "feature-calls", 3, **options)
        # Repeating is harmless with a key alone, and one that nobody was told is no key.
        assert has_key == caught.value.retryable
        assert has_key == ("key-1" in str(caught.value))
        assert "key" in (caught.value.hint or "")
        client.report_usage("customer-1", "feature-calls", 3, **options)
        assert 3 == client.get_metered_entitlement("customer-1", "feature-calls").current_usage
