"""`portway plan`, `apply` and `export`, in front of a running API."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.toml_text import build_toml
from tests.unit.gateway.actions.authorities import ROOT, SERVER
from tests.unit.gateway.actions.rows import add_connection

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns
    from tests.unit.gateway.cli.objects.conftest import Terminal

PAGE = Path(__file__).parents[5] / "docs" / "declarations.md"


class Declared:
    """A file, and the commands about it."""

    def __init__(self, terminal: Terminal, path: Path) -> None:
        self.terminal = terminal
        self.path = path

    def write(self, **endpoint: Any) -> Declared:
        values = {"name": "staff", "client_cidr_block": "10.90.0.0/22", "target_network": [{"name": "office"}]}
        self.path.write_text(build_toml({"endpoint": [values | endpoint]}))
        return self

    def plan(self, *options: str) -> str:
        return self.terminal.ok("plan", str(self.path), *options)

    def apply(self, *options: str) -> str:
        return self.terminal.ok("apply", str(self.path), "--yes", *options)


@pytest.fixture
def declared(terminal: Terminal, arns: Arns, office: str, tmp_path: Path) -> Declared:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_bytes(ROOT.pem)
    (tmp_path / "pki" / "server.crt").write_bytes(SERVER.pem + ROOT.pem)
    (tmp_path / "pki" / "server.key").write_bytes(SERVER.key_pem)
    (tmp_path / "pki" / "server.key").chmod(0o600)
    return Declared(terminal, tmp_path / "endpoints.toml")


@pytest.fixture
def minimal(arns: Arns) -> dict[str, Any]:
    return {
        "server_certificate": arns.server,
        "authentication": {"client_root_certificate_chain": arns.root},
        "authorization_rule": [{"destination": "10.20.0.0/24", "group": "engineering"}],
    }


def test_a_plan_is_shown_carried_out_and_then_there_is_nothing_to_do(
    declared: Declared, minimal: dict[str, Any]
) -> None:
    shown = declared.write(**minimal).plan()
    assert '+ endpoint "staff"\n' in shown
    assert '+ endpoint "staff": target network "office"\n' in shown
    assert '+ the group "engineering" gains 10.20.0.0/24 at endpoint "staff"\n' in shown
    assert "3 to create.\n" in shown
    assert declared.terminal.json("endpoint", "list") == []
    assert declared.apply() == shown.partition("\n\nDigest")[0] + "\n"
    assert declared.plan().startswith("Nothing to do")


def test_a_change_says_what_was_and_who_notices(declared: Declared, minimal: dict[str, Any], store: Store) -> None:
    declared.write(**minimal).apply()
    (endpoint,) = declared.terminal.json("endpoint", "list")
    add_connection(
        store, endpoint_id=endpoint["ClientVpnEndpointId"], common_name="ana", groups=["engineering"], ended_at=None
    )
    rules = [{"destination": "10.20.0.0/25", "group": "engineering"}]
    shown = declared.write(**minimal | {"authorization_rule": rules, "vpn_port": 1194}).plan()
    assert "    vpn_port: 443 → 1194\n" in shown
    assert '- the group "engineering" loses 10.20.0.128/25 at endpoint "staff"\n' in shown
    assert '! ana at endpoint "staff": reconnects, needs a new profile, access changes; loses 10.20.0.128/25\n' in shown


def test_what_is_expected_is_done_and_nothing_else(declared: Declared, minimal: dict[str, Any]) -> None:
    declared.write(**minimal)
    digest = declared.terminal.json("plan", str(declared.path))["Digest"]
    declared.terminal.ok("apply", str(declared.path), "--expect", digest)
    said = declared.terminal.refused("apply", str(declared.path), "--expect", digest)
    assert "has changed since" in said


def test_where_nobody_can_be_asked_it_asks_for_a_yes(declared: Declared, minimal: dict[str, Any]) -> None:
    assert "Say --yes" in declared.write(**minimal).terminal.refused("apply", str(declared.path))
    assert declared.terminal.json("endpoint", "list") == []


@pytest.mark.parametrize(("answer", "made"), [("y\n", 1), ("n\n", 0)])
def test_on_a_terminal_it_asks(
    declared: Declared, minimal: dict[str, Any], monkeypatch: pytest.MonkeyPatch, answer: str, made: int
) -> None:
    monkeypatch.setattr("gateway.cli.objects.declaration._is_terminal", lambda: True)
    path = declared.write(**minimal).path
    words = ["apply", str(path), "--config", str(path.parent / "config.toml")]
    result = CliRunner().invoke(app, words, input=answer)
    assert '+ endpoint "staff"' in result.stderr
    assert result.exit_code == 1 - made
    assert len(declared.terminal.json("endpoint", "list")) == made


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"vpn_prot": 1},
            'endpoint[0].vpn_prot (endpoint "staff"): Is no key of this section; did you mean "vpn_port"?',
        ),
        ({"vpn_port": "443"}, "endpoint[0].vpn_port"),
        ({"server_certificate": "pki/none.crt"}, "endpoint[0].server_certificate"),
        ({"server_certificate": "nobody"}, "endpoint[0].server_certificate: No certificate of the kind server"),
        ({"client_cidr_block": "10.20.0.0/22"}, "endpoint[0].client_cidr_block: 10.20.0.0/22 overlaps"),
        ({"target_network": [{"name": "attic"}]}, "endpoint[0].target_network[0].name: No host offers"),
        ({"target_network": [{"name": "office", "interface": "eth7"}]}, "endpoint[0].target_network[0].interface"),
        ({"route": [{"destination": "10.40.0.0/16", "target": "lab"}]}, "endpoint[0].route[0].target"),
    ],
)
def test_what_is_wrong_is_named_by_its_place_in_the_file(
    declared: Declared, minimal: dict[str, Any], changes: dict[str, Any], sentence: str
) -> None:
    assert sentence in declared.write(**minimal | changes).terminal.refused("plan", str(declared.path))


def test_certificates_in_files_are_those_of_the_store_where_they_are_the_same(
    declared: Declared, minimal: dict[str, Any], arns: Arns
) -> None:
    files = {
        "server_certificate": "pki/server.crt",
        "server_key": "pki/server.key",
        "authentication": {"client_root_certificate_chain": "pki/ca.crt"},
    }
    declared.write(**minimal | files).apply()
    (endpoint,) = declared.terminal.json("endpoint", "list")
    assert endpoint["ServerCertificateArn"] == arns.server
    assert len(declared.terminal.json("certificate", "list")) == 2


def test_the_documentation_s_example_can_be_applied(declared: Declared) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    declared.path.write_text(example[1])
    declared.apply()
    assert declared.plan().startswith("Nothing to do")


def test_an_export_is_a_file_that_changes_nothing(declared: Declared, minimal: dict[str, Any], tmp_path: Path) -> None:
    declared.write(**minimal | {"tags": {"owner of": 'a "quoted" \\ name'}, "login_banner": "two\nlines"}).apply()
    declared.path.write_text(declared.terminal.ok("export"))
    assert declared.plan().startswith("Nothing to do")
    assert declared.plan("--prune").startswith("Nothing to do")
    written = tmp_path / "written.toml"
    assert declared.terminal.ok("export", "--output", str(written)) == ""
    assert written.read_text() == declared.path.read_text()
    assert declared.terminal.json("export") == tomllib.loads(written.read_text())


def test_what_is_not_named_is_pruned_when_asked(declared: Declared, minimal: dict[str, Any]) -> None:
    declared.write(**minimal).apply()
    declared.path.write_text("")
    assert declared.plan().startswith("Nothing to do")
    assert "- everyone" not in declared.plan("--prune")
    assert '- endpoint "staff"\n' in declared.apply("--prune")
    (endpoint,) = declared.terminal.json("endpoint", "list")
    assert endpoint["Status"]["Code"] == "deleting"
