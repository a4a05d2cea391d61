from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.identity import IdentityError, identify

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(
    *attributes: tuple[x509.ObjectIdentifier, str], emails: tuple[str, ...] = (), validate: bool = True
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(oid, value, _validate=validate) for oid, value in attributes])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(datetime.now(UTC))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
    )
    if emails:
        names = x509.SubjectAlternativeName([x509.RFC822Name(email) for email in emails])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(KEY, hashes.SHA256())


CN, OU, O = NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME  # noqa: E741


def test_name_and_groups_come_from_the_subject() -> None:
    identity = identify(certificate((CN, "ann"), (OU, "sales"), (OU, "engineering"), (OU, "sales")), "subject.OU")
    assert identity.common_name == "ann"
    assert identity.groups == ("engineering", "sales")
    assert identity.serial_number == 7


def test_groups_come_from_where_the_endpoint_says() -> None:
    chosen = certificate((CN, "ann"), (OU, "unit"), (O, "company"), emails=("ann@Example.COM", "a@b.org"))
    assert identify(chosen, "subject.O").groups == ("company",)
    assert identify(chosen, "san.email-domain").groups == ("b.org", "example.com")
    assert identify(chosen, None).groups == ()
    assert identify(certificate((CN, "ann")), "san.email-domain").groups == ()


def test_a_name_in_any_script_is_a_name() -> None:
    assert identify(certificate((CN, "Zoë 山田")), None).common_name == "Zoë 山田"


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ((), "no common names"),
        (((CN, "ann"), (CN, "bob")), "2 common names"),
        (((CN, "a" * 10_000),), "10000 characters"),
        (((CN, "ann\nbob"),), "control characters"),
        (((CN, "ann\0"),), "control characters"),
        (((CN, "ann\u202e"),), "control characters"),
        (((CN, " ann"),), "blanks"),
        (((CN, "ann"), (OU, "x" * 300)), "the group has 300 characters"),
        (((CN, "ann"), (OU, "a\tb")), "the group has control characters"),
        (((CN, "ann"), *((OU, f"g{number}") for number in range(300))), "300 groups"),
    ],
)
@pytest.mark.filterwarnings("ignore:Attribute's length")
def test_a_certificate_without_a_usable_name_is_refused(
    attributes: tuple[tuple[x509.ObjectIdentifier, str], ...], sentence: str
) -> None:
    chosen = certificate(*attributes, validate=False)
    with pytest.raises(IdentityError, match=sentence):
        identify(chosen, "subject.OU")
