"""Profiles are judged by the stock client: it must take every line, and get as far as sending its first packet."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import load_config
from gateway.profile import Credentials, ProfileError, build_profile, find_server_authority
from policy import ControlChannelProtection, EndpointSpec
from tests.unit.gateway.certificate_maker import Recipe, make_ca
from tests.unit.gateway.config_files import make_pki, write_config
from tunnel.static_key import KeyDirection, parse_static_key
from tunnel.wire import Opcode, opcode_of

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.pki import Authority

Protection = ControlChannelProtection

needs_openvpn = pytest.mark.skipif(shutil.which("openvpn") is None, reason="needs the stock client")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def authority(home: Path) -> Authority:
    return make_pki(home / "pki")


@pytest.fixture(scope="module")
def endpoint(authority: Authority, home: Path) -> EndpointSpec:
    return load_config(write_config(home)).spec.endpoints[0]


@pytest.fixture(scope="module")
def credentials(authority: Authority) -> Credentials:
    files = authority.client_files("alice")
    return Credentials(
        "alice", files.certificate.decode(), files.private_key.decode(), authority.client_tls_crypt_v2_key("alice")
    )


def profile_of(endpoint: EndpointSpec, credentials: Credentials | None, *remotes: str, **options: Any) -> str:
    authority = find_server_authority(endpoint)
    return build_profile(endpoint, credentials, remotes or ["127.0.0.1"], server_authority=authority, **options)


def with_data_channel(endpoint: EndpointSpec, **changes: Any) -> EndpointSpec:
    return dataclasses.replace(endpoint, data_channel=dataclasses.replace(endpoint.data_channel, **changes))


def with_control_channel(endpoint: EndpointSpec, **changes: Any) -> EndpointSpec:
    return dataclasses.replace(endpoint, control_channel=dataclasses.replace(endpoint.control_channel, **changes))


def first_packet(profile: str, directory: Path) -> tuple[bytes, str]:
    """Start the stock client on a profile whose only remote is a socket of ours; return what it sends and says."""
    path = directory / f"client-{os.getpid()}.ovpn"
    path.write_text(profile)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway:
        gateway.bind(("127.0.0.1", 0))
        gateway.settimeout(30)
        port = gateway.getsockname()[1]
        path.write_text(profile.replace("remote 127.0.0.1 443 udp", f"remote 127.0.0.1 {port} udp"))
        command = ["openvpn", "--config", str(path), "--dev", "null"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            try:
                packet = gateway.recv(4096)
            except TimeoutError:
                packet = b""
            client.send_signal(signal.SIGTERM)
            output, _ = client.communicate(timeout=30)
    return packet, output


@needs_openvpn
@pytest.mark.parametrize(
    ("protection", "begins"),
    [
        (Protection.TLS_CRYPT_V2, (Opcode.HARD_RESET_CLIENT_V3, 54 + 299)),
        (Protection.TLS_CRYPT, (Opcode.HARD_RESET_CLIENT_V2, 54)),
        (Protection.TLS_AUTH, (Opcode.HARD_RESET_CLIENT_V2, 42)),
        (Protection.NONE, (Opcode.HARD_RESET_CLIENT_V2, 14)),
    ],
    ids=lambda value: value.value if isinstance(value, Protection) else "",
)
def test_the_stock_client_takes_the_profile_and_begins_as_the_protection_has_it(
    endpoint: EndpointSpec,
    credentials: Credentials,
    tmp_path: Path,
    protection: Protection,
    begins: tuple[Opcode, int],
) -> None:
    packet, output = first_packet(profile_of(endpoint, credentials, protection=protection), tmp_path)
    assert packet, output
    assert (opcode_of(packet), len(packet)) == begins
    assert "WARNING" not in output
    assert "DEPRECATED" not in output


@needs_openvpn
@pytest.mark.parametrize(
    "ciphers",
    [("CHACHA20-POLY1305",), ("AES-128-CBC",), ("CHACHA20-POLY1305", "AES-256-GCM"), ("AES-256-GCM", "AES-256-CBC")],
    ids=":".join,
)
def test_the_stock_client_takes_every_choice_of_ciphers(
    endpoint: EndpointSpec, credentials: Credentials, tmp_path: Path, ciphers: tuple[str, ...]
) -> None:
    changed = with_data_channel(endpoint, data_ciphers=ciphers, mtu=1400)
    packet, output = first_packet(profile_of(changed, credentials, protection=Protection.NONE), tmp_path)
    assert packet, output


@needs_openvpn
@pytest.mark.parametrize("protection", [Protection.TLS_CRYPT, Protection.TLS_AUTH, Protection.NONE])
def test_the_stock_client_takes_a_profile_to_which_certificate_and_key_were_appended(
    endpoint: EndpointSpec, credentials: Credentials, tmp_path: Path, protection: Protection
) -> None:
    incomplete = profile_of(endpoint, None, protection=protection)
    appended = f"<cert>\n{credentials.certificate}</cert>\n<key>\n{credentials.private_key}</key>\n"
    packet, output = first_packet(incomplete + appended, tmp_path)
    assert packet, output
    complete = profile_of(endpoint, credentials, protection=protection)
    assert set(complete.splitlines()) - set((incomplete + appended).splitlines()) == {complete.splitlines()[0]}


def test_a_profile_without_credentials_names_no_client(endpoint: EndpointSpec) -> None:
    profile = profile_of(endpoint, None, protection=Protection.TLS_CRYPT)
    assert profile.splitlines()[0] == "# Portway: endpoint main; append the client's <cert> and <key>"
    assert "PRIVATE KEY" not in profile


def test_a_key_of_the_client_s_own_is_not_for_profiles_without_credentials(endpoint: EndpointSpec) -> None:
    with pytest.raises(ProfileError, match="tls-crypt-v2 key of the client"):
        profile_of(endpoint, None, protection=Protection.TLS_CRYPT_V2)


def test_udp_comes_first_whatever_the_endpoint_says_first(endpoint: EndpointSpec, credentials: Credentials) -> None:
    endpoint = dataclasses.replace(endpoint, transport_protocol=("tcp", "udp"), vpn_port=1194)
    lines = profile_of(endpoint, credentials, "a.example", "b.example").splitlines()
    assert [line for line in lines if line.startswith("remote ")] == [
        "remote a.example 1194 udp",
        "remote b.example 1194 udp",
        "remote a.example 1194 tcp",
        "remote b.example 1194 tcp",
    ]


def test_a_transport_that_the_endpoint_lacks_is_left_out(endpoint: EndpointSpec, credentials: Credentials) -> None:
    endpoint = dataclasses.replace(endpoint, transport_protocol=("tcp",))
    assert "udp" not in profile_of(endpoint, credentials)


def test_the_public_host_name_stands_in_for_remotes(endpoint: EndpointSpec, credentials: Credentials) -> None:
    authority = find_server_authority(endpoint)
    named = dataclasses.replace(endpoint, public_hostname="vpn.example.com")
    assert "remote vpn.example.com 443 udp" in build_profile(named, credentials, [], server_authority=authority)
    with pytest.raises(ProfileError, match="--remote"):
        build_profile(endpoint, credentials, [], server_authority=authority)


def test_the_gateway_is_verified_by_purpose_and_name(endpoint: EndpointSpec, credentials: Credentials) -> None:
    lines = profile_of(endpoint, credentials).splitlines()
    assert "remote-cert-tls server" in lines
    assert 'verify-x509-name "server" name' in lines


@pytest.mark.parametrize(
    ("ciphers", "offered", "fallback"),
    [
        (("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"), "AES-256-GCM:AES-128-GCM", "AES-256-GCM"),
        (("CHACHA20-POLY1305", "AES-128-GCM"), "CHACHA20-POLY1305:AES-128-GCM", "AES-128-GCM"),
        (("CHACHA20-POLY1305",), "CHACHA20-POLY1305", "CHACHA20-POLY1305"),
        (("AES-256-CBC", "CHACHA20-POLY1305"), "AES-256-CBC:CHACHA20-POLY1305", "AES-256-CBC"),
    ],
)
def test_old_clients_get_ciphers_that_they_know(
    endpoint: EndpointSpec, credentials: Credentials, ciphers: tuple[str, ...], offered: str, fallback: str
) -> None:
    lines = profile_of(with_data_channel(endpoint, data_ciphers=ciphers), credentials).splitlines()
    assert f"data-ciphers {offered}" in lines
    assert f"cipher {fallback}" in lines
    assert lines.index("ignore-unknown-option data-ciphers") < lines.index(f"data-ciphers {offered}")


def auth_lines(profile: str) -> list[str]:
    return [line for line in profile.splitlines() if line.startswith("auth ")]


def test_the_digest_is_named_where_it_counts(endpoint: EndpointSpec, credentials: Credentials) -> None:
    assert auth_lines(profile_of(endpoint, credentials, protection=Protection.NONE)) == []
    signed = with_control_channel(endpoint, tls_auth_digest="SHA512")
    assert auth_lines(profile_of(signed, credentials, protection=Protection.TLS_AUTH)) == ["auth SHA512"]
    cbc = with_data_channel(endpoint, data_ciphers=("AES-256-CBC",), auth="SHA256")
    assert auth_lines(profile_of(cbc, credentials, protection=Protection.NONE)) == ["auth SHA256"]


@pytest.mark.parametrize("direction", list(KeyDirection), ids=lambda direction: direction.name)
def test_the_client_s_key_direction_is_the_other_one(
    endpoint: EndpointSpec, credentials: Credentials, direction: KeyDirection
) -> None:
    endpoint = with_control_channel(endpoint, tls_auth_direction=direction.value)
    lines = profile_of(endpoint, credentials, protection=Protection.TLS_AUTH).splitlines()
    expected = {
        KeyDirection.NORMAL: ["key-direction 1"],
        KeyDirection.INVERSE: ["key-direction 0"],
        KeyDirection.BIDIRECTIONAL: [],
    }
    assert [line for line in lines if line.startswith("key-direction")] == expected[direction]


def test_the_gateway_s_key_is_inside(endpoint: EndpointSpec, credentials: Credentials) -> None:
    profile = profile_of(endpoint, credentials, protection=Protection.TLS_CRYPT)
    assert parse_static_key(profile).octets == endpoint.control_channel.tls_crypt_key


def test_the_first_protection_is_what_a_profile_uses(endpoint: EndpointSpec, credentials: Credentials) -> None:
    assert "<tls-crypt-v2>" in profile_of(endpoint, credentials)
    only = with_control_channel(endpoint, accept=(Protection.TLS_AUTH, Protection.NONE))
    assert "<tls-auth>" in profile_of(only, credentials)


def test_a_protection_that_the_endpoint_refuses_is_refused(endpoint: EndpointSpec, credentials: Credentials) -> None:
    only = with_control_channel(endpoint, accept=(Protection.TLS_AUTH,))
    with pytest.raises(ProfileError, match=r"does not accept none\. It accepts tls-auth"):
        profile_of(only, credentials, protection=Protection.NONE)


def test_a_client_without_a_key_of_its_own_gets_no_tls_crypt_v2_profile(
    endpoint: EndpointSpec, credentials: Credentials
) -> None:
    with pytest.raises(ProfileError, match="tls-crypt-v2 key of alice"):
        profile_of(endpoint, dataclasses.replace(credentials, tls_crypt_v2_key=""))


@pytest.mark.parametrize("certificate", ["", Recipe(issuer=make_ca()).make().pem.decode()], ids=["none", "foreign"])
def test_a_client_that_the_endpoint_would_refuse_gets_no_profile(
    endpoint: EndpointSpec, credentials: Credentials, certificate: str
) -> None:
    with pytest.raises(ProfileError, match="alice"):
        profile_of(endpoint, dataclasses.replace(credentials, certificate=certificate))


def test_the_client_leaves_renegotiation_to_a_gateway_that_does_it(
    endpoint: EndpointSpec, credentials: Credentials
) -> None:
    assert "reneg-sec 0" in profile_of(endpoint, credentials).splitlines()
    assert "reneg-sec" not in profile_of(with_data_channel(endpoint, renegotiate_after_s=0), credentials)


def test_no_line_is_longer_than_a_client_reads(endpoint: EndpointSpec, credentials: Credentials) -> None:
    assert max(len(line) for line in profile_of(endpoint, credentials).splitlines()) < 256


def test_keys_are_in_no_repr(credentials: Credentials) -> None:
    assert "PRIVATE" not in repr(credentials)
    assert "tls-crypt-v2 client key" not in repr(credentials)


def with_chain(endpoint: EndpointSpec, *chain: bytes) -> EndpointSpec:
    certificate = dataclasses.replace(endpoint.server_certificate, certificate_chain=b"".join(chain))
    return dataclasses.replace(endpoint, server_certificate=certificate)


def test_the_authority_of_a_foreign_certificate_is_found_behind_it(endpoint: EndpointSpec) -> None:
    root = make_ca()
    intermediate = make_ca("intermediate", issuer=root)
    server = Recipe(issuer=intermediate).make()
    expected = (intermediate.pem + root.pem).decode()
    assert find_server_authority(with_chain(endpoint, server.pem, intermediate.pem, root.pem)) == expected
    assert find_server_authority(with_chain(endpoint, server.pem, intermediate.pem), root.pem) == expected


def test_an_authority_that_is_nowhere_is_asked_for(endpoint: EndpointSpec) -> None:
    server = Recipe(issuer=make_ca()).make()
    with pytest.raises(ProfileError, match="The issuer of 'server' is not at hand"):
        find_server_authority(with_chain(endpoint, server.pem))


def test_a_self_signed_certificate_is_its_own_authority(endpoint: EndpointSpec) -> None:
    server = Recipe().make()
    assert find_server_authority(with_chain(endpoint, server.pem)) == server.pem.decode()


@pytest.mark.parametrize("name", ['a "quoted" \\ name', "Zoë's gateway", "line\nbreak"])
def test_a_strange_name_of_the_gateway_stays_on_its_line(
    endpoint: EndpointSpec, credentials: Credentials, name: str
) -> None:
    server = Recipe(name=name, issuer=make_ca()).make()
    profile = build_profile(with_chain(endpoint, server.pem), credentials, ["x"], server_authority="")
    lines = [line for line in profile.splitlines() if line.startswith("verify-x509-name")]
    assert len(lines) == (1 if name.isprintable() else 0)
    assert "break" not in profile


def test_the_way_to_a_gateway_inside_a_routed_network_stays_outside_of_the_tunnel(
    endpoint: EndpointSpec, credentials: Credentials
) -> None:
    routed = endpoint.routes[0].destination[1]
    outside = "route 203.0.113.1 255.255.255.255 net_gateway"
    inside = f"route {routed} 255.255.255.255 net_gateway"
    profile = profile_of(endpoint, credentials, str(routed), "203.0.113.1", "vpn.example.com")
    assert inside in profile
    assert outside not in profile
    full = dataclasses.replace(endpoint, split_tunnel=False)
    assert inside not in profile_of(full, credentials, str(routed))
