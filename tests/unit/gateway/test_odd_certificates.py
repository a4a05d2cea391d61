"""Certificates that are good for TLS and name nobody: each is refused with a reason, and harms no log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from policy.spec import CertificateAuthentication
from tests.lab.authority import LabAuthority, _builder, _digital_signature
from tests.unit.gateway.world import World, make_spec, pki
from tunnel.tls import TlsClientContext

if TYPE_CHECKING:
    from pathlib import Path

CN, OU = NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME
Attribute = tuple[x509.ObjectIdentifier, str, _ASN1Type]
REFUSED = ("connection-attempt", "failed", "certificate-refused")
UTF8, BMP = _ASN1Type.UTF8String, _ASN1Type.BMPString


@pytest.fixture
def authority(tmp_path: Path) -> LabAuthority:
    return LabAuthority(tmp_path)


def world_of(authority: LabAuthority) -> World:
    return World(
        make_spec(authentication=CertificateAuthentication(authority.certificate.read_bytes(), None, "subject.OU"))
    )


def client_named(authority: LabAuthority, attributes: list[Attribute]) -> TlsClientContext:
    """A client that the authority vouches for, whatever its name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(oid, value, kind, _validate=False) for oid, value, kind in attributes])
    certificate = (
        _builder(subject, authority._name, key.public_key(), days=30)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_digital_signature(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority._key, hashes.SHA256())
    )
    return TlsClientContext(
        server_ca=pki().read("ca.crt"),
        certificate_chain=certificate.public_bytes(Encoding.PEM),
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


@pytest.mark.filterwarnings("ignore:Attribute's length")
@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param([(CN, "A" * 10_000, UTF8)], id="10,000 characters"),
        pytest.param([(CN, "ann\r\n\x1b[2Jroot", UTF8)], id="control characters"),
        pytest.param([(CN, "ann\x00.example.com", UTF8)], id="a NUL"),
        pytest.param([(CN, "nna\u202e", BMP)], id="text that runs backwards"),
        pytest.param([(CN, "", UTF8)], id="an empty name"),
        pytest.param([], id="no name"),
        pytest.param([(OU, "engineering", UTF8)], id="a group and no name"),
        pytest.param([(CN, "ann", UTF8), (CN, "bob", UTF8)], id="two names"),
        pytest.param([(CN, "ann", UTF8), *((OU, f"g{n}", UTF8) for n in range(1000))], id="a thousand groups"),
        pytest.param([(CN, "ann", UTF8), (OU, "engineering\n", UTF8)], id="a group of two lines"),
    ],
)
def test_a_certificate_that_names_nobody_is_refused(authority: LabAuthority, attributes: list[Attribute]) -> None:
    world = world_of(authority)
    client = world.connect(client_named(authority, attributes))
    world.advance(10)
    assert not client.established
    assert world.log.told == [REFUSED]
    (record,) = world.log.records
    assert str(record.failure_reason).isprintable()
    assert len(record.as_json()) < 2000
    assert world.endpoint.admitter.half_open.total == 0
    assert len(world.endpoint.sessions) == 0
    assert client.closed is not None
    assert world.connect(client_named(authority, [(CN, "bob", UTF8)])).established


def test_a_name_in_another_kind_of_text_is_the_same_name(authority: LabAuthority) -> None:
    world = world_of(authority)
    assert world.connect(client_named(authority, [(CN, "Zoë", BMP), (OU, "engineering", BMP)])).established
    assert world.connect(client_named(authority, [(CN, "Zoë", UTF8), (OU, "engineering", UTF8)])).established
    names = [(record.common_name, record.groups) for record in world.log.records]
    assert set(names) == {("Zoë", ("engineering",))}
    assert world.log.told[1] == ("connection-reset", "NA", "replaced")
