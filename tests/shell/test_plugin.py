"""The pytest fixtures that come with the package."""

import subprocess
import sys
from pathlib import Path

TEST = """
import pytest

@pytest.fixture
def stigg_catalog():
    return {
        "schema": 1,
        "features": [{"id": "feature-calls", "featureType": "Numeric", "meterType": "Incremental"}],
        "products": [{"id": "product-a"}],
        "plans": [{"id": "plan-a", "productId": "product-a",
                   "entitlements": [{"featureId": "feature-calls", "usageLimit": 3, "resetPeriod": "DAY"}]}],
    }

@pytest.mark.parametrize("used", [1, 2])
def test_each_test_has_a_client_of_its_own(stigg, stigg_clock, used):
    stigg.provision_customer("acme", subscription_params={"plan_id": "plan-a"})
    stigg.report_usage("acme", "feature-calls", used)
    assert stigg.get_metered_entitlement("acme", "feature-calls").current_usage == used
    stigg_clock.advance(days=1)
    assert stigg.get_metered_entitlement("acme", "feature-calls").current_usage == 0
"""


def test_the_fixtures_give_each_test_a_fresh_client(tmp_path: Path) -> None:
    """Blocked under its entry point's name and loaded by its module's, the plugin works installed or not."""
    (tmp_path / "test_app.py").write_text(TEST)
    plugin = ["-p", "no:stigg_local", "-p", "stigg_local.testing.plugin", "-p", "no:randomly", "-p", "no:xdist"]
    root = str(Path(__file__).parents[2])
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.append({root!r}); import pytest; sys.exit(pytest.main())",
            *plugin,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "2 passed" in run.stdout, run.stdout + run.stderr
