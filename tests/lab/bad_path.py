"""A `tests.lab.relay` on the client's host, between a stock client and the gateway."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from tests.lab.process import Process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.network import Lab
    from tests.lab.relay import Impairment

__all__ = ["BadPath", "start_relay"]

RELAY_PORT = 11940


class BadPath(Process):
    """A running relay; a client with a profile from `detour` goes through it."""

    def detour(self, profile: Path) -> Path:
        """The same profile with this path in the place of its own remotes."""
        lines = [line.strip() for line in profile.read_text().splitlines()]
        kept = [line for line in lines if not line.startswith(("remote ", "proto "))]
        detour = profile.with_suffix(".detour.ovpn")
        detour.write_text("\n".join([f"remote 127.0.0.1 {RELAY_PORT} udp", *kept, ""]))
        return detour

    def move(self) -> None:
        """Have every client go on from another port, or from the next of the relay's addresses."""
        mark = self.mark()
        self.signal(signal.SIGUSR1)
        self.wait_for("^moved", after=mark)


def start_relay(
    lab: Lab, port: int, faults: Impairment | None = None, *, via: tuple[str, ...] = (), client: int = 1
) -> BadPath:
    """A relay to the gateway's port, once it carries; it sends from the addresses `via` in turn."""
    arguments = [
        *("--listen", f"127.0.0.1:{RELAY_PORT}", "--gateway", f"{lab.gateway_address(client)}:{port}"),
        *(f"--via={address}" for address in via),
    ]
    if faults is not None:
        arguments += [f"--loss={faults.loss}", f"--duplicate={faults.duplicate}", f"--reorder={faults.reorder}"]
    command = lab.clients[client - 1].command(sys.executable, "-m", "tests.lab.relay", *arguments)
    relay = BadPath(command, log=lab.log("relay"))
    relay.wait_for("^ready")
    return relay
