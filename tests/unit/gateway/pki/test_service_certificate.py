"""A service's certificate is made when it is missing, renewed when it is due, and left alone otherwise."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from gateway.pki import Authority, PkiError, ServiceCertificate

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("vpn.example.com", "127.0.0.1", "::1")
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


class Clock:
    now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def certificate(tmp_path: Path, clock: Clock) -> ServiceCertificate:
    return ServiceCertificate(tmp_path / "api", tmp_path / "pki", "portway-api", clock=clock)


def make_authority(directory: Path, clock: Clock) -> Authority:
    authority = Authority(directory, clock=clock)
    authority.init()
    return authority


def chain(certificate: ServiceCertificate) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(certificate.certificate_file.read_bytes())


def test_the_authority_issues_it(certificate: ServiceCertificate, tmp_path: Path, clock: Clock) -> None:
    authority = make_authority(tmp_path / "pki", clock)
    assert certificate.ensure(NAMES)
    leaf, root = chain(certificate)
    assert root == x509.load_pem_x509_certificate(authority.certificate())
    leaf.verify_directly_issued_by(root)
    named = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in named] == list(NAMES)


def test_it_is_not_listed_among_what_people_issue(
    certificate: ServiceCertificate, tmp_path: Path, clock: Clock
) -> None:
    authority = make_authority(tmp_path / "pki", clock)
    certificate.ensure(NAMES)
    assert authority.certificates() == ()


def test_without_an_authority_there_is_one_for_it_alone(certificate: ServiceCertificate) -> None:
    certificate.ensure(NAMES)
    leaf, root = chain(certificate)
    leaf.verify_directly_issued_by(root)
    assert len(list(certificate.certificate_file.parent.glob("*.key"))) == 1


def test_tls_can_be_served_with_it(certificate: ServiceCertificate) -> None:
    certificate.ensure(NAMES)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
        certificate.certificate_file, certificate.key_file
    )


def test_its_files_are_its_owners_only(certificate: ServiceCertificate) -> None:
    certificate.ensure(NAMES)
    for file in (certificate.certificate_file, certificate.key_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_one_that_is_good_stays(certificate: ServiceCertificate, clock: Clock) -> None:
    certificate.ensure(NAMES)
    before = certificate.certificate_file.read_bytes()
    clock.now += timedelta(days=59)
    assert not certificate.ensure(NAMES)
    assert certificate.certificate_file.read_bytes() == before


def test_one_that_ends_soon_is_renewed(certificate: ServiceCertificate, clock: Clock) -> None:
    certificate.ensure(NAMES)
    clock.now += timedelta(days=61)
    assert certificate.ensure(NAMES)
    assert chain(certificate)[0].not_valid_after_utc > clock.now + timedelta(days=60)


def test_other_names_need_another_one(certificate: ServiceCertificate) -> None:
    certificate.ensure(NAMES)
    assert certificate.ensure(NAMES[:1])
    assert not certificate.ensure(NAMES[:1])


def test_another_authority_makes_another_one(certificate: ServiceCertificate, tmp_path: Path, clock: Clock) -> None:
    certificate.ensure(NAMES)
    make_authority(tmp_path / "pki", clock)
    assert certificate.ensure(NAMES)
    assert not certificate.ensure(NAMES)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"])
def test_a_damaged_one_is_replaced(certificate: ServiceCertificate, content: bytes) -> None:
    certificate.ensure(NAMES)
    certificate.certificate_file.write_bytes(content)
    assert certificate.ensure(NAMES)
    assert len(chain(certificate)) == 2


def test_one_without_its_key_is_replaced(certificate: ServiceCertificate) -> None:
    certificate.ensure(NAMES)
    certificate.key_file.unlink()
    assert certificate.ensure(NAMES)


def test_it_does_not_outlive_its_authority(certificate: ServiceCertificate, tmp_path: Path, clock: Clock) -> None:
    authority = make_authority(tmp_path / "pki", clock)
    end = x509.load_pem_x509_certificate(authority.certificate()).not_valid_after_utc
    clock.now = end - timedelta(days=3)
    certificate.ensure(NAMES)
    assert chain(certificate)[0].not_valid_after_utc <= end


def test_an_authority_that_has_ended_issues_nothing(
    certificate: ServiceCertificate, tmp_path: Path, clock: Clock
) -> None:
    make_authority(tmp_path / "pki", clock)
    clock.now += timedelta(days=4000)
    with pytest.raises(PkiError, match="expired"):
        certificate.ensure(NAMES)
