from __future__ import annotations

import os
import stat
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from gateway.pki import Authority, KeyType, PkiError, Role
from gateway.pki.authority import CRL_DAYS, END_DAYS, ROOT_DAYS
from tunnel.static_key import parse_static_key
from tunnel.tls_crypt_v2 import parse_client_key, parse_server_key, unwrap_client_key_untrusted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.gateway.pki.conftest import Clock

NAME = "alice"


def path_of(authority: Authority) -> Path:
    return authority.directory.path


def certificate(authority: Authority, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.directory.read(f"{name}.crt"))


def crl(authority: Authority) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(authority.directory.read("crl.pem"))


def snapshot(authority: Authority) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in path_of(authority).iterdir() if path.is_file()}


def openssl_verify(authority: Authority, file: str, purpose: str) -> subprocess.CompletedProcess[str]:
    arguments = ["-x509_strict", "-CAfile", "ca.crt", "-CRLfile", "crl.pem", "-crl_check", "-purpose", purpose, file]
    command = ["openssl", "verify", *arguments]
    return subprocess.run(command, cwd=path_of(authority), capture_output=True, text=True, check=False)


def test_init_makes_the_authority_its_list_and_the_control_channel_keys(authority: Authority) -> None:
    assert set(snapshot(authority)) == {
        "ca.crt",
        "ca.key",
        "crl.pem",
        "index.json",
        "tls-auth.key",
        "tls-crypt-v2.key",
        "tls-crypt.key",
        ".lock",
    }
    assert authority.certificates() == ()
    parse_server_key(authority.directory.read("tls-crypt-v2.key").decode())
    keys = {
        parse_static_key(authority.directory.read(name).decode()).octets for name in ("tls-auth.key", "tls-crypt.key")
    }
    assert len(keys) == 2


@pytest.mark.parametrize("key_type", list(KeyType))
def test_openssl_likes_what_is_issued(tmp_path: Path, key_type: KeyType) -> None:
    authority = Authority(tmp_path / "pki")
    authority.init(key_type=key_type)
    authority.issue_server("server", key_type=key_type)
    authority.issue_client("alice", groups=["a", "b"], key_type=key_type)
    assert openssl_verify(authority, "server.crt", "sslserver").returncode == 0
    assert openssl_verify(authority, "alice.crt", "sslclient").returncode == 0
    assert openssl_verify(authority, "server.crt", "sslclient").returncode != 0
    assert openssl_verify(authority, "alice.crt", "sslserver").returncode != 0


def test_openssl_refuses_who_is_revoked_and_nobody_else(authority: Authority) -> None:
    authority.issue_client("alice")
    authority.issue_client("bob")
    issued = authority.revoke("alice")
    refused = openssl_verify(authority, f"revoked/alice-{issued.serial}.crt", "sslclient")
    assert "certificate revoked" in refused.stderr
    assert openssl_verify(authority, "bob.crt", "sslclient").returncode == 0


@pytest.mark.parametrize("umask", [0, 0o077])
def test_nobody_else_can_read_anything(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        authority = Authority(tmp_path / "pki")
        authority.init()
        authority.issue_client("alice")
        authority.client_tls_crypt_v2_key("alice")
        authority.issue_client("bob")
        authority.revoke("bob")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path_of(authority).stat().st_mode) == 0o700
    for path in path_of(authority).rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_whom_the_directory_belongs_to(authority: Authority) -> None:
    os.chown(path_of(authority), 12345, 12345)
    authority.issue_client("alice")
    authority.revoke("alice")
    for name in ("crl.pem", "index.json", ".lock", "revoked"):
        assert (path_of(authority) / name).stat().st_uid == 12345


def test_an_authority_is_never_overwritten(authority: Authority) -> None:
    before = snapshot(authority)
    with pytest.raises(PkiError, match="holds an authority already"):
        authority.init()
    assert snapshot(authority) == before


def test_control_channel_keys_that_are_there_are_kept(tmp_path: Path) -> None:
    (tmp_path / "tls-auth.key").write_text("mine")
    Authority(tmp_path).init()
    assert (tmp_path / "tls-auth.key").read_text() == "mine"


@pytest.mark.parametrize("file", ["alice.crt", "alice.key"])
def test_a_file_of_somebody_else_is_never_overwritten(authority: Authority, file: str) -> None:
    (path_of(authority) / file).write_text("mine")
    with pytest.raises(PkiError, match=f"{file} exists already"):
        authority.issue_client("alice")
    assert (path_of(authority) / file).read_text() == "mine"


def test_a_name_is_issued_once_until_it_is_revoked(authority: Authority) -> None:
    first = authority.issue_client("alice")
    with pytest.raises(PkiError, match="has a certificate already"):
        authority.issue_server("alice")
    assert authority.revoke("alice").serial == first.serial
    second = authority.issue_client("alice")
    assert second.serial != first.serial
    assert crl(authority).get_revoked_certificate_by_serial_number(int(first.serial, 16)) is not None
    assert crl(authority).get_revoked_certificate_by_serial_number(int(second.serial, 16)) is None


def test_what_is_revoked_is_kept_aside(authority: Authority) -> None:
    issued = authority.issue_client("alice")
    authority.client_tls_crypt_v2_key("alice")
    authority.revoke("alice")
    names = {path.name for path in (path_of(authority) / "revoked").iterdir()}
    stem = f"alice-{issued.serial}"
    assert names == {f"{stem}.crt", f"{stem}.key", f"{stem}-tls-crypt-v2.key"}
    assert not list(path_of(authority).glob("alice*"))


def test_only_what_was_issued_can_be_revoked(authority: Authority) -> None:
    with pytest.raises(PkiError, match='no certificate "mallory"'):
        authority.revoke("mallory")


def test_groups_are_organisational_units_without_repetitions(authority: Authority) -> None:
    authority.issue_client("alice", groups=["engineering", "Ops Team", "engineering"])
    subject = certificate(authority, "alice").subject
    units = [name.value for name in subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    assert units == ["engineering", "Ops Team"]
    assert authority.certificates()[0].groups == ("engineering", "Ops Team")


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("server", [], [x509.DNSName("server")]),
        ("vpn.example.com", [], [x509.DNSName("vpn.example.com")]),
        ("10.0.0.1", [], None),
        ("my_server", [], None),
        (
            "server",
            ["vpn.example.com", "*.vpn.example.com", "server"],
            [x509.DNSName("server"), x509.DNSName("vpn.example.com"), x509.DNSName("*.vpn.example.com")],
        ),
    ],
)
def test_a_gateway_is_called_what_it_is_asked_for_by(
    authority: Authority, name: str, given: list[str], expected: list[x509.GeneralName] | None
) -> None:
    authority.issue_server(name, alternative_names=given)
    extensions = certificate(authority, name).extensions
    if name == "10.0.0.1":
        (address,) = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert isinstance(address, x509.IPAddress)
    elif expected is None:
        assert all(extension.oid != x509.SubjectAlternativeName.oid for extension in extensions)
    else:
        assert list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == expected


def test_a_client_with_a_mailbox_is_called_by_it(authority: Authority) -> None:
    authority.issue_client("alice@example.com")
    names = certificate(authority, "alice@example.com").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.RFC822Name) == ["alice@example.com"]


def test_lives_are_as_asked_for(authority: Authority, clock: Clock) -> None:
    assert authority.issue_client("a", days=7).not_after == clock.now + timedelta(days=7)
    assert authority.issue_client("b").not_after == clock.now + timedelta(days=END_DAYS)
    assert authority.issue_client("c", days=ROOT_DAYS).not_after == clock.now + timedelta(days=ROOT_DAYS)


@pytest.mark.parametrize("days", [0, -1, ROOT_DAYS + 1])
def test_impossible_lives_are_refused(authority: Authority, days: int) -> None:
    with pytest.raises(PkiError, match="may live 1 to"):
        authority.issue_client("alice", days=days)
    assert authority.certificates() == ()


def test_nothing_outlives_the_authority(authority: Authority, clock: Clock) -> None:
    clock.pass_days(ROOT_DAYS - 30)
    assert authority.issue_client("alice").not_after == clock.now + timedelta(days=30)
    clock.pass_days(31)
    with pytest.raises(PkiError, match="authority itself expired"):
        authority.issue_client("bob")


def test_serial_numbers_are_random(authority: Authority) -> None:
    serials = {int(authority.issue_client(f"client{number}").serial, 16) for number in range(10)}
    assert len(serials) == 10
    assert min(serials) > 2**100


def test_a_list_is_renewed_when_half_of_its_life_is_over(authority: Authority, clock: Clock) -> None:
    first = crl(authority)
    clock.pass_days(CRL_DAYS / 2)
    assert not authority.renew_crl()
    clock.pass_days(1)
    assert authority.renew_crl()
    second = crl(authority)
    assert second.next_update_utc == clock.now + timedelta(days=CRL_DAYS)
    assert first.next_update_utc is not None
    assert second.next_update_utc > first.next_update_utc
    assert not authority.renew_crl()


def test_a_renewed_list_has_forgotten_nobody(authority: Authority, clock: Clock) -> None:
    issued = authority.issue_client("alice")
    authority.revoke("alice")
    clock.pass_days(CRL_DAYS)
    authority.renew_crl()
    assert crl(authority).get_revoked_certificate_by_serial_number(int(issued.serial, 16)) is not None


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.unlink(), lambda path: path.write_text("garbage"), lambda path: path.write_text("")],
    ids=["missing", "garbage", "empty"],
)
def test_a_broken_list_is_made_anew(authority: Authority, spoil: Callable[[Path], object]) -> None:
    spoil(path_of(authority) / "crl.pem")
    assert authority.renew_crl()
    assert crl(authority).is_signature_valid(certificate(authority, "ca").public_key())  # type: ignore[arg-type]


def test_a_revocation_that_never_got_into_the_list_gets_there(authority: Authority) -> None:
    """As after a crash between the two writes."""
    issued = authority.issue_client("alice")
    old = authority.directory.read("crl.pem")
    authority.revoke("alice")
    authority.directory.replace("crl.pem", old)
    assert authority.renew_crl()
    assert crl(authority).get_revoked_certificate_by_serial_number(int(issued.serial, 16)) is not None


def test_lists_are_numbered(authority: Authority, clock: Clock) -> None:
    numbers = []
    for _ in range(3):
        numbers.append(crl(authority).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
        clock.pass_days(CRL_DAYS)
        authority.renew_crl()
    assert numbers == [1, 2, 3]


def test_a_client_s_own_key_is_made_once_and_unwraps(authority: Authority, clock: Clock) -> None:
    text = authority.client_tls_crypt_v2_key("alice")
    assert authority.client_tls_crypt_v2_key("alice") == text
    client = parse_client_key(text)
    server_key = parse_server_key(authority.directory.read("tls-crypt-v2.key").decode())
    key, metadata = unwrap_client_key_untrusted(server_key, client.wkc)
    assert key == client.key
    assert metadata is not None
    assert metadata.timestamp == int(clock.now.timestamp())


def test_a_profile_s_files_are_the_client_s(authority: Authority) -> None:
    authority.issue_client("alice")
    files = authority.client_files("alice")
    key = load_pem_private_key(files.private_key, None)
    assert key.public_key() == x509.load_pem_x509_certificate(files.certificate).public_key()
    assert files.authority == authority.directory.read("ca.crt")
    assert "PRIVATE" not in repr(files)


def test_only_clients_have_profiles(authority: Authority) -> None:
    authority.issue_server("server")
    for name in ("server", "mallory"):
        with pytest.raises(PkiError, match=f'no client "{name}"'):
            authority.client_files(name)


def test_everything_issued_is_listed_with_its_state(authority: Authority, clock: Clock) -> None:
    authority.issue_server("server")
    authority.issue_client("short", days=1)
    authority.issue_client("gone")
    authority.revoke("gone")
    clock.pass_days(2)
    listed = [(issued.name, issued.role, issued.state(clock.now)) for issued in authority.certificates()]
    assert listed == [
        ("server", Role.SERVER, "valid"),
        ("short", Role.CLIENT, "expired"),
        ("gone", Role.CLIENT, "revoked"),
    ]


@pytest.mark.parametrize("action", [Authority.certificates, Authority.renew_crl, lambda it: it.issue_client("a")])
def test_without_an_authority_one_is_told_how_to_make_it(tmp_path: Path, action: Callable[[Authority], object]) -> None:
    (tmp_path / "pki").mkdir()
    with pytest.raises(PkiError, match="portway pki init"):
        action(Authority(tmp_path / "pki"))


@pytest.mark.parametrize("file", ["ca.key", "ca.crt", "index.json"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe\x00", b"{}[]"])
def test_a_damaged_authority_is_a_sentence(authority: Authority, file: str, content: bytes) -> None:
    (path_of(authority) / file).write_bytes(content)
    with pytest.raises(PkiError, match="damaged"):
        authority.issue_client("alice")
    assert not authority.directory.exists("alice.crt")


def test_two_commands_at_once_lose_nothing(authority: Authority) -> None:
    import threading

    names = [f"client{number}" for number in range(12)]
    threads = [threading.Thread(target=authority.issue_client, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {issued.name for issued in authority.certificates()} == set(names)
