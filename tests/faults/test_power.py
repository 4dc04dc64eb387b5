"""Power cuts at every instant: at `disk` nothing acknowledged is lost, at `os` what is left is a beginning of it.

The run, the disk and the oracle are in `power.py`; here are the seeds, and the proof that a fault would be seen.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.shell.clients import ROOT

PARALLEL = 2


def runs(asked: list[dict[str, Any]]) -> Counter[str]:
    """Run them all, two at a time; returns the sums of what they tell."""
    total: Counter[str] = Counter()
    waiting = list(asked)
    going: list[tuple[dict[str, Any], subprocess.Popen[str]]] = []
    while waiting or going:
        while waiting and len(going) < PARALLEL:
            one = waiting.pop(0)
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.power", json.dumps(one)],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            going.append((one, process))
        one, process = going.pop(0)
        out, error = process.communicate()
        assert out, f"{one} ended without a word: {error[-2000:]}"
        told = json.loads(out)
        assert [] == told["failures"], f"replay with `python -m tests.faults.power '{json.dumps(one)}'`\n" + "\n".join(
            told["failures"]
        )
        total.update({key: told[key] for key in ("images", "missing", "deeply", "detected", "reports", "packs")})
        total.update(told["by_mode"])
        total.update({f"{key}s": value for key, value in told["counts"].items()})
    return total


def run_of(seed: int, level: str, pages: int, images: int, *, share: float = 0.15, **more: Any) -> dict[str, Any]:
    return {
        "seed": seed,
        "level": level,
        "pages": pages,
        "images": images,
        "share": share,
        "deep": 40,
        "lies": False,
    } | more


def test_nothing_acknowledged_at_disk_is_lost_by_a_power_cut() -> None:
    total = runs([run_of(1, "disk", 8, 50, deep=25), run_of(2, "disk", 50, 50, deep=25)])
    assert total["images"] >= 100
    assert 0 == total["missing"]
    # Each mode, a checkpoint among what was cut short, and a look as a user's.
    assert min(total["drop"], total["subset"], total["torn"], total["syncs"], total["deeply"]) > 0


def test_nothing_of_a_pack_that_was_flushed_is_lost_by_a_power_cut() -> None:
    total = runs([run_of(seed, "queued", 8, 50, deep=25) for seed in (5, 6)])
    assert 0 == total["missing"]
    assert min(total["drop"], total["subset"], total["torn"], total["syncs"], total["deeply"]) > 0
    assert total["packs"] > 0


def test_what_a_power_cut_leaves_at_os_is_a_beginning_and_the_loss_is_seen() -> None:
    """The same harness sees acknowledged reports missing here, so it would see them above."""
    total = runs([run_of(8, "os", 50, 60)])
    assert total["missing"] > 0


def test_a_disk_that_lies_about_its_syncs_is_found_out() -> None:
    """Never a wrong number: the file is set aside, or refused, or what it holds is whole."""
    total = runs([run_of(4, "disk", 8, 40, lies=True)])
    assert total["detected"] > 0


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_a_disk_that_lies_is_found_out_whatever_it_loses() -> None:
    total = runs([run_of(300 + seed, "disk", pages, 40, lies=True) for seed in range(40) for pages in (8, 50)])
    assert total["images"] >= 3000
    assert total["detected"] > 0


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_twenty_thousand_images() -> None:
    disk = [run_of(100 + seed, "disk", pages, 500) for seed in range(10) for pages in (8, 50, 400)]
    disk += [run_of(300 + seed, "queued", pages, 500) for seed in range(3) for pages in (8, 50, 400)]
    os_ = [run_of(200 + seed, "os", pages, 500) for seed in range(4) for pages in (8, 50, 400)]
    lost = runs(disk)
    prefix = runs(os_)
    print(f"\ndisk: {dict(lost)}\nos: {dict(prefix)}")
    assert lost["images"] + prefix["images"] >= 20_000
    assert 0 == lost["missing"]
    assert prefix["missing"] > 0
    assert min(lost["drop"], lost["subset"], lost["torn"], lost["deeply"], lost["truncates"]) > 0
