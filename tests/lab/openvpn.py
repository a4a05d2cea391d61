"""The stock OpenVPN program, as a client and as the server that Portway is measured against.

Facts are read from its log at `verb 4`: what it says to a person is what it does.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.process import LabError, Process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.namespace import Namespace

__all__ = [
    "NULL_DEVICE",
    "TRANSPORTS",
    "Connected",
    "OpenVpnClient",
    "generate_key",
    "openvpn_version",
    "start_openvpn_server",
    "without_inlined",
]

CONNECTED = "Initialization Sequence Completed"
CONNECTED_AND_SUMMED_UP = CONNECTED + r"[\s\S]*?Data Channel: cipher .*\n"
NULL_DEVICE = ("--dev", "null", "--ifconfig-noexec", "--route-noexec")
"""A client that only talks: no device, no addresses, so that a hundred fit into one namespace."""
TRANSPORTS = {"udp": ("--proto-force", "udp"), "tcp": ("--proto-force", "tcp-client")}
"""What keeps a client with both kinds of remotes to one of them."""


@dataclass(frozen=True, slots=True)
class Connected:
    """What a client says about its connection."""

    address: str
    device: str
    cipher: str
    tls: str
    """Such as `TLSv1.3`."""
    pushed: tuple[str, ...]
    """The options of PUSH_REPLY, one by one."""


class OpenVpnClient(Process):
    """A stock client, running from the moment that it is made."""

    def __init__(self, namespace: Namespace, profile: Path, *options: str | Path, log: Path) -> None:
        self.namespace = namespace
        arguments = ["openvpn", "--config", profile, *options, "--verb", "4", "--suppress-timestamps"]
        super().__init__(namespace.command(*arguments), log=log)

    def wait_connected(self, *, within_s: float = 20, after: int = 0) -> Connected:
        """What it says once it is configured; `after` (a `mark`) skips earlier connections of the same process."""
        self.wait_for(CONNECTED_AND_SUMMED_UP, within_s=within_s, after=after)
        said = self.text()[after:]
        pushed = _last(r"PUSH: Received control message: 'PUSH_REPLY,(.*)'", said)
        return Connected(
            address=_last(r"[',]ifconfig ([\d.]+) ", said),
            device=_last(r"TUN/TAP device (\S+) opened", said, missing="null"),
            cipher=_last(r"Data Channel: cipher '([\w-]+)'", said),
            tls=_last(r"Control Channel: (TLSv[\d.]+)", said),
            pushed=tuple(pushed.split(",")),
        )

    def ping(self, address: str, *, within_s: float = 2, size: int = 56) -> bool:
        """Whether an echo comes back through this client's device, whatever other tunnels the host has."""
        device = _last(r"TUN/TAP device (\S+) opened", self.text())
        return self.namespace.ping(address, within_s=within_s, interface=device, size=size)


def _last(pattern: str, text: str, missing: str | None = None) -> str:
    found = re.findall(pattern, text)
    if found:
        return str(found[-1])
    if missing is None:
        raise LabError(f"the client did not say {pattern!r}")
    return missing


def start_openvpn_server(namespace: Namespace, config: Path, *options: str, log: Path) -> Process:
    """OpenVPN's own server, once it listens."""
    server = namespace.start("openvpn", "--config", config, "--verb", "3", *options, log=log)
    server.wait_for(CONNECTED)
    return server


def generate_key(kind: str, path: Path, *options: str | Path) -> Path:
    """Have OpenVPN make a key file: kind `secret`, `tls-crypt-v2-server` or `tls-crypt-v2-client`."""
    subprocess.run(["openvpn", *options, "--genkey", kind, path], check=True, capture_output=True)
    return path


def without_inlined(profile: Path, *tags: str) -> Path:
    """The same profile without some of its inlined files, which then come from the command line."""
    text = profile.read_text()
    for tag in tags:
        text = re.sub(rf"<{tag}>.*</{tag}>\n", "", text, flags=re.DOTALL)
    stripped = profile.with_suffix(".stripped.ovpn")
    stripped.write_text(text)
    return stripped


def openvpn_version() -> str:
    """Such as `2.6.14`."""
    output = subprocess.run(["openvpn", "--version"], capture_output=True, text=True, check=False).stdout
    return output.split()[1]
