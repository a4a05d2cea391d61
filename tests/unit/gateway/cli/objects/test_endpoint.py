from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.gateway.actions.authorities import Arns
    from tests.unit.gateway.cli.objects.conftest import Terminal


def test_an_endpoint_is_made_listed_shown_changed_and_deleted(terminal: Terminal, staff: str) -> None:
    listing = terminal.ok("endpoint", "list")
    assert staff in listing
    assert "pending-associate" in listing
    assert "staff" in listing
    said = terminal.ok("endpoint", "modify", "staff", "--full-tunnel", "--dns", "10.20.0.53", "--session-hours", "8")
    assert said == f"{staff} is changed.\n"
    shown = terminal.json("endpoint", "show", "staff")
    assert (shown["SplitTunnel"], shown["DnsServers"], shown["SessionTimeoutHours"]) == (False, ["10.20.0.53"], 8)
    terminal.ok("endpoint", "modify", "--no-dns")
    assert not terminal.json("endpoint", "show")["DnsServers"]
    assert terminal.ok("endpoint", "delete", "staff") == f"{staff} is being deleted.\n"


def test_what_becomes_of_sessions_and_their_records_is_said_and_changed(
    terminal: Terminal, staff: str, arns: Arns
) -> None:
    assert terminal.json("endpoint", "show", "staff")["ConnectionLogOptions"]["CloudwatchLogGroup"] == "default"
    terminal.ok(
        *("endpoint", "modify", "staff", "--reconnect-on-timeout", "--banner", "For work only.", "--enforce-routes"),
        *("--log-group", "vpn", "--log-stream", "people"),
    )
    shown = terminal.json("endpoint", "show", "staff")
    assert shown["DisconnectOnSessionTimeout"] is False
    assert shown["ClientLoginBannerOptions"] == {"Enabled": True, "BannerText": "For work only."}
    assert shown["ClientRouteEnforcementOptions"] == {"Enforced": True}
    log = shown["ConnectionLogOptions"]
    assert (log["CloudwatchLogGroup"], log["CloudwatchLogStream"]) == ("vpn", "people")
    terminal.ok("endpoint", "modify", "staff", "--disconnect-on-timeout", "--banner", "", "--log-group", "")
    shown = terminal.json("endpoint", "show", "staff")
    assert shown["DisconnectOnSessionTimeout"] is True
    assert (shown["ClientLoginBannerOptions"], shown["ConnectionLogOptions"]["Enabled"]) == ({"Enabled": False}, False)
    assert shown["ClientRouteEnforcementOptions"] == {"Enforced": True}


def test_a_log_group_that_there_is_not_is_answered_with_those_that_there_are(terminal: Terminal, staff: str) -> None:
    assert "default, vpn" in terminal.refused("endpoint", "modify", "staff", "--log-group", "nowhere")


def test_a_record_is_printed_whole_for_people(terminal: Terminal, staff: str) -> None:
    lines = [line.split() for line in terminal.ok("endpoint", "show", staff).splitlines()]
    assert ["ClientCidrBlock", "10.90.0.0/22"] in lines
    assert ["Status.Code", "pending-associate"] in lines
    assert ["AuthenticationOptions[1].Type", "certificate-authentication"] in lines


def test_certificates_may_be_named(terminal: Terminal, arns: Arns) -> None:
    names = {one["CertificateArn"]: one["Name"] for one in terminal.json("certificate", "list")}
    made = terminal.json(
        *("endpoint", "create", "--client-cidr-block", "10.91.0.0/22"),
        *("--server-certificate", names[arns.server], "--client-root", names[arns.root]),
    )
    shown = terminal.json("endpoint", "show", made["ClientVpnEndpointId"])
    assert shown["ServerCertificateArn"] == arns.server


def test_a_name_that_nothing_has_is_answered_with_those_that_there_are(terminal: Terminal, staff: str) -> None:
    assert terminal.refused("endpoint", "show", "staf") == (
        f'There is no endpoint "staf". There are: staff ({staff}).\n'
    )
    create = ("endpoint", "create", "--client-cidr-block", "10.91.0.0/22", "--client-root", "ca")
    assert "No authority certificate is called" in terminal.refused(*create, "--server-certificate", "arn:x")


def test_several_endpoints_have_to_be_told_apart(terminal: Terminal, staff: str, arns: Arns) -> None:
    terminal.ok(
        *("endpoint", "create", "--client-cidr-block", "10.91.0.0/22", "--port", "1194"),
        *("--server-certificate", arns.server, "--client-root", arns.root, "--name", "guests"),
    )
    said = terminal.refused("rule", "list")
    assert said.startswith("There are several endpoints. Say which one is meant: ")
    assert f"staff ({staff})" in said
    assert "guests (cvpn-endpoint-" in said


def test_without_an_endpoint_it_says_how_to_make_one(terminal: Terminal) -> None:
    assert terminal.ok("endpoint", "list") == ""
    assert terminal.refused("rule", "list") == "There is no endpoint. Make one with `portway endpoint create`.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Say what to change"),
        (("--dns", "10.0.0.1", "--no-dns"), "not both"),
        (("--log-stream", "x"), "Say --log-group with --log-stream"),
    ],
)
def test_a_change_that_says_nothing_or_two_things_is_refused(
    terminal: Terminal, staff: str, words: tuple[str, ...], sentence: str
) -> None:
    assert sentence in terminal.refused("endpoint", "modify", staff, *words)


def test_what_the_api_refuses_is_its_sentence_and_status_1(terminal: Terminal, arns: Arns, staff: str) -> None:
    again = ("endpoint", "create", "--client-cidr-block", "10.90.0.0/22")
    said = terminal.refused(*again, "--server-certificate", arns.server, "--client-root", arns.root)
    assert "10.90.0.0/22" in said


def test_the_profile_is_printed_or_written_to_a_new_file(terminal: Terminal, staff: str, tmp_path: Path) -> None:
    printed = terminal.ok("endpoint", "export", staff)
    assert "\nclient\n" in printed
    file = tmp_path / "staff.ovpn"
    assert terminal.ok("endpoint", "export", staff, "--output", str(file)) == ""
    assert file.read_text().strip() == printed.strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "cannot be written: File exists" in terminal.refused("endpoint", "export", staff, "-o", str(file))
