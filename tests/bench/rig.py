"""One server in a lab, and the clients that a measurement puts before it."""

from __future__ import annotations

import json
import re
import signal
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.bench.cost import usage
from tests.bench.scenarios import Peer
from tests.bench.servers import PORT, client_profile
from tests.lab import LabError, OpenVpnClient, Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.cost import Usage
    from tests.bench.scenarios import Setting
    from tests.bench.servers import Material
    from tests.lab import Lab, Namespace

__all__ = ["Figures", "LoadProcess", "Rig"]

Figures = dict[str, float]
"""What was measured, by names such as `up.mbit_per_s`; `tests.bench.figures` says what they mean."""

LOAD_S = 300
"""The longest that a part of a load may take: five thousand handshakes, on a machine that does other things too."""
NICE = {"hold": 19, "watch": 19, "flood": 19, "source": 19, "echo": 19}
"""Where a load competes with the server for a core, the server has precedence, so that it is what is measured. Those
that count what arrives are its equals, so that nothing is lost only there."""


class LoadProcess(Process):
    """One `tests.bench.load`."""

    def ready(self) -> dict[str, Any]:
        """What it has prepared."""
        return self._said("ready")

    def begin(self) -> None:
        """Let it do what it has prepared for."""
        self.ready()
        self.signal(signal.SIGUSR1)

    def result(self) -> dict[str, Any]:
        """What came of it."""
        return self._said("done")

    def _said(self, word: str) -> dict[str, Any]:
        said = self.wait_for(rf'^{{"said": "{word}".*}}$', within_s=LOAD_S)[0]
        facts: dict[str, Any] = json.loads(said)
        return facts


@dataclass(frozen=True, slots=True)
class Rig:
    """A running server, and where it runs."""

    lab: Lab
    material: Material
    setting: Setting
    server: Process
    library: Path
    """The compiled load client."""
    seconds: float
    """How long a transfer takes."""

    def spent(self) -> Usage:
        """What the server has cost so far."""
        return usage(self.server.pid)

    @contextmanager
    def clients(self, peer: Peer, count: int = 1) -> Iterator[list[Process]]:
        """Clients with a TUN device, one in each client's namespace, connected."""
        with ExitStack() as stack:
            start = self._stock if peer is Peer.STOCK else self._tunnel
            yield [stack.enter_context(start(number)) for number in range(1, count + 1)]

    def _stock(self, number: int) -> Process:
        profile = client_profile(self.lab, self.material, self.setting, number)
        client = OpenVpnClient(self.lab.clients[number - 1], profile, log=self.lab.log("client"))
        try:
            client.wait_connected()
        except BaseException:
            client.kill()
            raise
        return client

    def _tunnel(self, number: int) -> Process:
        client = self.load("tunnel", number=number)
        try:
            client.ready()
        except BaseException:
            client.kill()
            raise
        return client

    def load(self, role: str, *options: object, number: int = 1, nice: int | None = None) -> LoadProcess:
        """A load that connects clients from the namespace of the given number; `nice` is its role's without another."""
        access = [
            *("--server", f"{self.lab.gateway_address(number)}:{PORT}"),
            *("--material", self.material.directory),
            *("--cipher", self.setting.cipher),
            "--offload" if self.setting.udp_offload else "--no-offload",
        ]
        return self._start(self.lab.clients[number - 1], role, *access, *options, nice=nice)

    def office(self, role: str, *options: object) -> LoadProcess:
        """A load on the far side, in the office."""
        return self._start(self.lab.office, role, *options)

    def _start(self, namespace: Namespace, role: str, *options: object, nice: int | None = None) -> LoadProcess:
        if self.setting.transport != "udp":
            raise LabError("the load client speaks UDP only")
        python = [
            "nice",
            "-n",
            str(NICE.get(role, 0) if nice is None else nice),
            sys.executable,
            "-m",
            "tests.bench.load",
        ]
        arguments = [role, "--library", self.library, *options]
        command = namespace.command(*python, *(str(argument) for argument in arguments))
        return LoadProcess(command, log=self.lab.log(role))


def device_of(client: Process) -> str:
    """The TUN device of a client from `Rig.clients`."""
    found = re.findall(r'TUN/TAP device (\S+) opened|"device": "(\S+?)"', client.text())
    if not found:
        raise LabError(f"{client.name} did not say which device it has\n{client.tail()}")
    return str(found[-1][0] or found[-1][1])
