from __future__ import annotations

from base64 import encodebytes
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config.pem import parse_certificates, parse_crls, parse_private_key
from gateway.config.problems import WrongValue
from tests.unit.gateway.certificate_maker import Recipe, make_ca, make_crl

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = make_ca()
SERVER = Recipe(issuer=ROOT).make()
LIST = make_crl(ROOT)

CURVE = bytes.fromhex("06082a8648ce3d030107")  # prime256v1
SIGNATURE = bytes.fromhex("06082a8648ce3d040302")  # ecdsa-with-SHA256
BASIC_CONSTRAINTS = bytes.fromhex("0603551d13")
KEY_USAGE = bytes.fromhex("0603551d0f")


def armoured(name: str, der: bytes) -> bytes:
    return f"-----BEGIN {name}-----\n{encodebytes(der).decode()}-----END {name}-----\n".encode()


def without_sense(oid: bytes) -> bytes:
    """The object identifier of nothing."""
    return oid[:-1] + bytes([oid[-1] ^ 0x7F])


def test_certificates_come_in_their_order() -> None:
    assert parse_certificates(SERVER.pem + b"text between\n" + ROOT.pem) == (SERVER.certificate, ROOT.certificate)


def test_lists_come_in_their_order() -> None:
    second = make_crl(make_ca("second"))
    pem = b"".join(one.public_bytes(Encoding.PEM) for one in (LIST, second))
    assert parse_crls(pem) == (LIST, second)


def test_a_key_comes_as_it_was() -> None:
    assert parse_private_key(SERVER.key_pem).public_key() == SERVER.key.public_key()


@pytest.mark.parametrize(
    ("parse", "words"),
    [
        (parse_certificates, "holds no certificate"),
        (parse_crls, "holds no revocation list"),
        (parse_private_key, "holds no private key"),
    ],
)
@pytest.mark.parametrize("octets", [b"", b"rubbish", b"-----BEGIN SOMETHING-----\nAAAA\n-----END SOMETHING-----"])
def test_what_is_something_else_is_refused(parse: Callable[[bytes], object], words: str, octets: bytes) -> None:
    with pytest.raises(WrongValue, match=words):
        parse(octets)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (CURVE, without_sense(CURVE)),
        (SIGNATURE, without_sense(SIGNATURE)),
        (KEY_USAGE, BASIC_CONSTRAINTS),
    ],
    ids=["an unknown curve", "an unknown signature", "the same extension twice"],
)
def test_a_certificate_that_falls_apart_when_it_is_read_is_refused(old: bytes, new: bytes) -> None:
    der = SERVER.certificate.public_bytes(Encoding.DER)
    assert old in der
    with pytest.raises(WrongValue, match="damaged, or of a kind unknown here"):
        parse_certificates(armoured("CERTIFICATE", der.replace(old, new)))


def test_a_list_that_falls_apart_when_it_is_read_is_refused() -> None:
    der = LIST.public_bytes(Encoding.DER).replace(SIGNATURE, without_sense(SIGNATURE))
    with pytest.raises(WrongValue, match="is damaged; renew it"):
        parse_crls(armoured("X509 CRL", der))
