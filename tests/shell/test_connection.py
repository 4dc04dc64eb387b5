"""What is refused before a file is touched: an old SQLite, and a file system on which its locks do not work."""

import os
import sys
from pathlib import Path

import pytest

from stigg_local import AccessDeniedReason, Stigg, StoreError
from stigg_local.store import connection
from tests.shell.clients import CATALOG


@pytest.mark.parametrize(
    ("version", "refused"), [("3.40.1", True), ("3.51.2", True), ("3.51.3", False), ("3.60.0", False)]
)
def test_an_sqlite_whose_log_can_lose_commits_is_refused(version: str, refused: bool) -> None:
    """The versions before 3.51.3 can reset the log under a writer."""
    if refused:
        with pytest.raises(StoreError, match=version):
            connection.check_version(version)
    else:
        connection.check_version(version)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hosts do not share the memory that the log is coordinated by."""
    monkeypatch.setattr(connection, "file_system_type", lambda path: kind)
    with pytest.raises(StoreError, match=kind):
        Stigg(catalog=CATALOG, data_dir=tmp_path / "stigg")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has /proc")
def test_the_file_system_of_a_path_is_told() -> None:
    """On Linux the kernel's list of mounts says it; `/proc` is one that is always there."""
    assert "proc" == connection.file_system_type("/proc")


def test_a_directory_that_is_read_only_is_served(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads go on, writes say why they cannot, and nothing in the directory changes."""
    with Stigg(catalog=CATALOG, data_dir=data_dir) as writer:
        writer.provision_customer("acme", subscription_params={"plan_id": "plan-app"})
        writer.report_usage("acme", "feature-calls", 2)
    before = {path.name: path.read_bytes() for path in data_dir.iterdir() if path.suffix != ".db-shm"}
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with Stigg(data_dir=data_dir) as client:
        assert 2 == client.get_metered_entitlement("acme", "feature-calls").current_usage
        assert AccessDeniedReason.CustomerNotFound == client.get_boolean_entitlement("b", "x").access_denied_reason
        with pytest.raises(StoreError, match="read-only"):
            client.report_usage("acme", "feature-calls", 1)
        status = client.status()
        assert ("FRESH", "readonly") == (status.state, (status.storage or {})["storage"])
    after = {path.name: path.read_bytes() for path in data_dir.iterdir() if path.suffix != ".db-shm"}
    assert {name: body for name, body in before.items() if "shm" not in name} == {
        name: body for name, body in after.items() if "shm" not in name
    }
