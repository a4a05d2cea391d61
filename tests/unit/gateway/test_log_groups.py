from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config import load_config
from gateway.log_groups import open_log_groups
from tests.lab.config import build_toml, endpoint
from tests.unit.gateway.world import pki

if TYPE_CHECKING:
    from pathlib import Path


def test_each_group_has_the_sinks_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "pki").symlink_to(pki().path)
    config = {
        "gateway": {"state_dir": "state", "connection_log": {"stdout": True}},
        "log_group": [
            {"name": "audit", "file": "audit.log", "rotate_mib": 1, "rotate_keep": 2},
            {"name": "journal", "journal": True},
        ],
        "endpoint": [endpoint()],
    }
    (tmp_path / "config.toml").write_text(build_toml(config))
    groups = open_log_groups(load_config(tmp_path / "config.toml").settings)
    state = tmp_path / "state"
    assert {name: [sink.name for sink in sinks] for name, sinks in groups.items()} == {
        "default": [f"file {state}/connections.log", "stdout"],
        "audit": [f"file {state}/audit.log"],
        "journal": ["journal"],
    }
    assert groups["audit"][0].manner == (1024 * 1024, 2)
    assert not (state / "audit.log").exists()
