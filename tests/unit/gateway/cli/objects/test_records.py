"""Connections, logs, accounts, keys, certificates, tags and lists."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from typer import Exit

from gateway.cli.objects.moments import parse_moment
from tests.unit.gateway.actions.authorities import ROOT
from tests.unit.gateway.actions.rows import add_connection
from tests.unit.gateway.certificate_maker import make_crl

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns
    from tests.unit.gateway.api.site import ApiSite
    from tests.unit.gateway.cli.objects.conftest import Terminal

CONNECTION = "cvpn-connection-0123456789abcdef0"


def test_connections_are_listed_shown_and_ended(terminal: Terminal, store: Store, staff: str) -> None:
    add_connection(store, CONNECTION, endpoint_id=staff, common_name="ana", ended_at=None, status_code="active")
    assert "ana" in terminal.ok("connection", "list")
    assert terminal.json("connection", "show", CONNECTION)["Status"]["Code"] == "active"
    assert terminal.ok("connection", "delete", CONNECTION) == f"{CONNECTION} is terminating.\n"
    assert "either a connection's id, or --user" in terminal.refused("connection", "delete")


def test_watching_is_not_for_programs(terminal: Terminal, staff: str) -> None:
    assert terminal.refused("connection", "list", "--watch", "--json") == (
        "--watch is for people; programs ask again.\n"
    )


def test_who_changed_what_is_listed_and_shown(terminal: Terminal, staff: str) -> None:
    (event,) = terminal.json("audit", "list", "--action", "CreateClientVpnEndpoint")
    assert event["ResourceId"] == staff
    assert event["CallerId"].startswith("socket:")
    assert terminal.json("audit", "show", event["EventId"])["Outcome"] == "ok"
    assert terminal.json("audit", "list", "--until", "2020-01-01", "--since", "2019-01-01") == []


def test_the_log_and_usage_are_empty_at_first(terminal: Terminal, staff: str) -> None:
    assert terminal.json("log", "list", "--since", "7d", "--outcome", "failed") == []
    assert terminal.json("usage", "list", "--by", "user")["UsageRecords"] == []
    assert "Say endpoint, user or group." in terminal.refused("usage", "list", "--by", "planet")


def test_usage_comes_as_csv(terminal: Terminal, staff: str) -> None:
    (header, *rows) = csv.reader(io.StringIO(terminal.ok("usage", "list", "--csv")))
    assert header[0] == "ClientVpnEndpointId"
    assert all(len(row) == len(header) for row in rows)


def test_an_access_key_works_from_elsewhere_until_it_is_disabled(terminal: Terminal, site: ApiSite, staff: str) -> None:
    made = dict(line.split("=") for line in terminal.ok("access-key", "create", "--role", "read-only").splitlines())
    key = made["AWS_ACCESS_KEY_ID"]
    environment = {
        "PORTWAY_API_URL": site.url,
        "PORTWAY_ACCESS_KEY_ID": key,
        "PORTWAY_SECRET_ACCESS_KEY": made["AWS_SECRET_ACCESS_KEY"],
        "PORTWAY_CA_BUNDLE": str(site.ca_file),
    }
    assert staff in terminal.type("endpoint", "list", **environment).stdout
    refused = terminal.type("endpoint", "delete", "staff", **environment)
    assert refused.exit_code == 1
    assert terminal.json("access-key", "show", key)["Role"] == "read-only"
    terminal.ok("access-key", "modify", key, "--disable")
    assert "Inactive" in terminal.ok("access-key", "list")
    assert terminal.type("endpoint", "list", **environment).exit_code == 1
    terminal.ok("access-key", "delete", key)
    assert terminal.refused("access-key", "show", key) == f"There is no access key {key}.\n"


def test_an_api_elsewhere_asks_for_a_key(terminal: Terminal, site: ApiSite) -> None:
    said = terminal.refused("endpoint", "list", "--api-url", site.url)
    assert "PORTWAY_ACCESS_KEY_ID" in said


def test_where_no_api_answers_it_says_so(terminal: Terminal, site: ApiSite) -> None:
    site.socket.unlink()
    said = terminal.refused("endpoint", "list")
    assert said.startswith(f"No API runs at {site.socket}. Start it there: ")


def test_keys_may_be_where_aws_s_own_tools_have_them(terminal: Terminal, site: ApiSite, staff: str) -> None:
    made = terminal.json("access-key", "create", "--role", "read-only")
    environment = {
        "AWS_ACCESS_KEY_ID": made["AccessKey"]["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "PORTWAY_API_URL": site.url,
    }
    untrusted = terminal.type("endpoint", "list", **environment)
    assert untrusted.exit_code == 1
    assert "Name the file of its authority in PORTWAY_CA_BUNDLE" in untrusted.stderr
    assert staff in terminal.type("endpoint", "list", AWS_CA_BUNDLE=str(site.ca_file), **environment).stdout


def test_certificates_are_imported_from_files(terminal: Terminal, arns: Arns, tmp_path: Path) -> None:
    chain = terminal.json("certificate", "show", arns.root)["CertificateChain"]
    file = tmp_path / "ca.crt"
    file.write_text(chain)
    made = terminal.json("certificate", "create", str(file))["CertificateArn"]
    assert made in terminal.ok("certificate", "list")
    name = terminal.json("certificate", "show", made)["Name"]
    assert "More than one authority certificate is called" in terminal.refused(
        "certificate", "delete", name, "--authority"
    )
    assert terminal.ok("certificate", "delete", made) == f"{made} is deleted.\n"
    assert "No server certificate is called" in terminal.refused("certificate", "delete", name)
    file.write_bytes(b"\xff")
    assert terminal.refused("certificate", "create", str(file)) == f"{file} cannot be read: it is no PEM.\n"
    assert "No such file" in terminal.refused("certificate", "create", str(tmp_path / "none"))


def test_tags_name_things(terminal: Terminal, staff: str) -> None:
    terminal.ok("tag", "create", staff, "Name=workers", "cost-centre=42")
    assert terminal.json("endpoint", "show", "workers")["ClientVpnEndpointId"] == staff
    terminal.ok("tag", "delete", staff, "cost-centre")
    assert [tag["Key"] for tag in terminal.json("tag", "list", staff)] == ["Name"]
    assert "KEY=VALUE" in terminal.refused("tag", "create", staff, "Name")
    assert terminal.ok("tag", "create", "workers", "team=it") == "workers is tagged.\n"
    assert [tag["ResourceId"] for tag in terminal.json("tag", "list", "workers")] == [staff, staff]
    assert 'There is no endpoint "staff"' in terminal.refused("tag", "delete", "staff", "team")


def test_an_endpoint_without_a_list_says_that_nothing_is_revoked(terminal: Terminal, staff: str) -> None:
    assert "nothing is revoked" in terminal.refused("crl", "show")


def test_a_list_is_imported_shown_and_taken_away(terminal: Terminal, staff: str, tmp_path: Path) -> None:
    file = tmp_path / "crl.pem"
    file.write_bytes(make_crl(ROOT).public_bytes(Encoding.PEM))
    assert terminal.ok("crl", "create", str(file)) == f"{staff} has the list of {file}.\n"
    assert terminal.ok("crl", "show", "-e", "staff") == file.read_text()
    assert terminal.ok("crl", "delete") == f"{staff} has no list any more: nothing is revoked.\n"
    assert terminal.refused("crl", "delete") == f"The endpoint {staff} has no revocation list.\n"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T08:30+01:00", datetime(2026, 11, 1, 7, 30, tzinfo=UTC)),
        ("90m", datetime(2026, 11, 1, 22, 30, tzinfo=UTC)),
        ("2d", datetime(2026, 10, 31, tzinfo=UTC)),
    ],
)
def test_times_are_dates_or_how_long_ago(text: str, meant: datetime) -> None:
    assert parse_moment(text, now=datetime(2026, 11, 2, tzinfo=UTC)) == meant


@pytest.mark.parametrize("text", ["yesterday", "90", "2026-13-01", "999999d", "-1h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Exit):
        parse_moment(text, now=datetime(2026, 11, 2, tzinfo=UTC))
