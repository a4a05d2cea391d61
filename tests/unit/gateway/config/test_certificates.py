from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.config.certificates import (
    certificate_name,
    client_root_problems,
    crl_problems,
    is_authority,
    server_certificate_problems,
)
from tests.unit.gateway.certificate_maker import NOW, YEAR, Made, Recipe, make_ca, make_crl

if TYPE_CHECKING:
    from pathlib import Path

ROOT = make_ca()
SOON = timedelta(seconds=1)


def problems_with(*chain: Made, key: Made | None = None) -> list[str]:
    certificates = [made.certificate for made in chain]
    return list(server_certificate_problems(certificates, (key or chain[0]).key, NOW))


def test_a_good_server_certificate_has_no_problems() -> None:
    assert problems_with(Recipe(issuer=ROOT).make()) == []
    assert problems_with(Recipe(issuer=ROOT).make(), ROOT) == []


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(issuer=ROOT, usages=None), "lacks the extended key usage serverAuth"),
        (Recipe(issuer=ROOT, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,)), "lacks the extended key usage serverAuth"),
        (Recipe(issuer=ROOT, has_key_usage=False), "lacks a key usage"),
        (Recipe(issuer=ROOT, digital_signature=False), "lacks digitalSignature"),
        (Recipe(issuer=ROOT, ends=NOW), "expired on 2026-06-01 12:00 UTC"),
        (Recipe(issuer=ROOT, begins=NOW + SOON), "is not valid before 2026-06-01 12:00 UTC"),
        (Recipe(issuer=ROOT, key=rsa.generate_private_key(65537, 1024)), "RSA key of 1024 bits is too weak"),
        (Recipe(issuer=ROOT, key=ec.generate_private_key(ec.SECP192R1())), "curve secp192r1 is too weak"),
        (Recipe(is_ca=True), "begins with an authority"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_certificate_that_clients_would_refuse_is_told(recipe: Recipe, words: str) -> None:
    (sentence,) = problems_with(recipe.make())
    assert words in sentence


@pytest.mark.parametrize("recipe", [Recipe(issuer=ROOT, ends=NOW + SOON), Recipe(issuer=ROOT, begins=NOW)])
def test_a_certificate_is_good_from_its_first_to_its_last_second(recipe: Recipe) -> None:
    assert problems_with(recipe.make()) == []


def test_the_key_of_another_certificate_is_told() -> None:
    (sentence,) = problems_with(Recipe(issuer=ROOT).make(), key=Recipe().make())
    assert "does not belong to the key in server_key" in sentence


def test_a_key_that_could_not_be_read_hides_nothing_else() -> None:
    expired = Recipe(issuer=ROOT, ends=NOW).make().certificate
    assert len(list(server_certificate_problems([expired], None, NOW))) == 1


def test_all_problems_of_one_certificate_are_told() -> None:
    made = Recipe(issuer=ROOT, usages=None, ends=NOW, has_key_usage=False).make()
    assert len(problems_with(made, key=ROOT)) == 4


def test_a_chain_out_of_order_is_told() -> None:
    intermediate = make_ca("intermediate", issuer=ROOT)
    server = Recipe(issuer=intermediate).make()
    assert problems_with(server, intermediate, ROOT) == []
    (first, second) = problems_with(server, ROOT, intermediate)
    assert "'server' is followed by 'root', which did not issue it" in first
    assert "'root' is followed by 'intermediate'" in second


def test_an_expired_intermediate_is_told() -> None:
    intermediate = make_ca("intermediate", issuer=ROOT, ends=NOW)
    (sentence,) = problems_with(Recipe(issuer=intermediate).make(), intermediate)
    assert "'intermediate'" in sentence


def test_a_sha1_signature_is_told(tmp_path: Path) -> None:
    assert shutil.which("openssl")
    (tmp_path / "ca.key").write_bytes(ROOT.key_pem)
    (tmp_path / "ca.crt").write_bytes(ROOT.pem)
    (tmp_path / "server.key").write_bytes(ROOT.key_pem)
    (tmp_path / "extensions").write_text("extendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\n")
    for command in (
        "req -new -key server.key -subj /CN=server -out server.csr",
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -sha1 -days 36500 -extfile extensions -out server.crt",
    ):
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    certificate = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
    now = certificate.not_valid_before_utc
    (sentence,) = server_certificate_problems([certificate], None, now)
    assert "signed with SHA1" in sentence


def roots(*authorities: Made, lists: list[x509.CertificateRevocationList] | None = None) -> list[str]:
    return list(client_root_problems([made.certificate for made in authorities], lists, NOW))


def test_a_good_root_has_no_problems() -> None:
    assert roots(ROOT) == []
    assert roots(ROOT, make_ca("intermediate", issuer=ROOT)) == []


def test_a_client_root_that_is_no_authority_is_told() -> None:
    assert "is no authority" in roots(Recipe().make())[0]


def test_an_expired_client_root_is_told() -> None:
    (sentence,) = roots(make_ca(ends=NOW))
    assert "expired" in sentence


def test_an_intermediate_without_its_root_is_told() -> None:
    (sentence,) = roots(make_ca("intermediate", issuer=ROOT))
    assert "lacks the issuer of 'intermediate'" in sentence


def test_a_list_of_the_authority_has_no_problems() -> None:
    assert roots(ROOT, lists=[make_crl(ROOT)]) == []
    assert list(crl_problems([make_crl(ROOT)], NOW)) == []


def test_a_list_of_a_stranger_is_told_and_so_is_the_authority_without_one() -> None:
    (first, second) = roots(ROOT, lists=[make_crl(make_ca("stranger"))])
    assert "holds no authority that signed the list of CN=stranger" in first
    assert "'root', which has no list" in second


def test_a_list_in_the_authority_s_name_with_another_key_is_told() -> None:
    (sentence,) = roots(ROOT, lists=[make_crl(ROOT, key=make_ca().key)])
    assert "holds no authority that signed the list" in sentence


def test_an_authority_that_issues_only_authorities_needs_no_list() -> None:
    intermediate = make_ca("intermediate", issuer=ROOT)
    assert roots(ROOT, intermediate, lists=[make_crl(intermediate)]) == []
    (sentence,) = roots(ROOT, intermediate, lists=[make_crl(ROOT)])
    assert "'intermediate', which has no list" in sentence


@pytest.mark.parametrize(
    ("crl", "words"),
    [
        (make_crl(ROOT, ends=NOW), "was due for renewal on 2026-06-01"),
        (make_crl(ROOT, begins=NOW + SOON), "begins only on"),
    ],
)
def test_a_list_at_the_wrong_time_is_told(crl: x509.CertificateRevocationList, words: str) -> None:
    (sentence,) = crl_problems([crl], NOW)
    assert words in sentence


def test_a_list_is_good_until_its_last_second() -> None:
    assert list(crl_problems([make_crl(ROOT, begins=NOW - YEAR, ends=NOW + SOON)], NOW)) == []


def test_an_authority_is_told_from_what_is_none() -> None:
    assert is_authority(ROOT.certificate)
    assert not is_authority(Recipe().make().certificate)
    assert is_authority(make_ca(has_key_usage=False).certificate)


def test_a_certificate_is_named_by_its_common_name() -> None:
    assert certificate_name(ROOT.certificate) == "'root'"
