"""What Portway does, shown in a minute: `make demo`.

A stock OpenVPN client, the gateway and two target networks, each in a network namespace. Everything that is shown is
what the real commands print; nothing is left behind.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tests.lab import (
    OFFICE_HOST,
    PORTWAY,
    VAULT_HOST,
    WEB_PORT,
    Gateway,
    Lab,
    LabError,
    OpenVpnClient,
    build_toml,
    endpoint,
    gateway_config,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

PICTURE = """
    laptop ════ tunnel ════ gateway ─┬─ office 10.20.0.0/24   for the group engineering
                                     └─ vault  10.30.0.0/24   for the group finance
"""

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    if os.geteuid():
        sys.exit("The demo makes network namespaces, so it has to run as root.")
    try:
        with tempfile.TemporaryDirectory(prefix="portway-demo-") as scratch, Lab(Path(scratch)) as lab:
            console.print(PICTURE, style="dim")
            Demo(Path(scratch), lab).run()
    except LabError as error:
        sys.exit(str(error))
    console.print("\nThe namespaces, and everything in them, are gone again.", style="dim")


class Demo:
    """The story, in the order in which it is told. All commands run in one directory."""

    def __init__(self, directory: Path, lab: Lab) -> None:
        self.directory = directory
        self.lab = lab
        self.config = gateway_config(directory / "state", endpoint())

    def run(self) -> None:
        self.lab.start_web_servers()
        self.make_certificates()
        self.check_configuration()
        with self.serve() as gateway:
            with self.connect():
                self.reach_targets()
                self.ask_why()
            self.read_log(gateway)

    def make_certificates(self) -> None:
        heading("An authority, a certificate for the gateway, and one for alice, who is in the group engineering")
        self.portway("pki", "init")
        self.portway("pki", "server", "server")
        self.portway("pki", "client", "alice", "--group", "engineering")

    def check_configuration(self) -> None:
        heading("One file says everything")
        text = build_toml(self.config)
        (self.directory / "config.toml").write_text(text)
        self.shell("gateway", "grep", "-A2", "authorization_rule", "config.toml")
        self.portway("check")

    def serve(self) -> Gateway:
        heading("The gateway runs")
        prompt("gateway", "portway serve &")
        gateway = Gateway(self.lab.gateway, self.directory, self.config, log=self.lab.log("gateway"))
        output(gateway.text())
        return gateway

    def connect(self) -> OpenVpnClient:
        heading("alice gets a profile, and connects with the stock OpenVPN client")
        self.portway("profile", "alice", "--remote", self.lab.gateway_address(), "--output", "alice.ovpn")
        prompt("laptop", "openvpn --config alice.ovpn &")
        client = OpenVpnClient(self.lab.client, self.directory / "alice.ovpn", log=self.lab.log("client"))
        connected = client.wait_connected()
        output(f"{connected.device}: {connected.address}, {connected.cipher}, {connected.tls}")
        output("\n".join(option for option in connected.pushed if option.startswith("route ")))
        return client

    def reach_targets(self) -> None:
        heading("What a rule allows, she reaches; what no rule allows, she does not")
        self.shell("laptop", "ping", "-n", "-c", "3", "-i", "0.2", OFFICE_HOST)
        url = f"http://{OFFICE_HOST}:{WEB_PORT}/bytes/10000000"
        self.shell("laptop", "curl", "-s", "-o", "/dev/null", "-w", "%{size_download} octets, status %{http_code}", url)
        self.shell("laptop", "ping", "-n", "-c", "3", "-i", "0.2", "-w", "1", VAULT_HOST)

    def ask_why(self) -> None:
        heading("Why? The gateway explains itself")
        self.portway("connections")
        self.portway("explain", "--groups", "engineering", "--to", VAULT_HOST)

    def read_log(self, gateway: Gateway) -> None:
        heading("She has left; who was here is in the connection log, in AWS Client VPN's terms")
        gateway.wait_for_record(connection_log_type="connection-reset", common_name="alice")
        self.shell("gateway", "sh", "-c", "tail -n 1 state/connections.log | python3 -m json.tool")

    def portway(self, *args: str) -> None:
        self.shell("gateway", str(PORTWAY), *args, shown=["portway", *args])

    def shell(self, where: str, *args: str, shown: Sequence[str] = ()) -> None:
        """Run a command on a host and show both."""
        prompt(where, args[-1] if args[0] == "sh" else shlex.join(shown or args))
        host = self.lab.gateway if where == "gateway" else self.lab.client
        result = subprocess.run(
            host.command(*args),
            cwd=self.directory,
            env={**os.environ, "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        output(result.stdout)


def heading(text: str) -> None:
    console.print(f"\n# {text}", style="bold")


def prompt(where: str, command: str) -> None:
    console.print(Text.assemble((f"{where}$ ", "green"), (command, "bold")))


def output(text: str) -> None:
    console.print(Text(text.rstrip()))


if __name__ == "__main__":
    main()
