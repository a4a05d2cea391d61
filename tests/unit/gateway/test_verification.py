from pathlib import Path

from OpenSSL import crypto

from gateway.verification import Reverifier
from policy import CertificateAuthentication
from tests.unit.gateway.world import TestPki, pki
from tunnel.events import CloseReason


def chain(of: TestPki, name: str) -> tuple[crypto.X509, ...]:
    of.client(name)
    return tuple(crypto.load_certificate(crypto.FILETYPE_PEM, of.read(file)) for file in (f"{name}.crt", "ca.crt"))


def authentication(of: TestPki, *, crl: bytes | None) -> CertificateAuthentication:
    return CertificateAuthentication(of.read("ca.crt"), crl)


def test_a_good_chain_has_no_fault() -> None:
    assert Reverifier(authentication(pki(), crl=pki().read("crl.pem"))).find_fault(chain(pki(), "carol")) is None
    assert Reverifier(authentication(pki(), crl=None)).find_fault(chain(pki(), "carol")) is None


def test_a_revoked_certificate_is_found() -> None:
    revoked = chain(pki(), "victor")
    pki().authority.revoke("victor")
    fault = Reverifier(authentication(pki(), crl=pki().read("crl.pem"))).find_fault(revoked)
    assert fault is not None
    assert fault[0] is CloseReason.CERTIFICATE_REVOKED


def test_another_authority_is_not_trusted(tmp_path: Path) -> None:
    fault = Reverifier(authentication(TestPki(tmp_path / "pki"), crl=None)).find_fault(chain(pki(), "carol"))
    assert fault is not None
    assert fault[0] is CloseReason.UNKNOWN_CA


def test_a_list_of_another_authority_cannot_be_used(tmp_path: Path) -> None:
    foreign = TestPki(tmp_path / "pki").read("crl.pem")
    fault = Reverifier(authentication(pki(), crl=foreign)).find_fault(chain(pki(), "carol"))
    assert fault is not None
    assert fault[0] is CloseReason.CRL_UNUSABLE
