"""The lab: clients, a gateway and two target networks, each a namespace, joined by veth pairs.

    client1 ── 198.18.1.0/24 ──┐            ┌── office 10.20.0.0/24 ── office host 10.20.0.10
    client2 ── 198.18.2.0/24 ──┤  gateway   │
    …                          └────────────┴── vault  10.30.0.0/24 ── vault host  10.30.0.10

Clients have a second address (.3) to move to. Every host's default route leads to the gateway's namespace, which
forwards nothing until somebody there turns forwarding on: that is Portway's work.
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Self

from tests.lab.namespace import Namespace, sweep_leftovers, unique_prefix
from tests.lab.web import content

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.lab.process import Process

__all__ = ["OFFICE_HOST", "OFFICE_NETWORK", "VAULT_HOST", "VAULT_NETWORK", "WEB_PORT", "Lab"]

OFFICE_NETWORK = "10.20.0.0/24"
OFFICE_HOST = "10.20.0.10"
VAULT_NETWORK = "10.30.0.0/24"
VAULT_HOST = "10.30.0.10"
WEB_PORT = 8080


class Lab:
    """A whole network for as long as the `with` block lasts. `directory` takes the logs.

    With `machines_apart`, hosts receive in kernel threads of their own, as machines of their own would. Otherwise the
    kernel takes a packet through the receiving host in the name of whoever sent it.
    """

    def __init__(self, directory: Path, *, clients: int = 1, machines_apart: bool = False) -> None:
        self.directory = directory
        self._machines_apart = machines_apart
        self._prefix = unique_prefix()
        self._client_count = clients
        self._namespaces: list[Namespace] = []
        self._processes: list[Process] = []
        self._logs = 0

    def __enter__(self) -> Self:
        sweep_leftovers()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _build(self) -> None:
        self.gateway = self._namespace("gateway")
        self.clients = [self._namespace(f"client{number}") for number in range(1, self._client_count + 1)]
        self.office = self._namespace("office")
        self.vault = self._namespace("vault")
        for number, client in enumerate(self.clients, 1):
            self._join(client, f"client{number}", f"198.18.{number}.2", f"198.18.{number}.1")
            client.ip(f"address add 198.18.{number}.3/24 dev eth0")
        self._join(self.office, "office", OFFICE_HOST, "10.20.0.1")
        self._join(self.vault, "vault", VAULT_HOST, "10.30.0.1")

    def _namespace(self, name: str) -> Namespace:
        namespace = Namespace(self._prefix + name)
        self._namespaces.append(namespace)
        namespace.ip("link set lo up")
        return namespace

    def _join(self, host: Namespace, gateway_interface: str, address: str, gateway_address: str) -> None:
        """Lead a host's eth0 to an interface of the gateway, which is its default route."""
        host.ip(
            f"link add eth0 type veth peer name {gateway_interface} netns {self.gateway.name}",
            f"address add {address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {gateway_address}",
        )
        if self._machines_apart:
            # A veth interface has such a thread with GRO only, and uses it for UDP only where that may be forwarded.
            host.run("ethtool", "-K", "eth0", "gro", "on", "rx-udp-gro-forwarding", "on")
            host.run("sh", "-c", "echo 1 >/sys/class/net/eth0/threaded")
        self.gateway.ip(
            f"address add {gateway_address}/24 dev {gateway_interface}",
            f"link set {gateway_interface} up",
        )

    @property
    def client(self) -> Namespace:
        """The first client's host."""
        return self.clients[0]

    def gateway_address(self, client: int = 1) -> str:
        """Where a client reaches the gateway, from outside the tunnel."""
        return f"198.18.{client}.1"

    def log(self, name: str) -> Path:
        """A file for the output of one process; a number tells later ones of the same name apart."""
        self._logs += 1
        return self.directory / f"{self._logs:03}-{name}.log"

    def start(self, namespace: Namespace, *args: str | Path, name: str) -> Process:
        """Run a command for as long as the lab lasts, with its log in the lab's directory."""
        process = namespace.start(*args, log=self.log(name))
        self._processes.append(process)
        return process

    def start_web_servers(self) -> None:
        """Serve files on both targets (see `tests.lab.web`), and wait until they answer."""
        for name, host in (("office", self.office), ("vault", self.vault)):
            command = (sys.executable, "-m", "tests.lab.web", str(WEB_PORT))
            self.start(host, *command, name=f"web-{name}").wait_for("^ready")

    def fetch(self, host: str, path: str, *, client: int = 1, within_s: float = 5) -> str | None:
        """What a client gets from a target's web server; None where it gets no answer."""
        arguments = ["curl", "-sS", "--fail", "--max-time", str(within_s), f"http://{host}:{WEB_PORT}{path}"]
        result = self.clients[client - 1].run(*arguments, check=False)
        return result.stdout if result.returncode == 0 else None

    def fetches_file(self, host: str, size: int, *, client: int = 1, within_s: float = 10) -> bool:
        """Whether a file of so many octets comes from a target to a client, whole and unchanged."""
        url = f"http://{host}:{WEB_PORT}/bytes/{size}"
        command = f"curl -sS --fail --max-time {within_s} {url} | sha256sum"
        result = self.clients[client - 1].run("sh", "-c", command, timeout_s=within_s + 30)
        return result.stdout.split()[0] == hashlib.sha256(content(size)).hexdigest()

    def close(self) -> None:
        """Remove every namespace, and with it everything that runs inside."""
        for process in self._processes:
            process.kill()
        for namespace in self._namespaces:
            namespace.close()
        self._processes.clear()
        self._namespaces.clear()
