"""A host where systemd runs, and Portway is installed as README tells an administrator to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import OFFICE_HOST, Lab
from tests.lab.systemd_host import DEPENDENCIES, SystemdHost

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
NOT_SOURCES = shutil.ignore_patterns(".*", "tests", "bench-results", "build", "dist", "*.egg-info", "*.so", "*.whl")
SOURCES = "/usr/src/portway"

STRICTER = f"""
[Service]
Environment=PYTHONPATH={DEPENDENCIES}
# What the filter refuses ends the process, so that none of it goes unnoticed. The gateway tries bpf, and does without.
SystemCallErrorNumber=
SystemCallFilter=bpf
# Not so long to wait.
WatchdogSec=5
RestartSec=1
"""
JOURNAL_SINK = """
[gateway.connection_log]
journal = true
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The gateway's default route leads into the office, as a server's leads into its data centre."""
    with Lab(tmp_path_factory.mktemp("systemd")) as lab:
        lab.gateway.ip(f"route add default via {OFFICE_HOST}")
        yield lab


@pytest.fixture(scope="module")
def untouched(lab: Lab) -> str:
    """The network before Portway."""
    return lab.gateway.network_state()


@pytest.fixture(scope="module")
def host(lab: Lab, untouched: str) -> Iterator[SystemdHost]:
    with SystemdHost(lab.gateway, lab.directory / "host", log=lab.log("systemd")) as host:
        shutil.copytree(CHECKOUT, host.path(SOURCES), ignore=NOT_SOURCES)
        for unit in ("portway", "portway-api"):
            drop_in = host.path(f"/etc/systemd/system/{unit}.service.d")
            drop_in.mkdir()
            (drop_in / "stricter.conf").write_text(STRICTER)
        host.run("make", "-C", SOURCES, "install")
        with host.path("/etc/portway/config.toml").open("a") as config:
            config.write(JOURNAL_SINK)
        host.run("systemctl", "reload", "portway")
        yield host
        lab.log("journal").write_text(host.run("journalctl", "--no-pager").stdout)
