import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ServiceManager, socket.socket]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@portway-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0"))
        listening.settimeout(5)
        yield ServiceManager({"NOTIFY_SOCKET": name}, monotonic_ns=lambda: 5_000_000), listening


def test_each_state_is_said_in_systemds_words(manager: tuple[ServiceManager, socket.socket]) -> None:
    service, listening = manager
    service.ready("2 endpoints")
    service.reloading()
    service.stopping()
    service.status("fine")
    service.watchdog()
    assert [listening.recv(1000).decode() for _ in range(5)] == [
        "READY=1\nSTATUS=2 endpoints",
        "RELOADING=1\nMONOTONIC_USEC=5000",
        "STOPPING=1\nSTATUS=Draining",
        "STATUS=fine",
        "WATCHDOG=1",
    ]


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    ServiceManager({}).ready("fine")
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("fine")
    ServiceManager({"NOTIFY_SOCKET": "relative"}).ready("fine")


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_the_manager_looks(
    environment: dict[str, str], interval_s: float | None
) -> None:
    assert ServiceManager(environment, process_id=42).watchdog_interval_s == interval_s
