"""Every operation of the disk fails once for every way of writing; the loops are in `nth.py`."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.faults.nth import PATHS
from tests.shell.clients import ROOT


def loop(**asked: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.nth", json.dumps({"paths": [], "faults": [], "stride": 1} | asked)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    assert [] == told["failures"], "\n".join(told["failures"])
    # What raised was ours, each of a kind that a caller can tell apart.
    assert told["errors"].keys() <= {"StoreError", "StorageFull"}
    return told


def check_fired(told: dict[str, Any], paths: list[str]) -> None:
    """A fault that never happened proves nothing."""
    for path in paths:
        faults = ["write EIO", "write ENOSPC", "write short", "open EIO"]
        for fault in faults if path == "report at os" else [*faults, "sync EIO"]:
            for often in ("", " for ever"):
                assert told["fired"].get(f"{path}, {fault}{often}", 0) > 0, f"{path}, {fault}{often} never fired"


def test_no_failing_operation_tears_or_loses_a_report() -> None:
    paths = ["report", "queued", "charge"]
    told = loop(paths=paths, stride=3)
    check_fired(told, paths)
    assert told["errors"]["StorageFull"] > 0


def test_no_failing_operation_tears_or_loses_what_other_calls_write() -> None:
    paths = [path for path in PATHS if path not in ("report", "queued", "charge")]
    told = loop(paths=paths, faults=["write EIO", "sync EIO"], stride=9)
    for path in paths:
        assert told["fired"].get(f"{path}, write EIO", 0) > 0, f"{path} never failed"


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_every_operation_of_every_way_of_writing() -> None:
    told = loop()
    check_fired(told, list(PATHS))
    print(f"\n{told['runs']} runs, {sum(told['fired'].values())} faults fired, errors {told['errors']}")
