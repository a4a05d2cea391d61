"""Certificates of a trusted authority with names that nobody should have."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity import GROUPS, NAME_LENGTH, IdentityError, identify
from tests.fuzz.strategies import damaged

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # signs the same way every time
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = [
    kind for kind in _ASN1Type if kind not in (_ASN1Type.OctetString, _ASN1Type.UTCTime, _ASN1Type.GeneralizedTime)
]
OIDS = [NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME]

names = st.one_of(
    st.text(min_size=1, max_size=80),
    st.text(alphabet=st.characters(max_codepoint=0x7F), min_size=1, max_size=80),
    st.sampled_from(["ann", " ann", "ann\x00bob", "ann\n", "\u202eann", "A" * 10_000, "\x1b[2J", "Zoë", "山田"]),
)


def attribute(oid: x509.ObjectIdentifier, value: str, kind: _ASN1Type) -> x509.NameAttribute[str | bytes] | None:
    """The attribute in one of ASN.1's kinds of text; None where the kind cannot hold it."""
    try:
        if kind is _ASN1Type.BitString:
            return x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, value.encode(), _ASN1Type.BitString)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of long names, which are what this is about
            return x509.NameAttribute(oid, value, kind, _validate=False)
    except (ValueError, TypeError):
        return None


attributes = st.builds(attribute, st.sampled_from(OIDS), names, st.sampled_from(KINDS))


def certificate(subject: Sequence[x509.NameAttribute[str | bytes]], emails: list[str]) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if emails:
        general = x509.SubjectAlternativeName([x509.RFC822Name(email) for email in emails])
        builder = builder.add_extension(general, critical=False)
    return builder.sign(KEY, None)


def assert_usable_or_refused(chosen: x509.Certificate, groups_from: str | None) -> None:
    try:
        identity = identify(chosen, groups_from)
    except IdentityError as error:
        assert len(str(error)) < 500
        return
    assert 1 <= len(identity.common_name) <= NAME_LENGTH
    assert len(identity.groups) <= GROUPS
    for text in (identity.common_name, *identity.groups):
        assert text.isprintable()
        assert text == text.strip()


@given(
    subject=st.lists(attributes, max_size=5),
    emails=st.lists(st.text(alphabet=st.characters(max_codepoint=0x7F), min_size=1, max_size=300), max_size=3),
    groups_from=st.sampled_from([None, "subject.OU", "subject.O", "san.email-domain"]),
)
def test_a_certificate_names_one_person_whom_people_can_read_or_nobody(
    subject: Sequence[x509.NameAttribute[str | bytes] | None], emails: list[str], groups_from: str | None
) -> None:
    """Any subject gives one printable name and printable groups, or `IdentityError`; nothing is repaired."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cryptography warns of long names
        try:
            chosen = certificate([found for found in subject if found is not None], emails)
        except ValueError:
            return  # text that this kind of ASN.1 string cannot hold
    assert_usable_or_refused(chosen, groups_from)


@given(data=st.data(), groups_from=st.sampled_from([None, "subject.OU", "subject.O", "san.email-domain"]))
def test_a_certificate_with_damaged_octets_names_somebody_or_nobody(
    data: st.DataObject, groups_from: str | None
) -> None:
    """Names in text that is not UTF-8, extensions that are no ASN.1 or are there twice: read or refused."""
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, "ann"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o")]
    octets = certificate(subject, ["ann@example.com", "a@b"]).public_bytes(Encoding.DER)
    changed = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 3))):  # lengths stay right, so that more of it is still ASN.1
        changed[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            chosen = x509.load_der_x509_certificate(data.draw(st.one_of(st.just(bytes(changed)), damaged(octets))))
        except (ValueError, x509.InvalidVersion):
            return  # TLS refuses it before anybody asks for names
        assert_usable_or_refused(chosen, groups_from)


@pytest.mark.parametrize("count", [GROUPS, GROUPS + 1, 5000])
def test_a_flood_of_groups_is_refused(count: int) -> None:
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"g{number}") for number in range(count)]
    chosen = certificate([*units, x509.NameAttribute(NameOID.COMMON_NAME, "ann")], [])
    if count <= GROUPS:
        assert len(identify(chosen, "subject.OU").groups) == count
    else:
        with pytest.raises(IdentityError, match=f"{count} groups"):
            identify(chosen, "subject.OU")


def test_an_extension_that_is_there_twice_is_refused() -> None:
    san = x509.SubjectAlternativeName([x509.RFC822Name("ann@example.com")])
    issuer_san = x509.IssuerAlternativeName([x509.RFC822Name("ann@example.com")])
    common_name = x509.NameAttribute(NameOID.COMMON_NAME, "ann")
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([common_name]))
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(san, critical=False)
        .add_extension(issuer_san, critical=False)
    )
    octets = builder.sign(KEY, None).public_bytes(Encoding.DER)
    twice = octets.replace(b"\x55\x1d\x12", b"\x55\x1d\x11")  # issuerAltName becomes a second subjectAltName
    with pytest.raises(IdentityError, match="cannot be read"):
        identify(x509.load_der_x509_certificate(twice), "san.email-domain")
