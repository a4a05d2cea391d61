"""What OpenSSL is told as it is loaded, each time in a process that has not loaded it yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHAKE_HANDS = """
import sys
from tests.unit.tunnel.link import Link, client_tls
from tunnel.client import ClientConfig

link = Link(ClientConfig(tls=client_tls(sys.argv[1])))
sizes = []
send = link._send
link._send = lambda packet, *, to_server: (to_server or sizes.append(len(packet)), send(packet, to_server=to_server))
link.run(2)
assert link.activated(link.server_events) == [0]
print(sum(sizes))
"""
TICKETS = range(120, 1000)
"""Octets of two of them."""


def run(code: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    inherited = {name: value for name, value in os.environ.items() if name != "OPENSSL_CONF"}
    result = subprocess.run(
        command, env=inherited | environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert not result.returncode, result.stderr
    return result.stdout


def octets_said(code: str, version: str = "1.3", **environment: str) -> int:
    """What the server says in one handshake."""
    return int(run(code + SHAKE_HANDS, version, **environment))


LOAD = "from gateway.openssl_settings import load_openssl; load_openssl()\n"


def test_no_tickets_are_sent_that_nobody_uses() -> None:
    assert octets_said("") - octets_said(LOAD) in TICKETS


def test_tls_1_2_has_none_anyway() -> None:
    # ECDSA signatures differ by some octets.
    assert abs(octets_said("", "1.2") - octets_said(LOAD, "1.2")) < 20


def test_a_file_of_the_hosts_own_goes_before(tmp_path: Path) -> None:
    theirs = tmp_path / "openssl.cnf"
    theirs.write_text("")
    assert octets_said(LOAD, OPENSSL_CONF=str(theirs)) - octets_said(LOAD) in TICKETS


def test_nothing_that_is_started_inherits_it() -> None:
    assert run(LOAD + "import os; print('OPENSSL_CONF' in os.environ)") == "False\n"


@pytest.mark.parametrize("command", ["serve", "quickstart"])
def test_it_is_loaded_before_a_command_loads_another(command: str) -> None:
    code = f"""
import sys
from gateway.cli import COMMANDS

assert "cryptography.hazmat.bindings._rust" not in sys.modules
COMMANDS[{command!r}].load({command!r})
"""
    said = octets_said(code)
    assert octets_said("") - said in TICKETS
