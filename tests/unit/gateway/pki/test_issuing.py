from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from gateway.pki.issuing import (
    KeyType,
    Subject,
    generate_private_key,
    issue_client_certificate,
    issue_root,
    issue_server_certificate,
    sign_crl,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
ROOT = issue_root("root", KeyType.ECDSA_P256, now=NOW, not_after=LATER)


def test_keys_are_of_the_kind_asked_for() -> None:
    key = generate_private_key(KeyType.ECDSA_P256)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    key = generate_private_key(KeyType.RSA_2048)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert isinstance(generate_private_key(KeyType.ED25519), ed25519.Ed25519PrivateKey)


def test_a_root_may_sign_end_certificates_and_lists_and_nothing_else() -> None:
    extensions = ROOT.certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)


@pytest.mark.parametrize(
    ("issue", "purpose"),
    [
        (issue_server_certificate, ExtendedKeyUsageOID.SERVER_AUTH),
        (issue_client_certificate, ExtendedKeyUsageOID.CLIENT_AUTH),
    ],
)
@pytest.mark.parametrize("key_type", [KeyType.ECDSA_P256, KeyType.RSA_2048])
def test_an_end_certificate_is_for_one_purpose(issue: object, purpose: object, key_type: KeyType) -> None:
    assert callable(issue)
    certificate = issue(ROOT, Subject("x"), key_type, now=NOW, not_after=LATER).certificate
    extensions = certificate.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment == (key_type is KeyType.RSA_2048)
    assert not usage.key_cert_sign


def test_identifiers_lead_from_a_certificate_to_its_issuer() -> None:
    certificate = issue_client_certificate(ROOT, Subject("x"), KeyType.ED25519, now=NOW, not_after=LATER).certificate
    own = ROOT.certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_KEY_IDENTIFIER).value
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert isinstance(own, x509.SubjectKeyIdentifier)
    assert issuer.key_identifier == own.digest


def test_certificates_begin_an_hour_ago_for_slow_clocks() -> None:
    assert ROOT.certificate.not_valid_before_utc == NOW - timedelta(hours=1)


def test_a_list_holds_who_is_revoked() -> None:
    crl = x509.load_pem_x509_crl(sign_crl(ROOT, [(5, NOW)], number=9, now=NOW, next_update=LATER))
    assert [entry.serial_number for entry in crl] == [5]
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 9
    assert crl.next_update_utc == LATER
    public_key = ROOT.certificate.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(public_key)
