from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from sqlalchemy import select

from gateway.actions.certificate_store import authorities_in, find_client_root, find_server_certificate
from gateway.store.schema import certificate
from tests.unit.gateway.actions.authorities import ROOT, SERVER, publish, publish_both
from tests.unit.gateway.actions.harness import NOW, make_call, refused
from tests.unit.gateway.certificate_maker import Recipe, make_ca

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.store import Store

YEAR_S = 366 * 86_400


def judged(store: Store, find: Callable[..., Any], arn: str, now: float = NOW) -> str:
    with store.read() as connection:
        return str(find(make_call(store, connection, now=now), arn, "Arn").arn)


def test_publishing_again_changes_nothing(store: Store) -> None:
    arns = publish_both(store)
    assert publish_both(store) == arns
    with store.read() as connection:
        rows = {row.arn: row for row in connection.execute(select(certificate))}
    assert rows.keys() == {arns.root, arns.server}
    assert rows[arns.root].private_key is None
    assert store.vault.open(rows[arns.server].private_key) == SERVER.key_pem
    assert rows[arns.server].chain == (SERVER.pem + ROOT.pem).decode()
    assert (rows[arns.server].name, rows[arns.server].origin) == ("vpn.example.com", "pki")


def test_what_an_arn_lets_in_never_changes(store: Store) -> None:
    other = make_ca("other")
    alone, together = publish(store, ROOT, with_key=False), publish(store, ROOT, other, with_key=False)
    assert alone != together
    with store.read() as connection:
        chains = {row.arn: row.chain for row in connection.execute(select(certificate))}
    assert chains == {alone: ROOT.pem.decode(), together: (ROOT.pem + other.pem).decode()}


def test_the_arn_of_one_certificate_begins_as_its_fingerprint_does(store: Store) -> None:
    fingerprint = SERVER.certificate.fingerprint(hashes.SHA256()).hex()
    assert publish(store, SERVER).rpartition("/")[2].replace("-", "") == fingerprint[:32]


def test_a_key_may_come_later(store: Store) -> None:
    arn = publish(store, SERVER, with_key=False)
    assert publish(store, SERVER) == publish(store, SERVER, with_key=False) == arn
    with store.read() as connection:
        (sealed,) = connection.scalars(select(certificate.c.private_key))
    assert store.vault.open(sealed) == SERVER.key_pem


def test_different_certificates_have_different_arns(store: Store) -> None:
    assert publish(store, SERVER) != publish(store, Recipe(name="vpn.example.com", issuer=ROOT).make())


def test_an_arn_names_region_and_account(store: Store) -> None:
    assert publish(store, SERVER).startswith("arn:aws:acm:here:123456789012:certificate/")


def test_a_strange_name_is_made_harmless(store: Store) -> None:
    publish(store, Recipe(name="two\nlines\x00", issuer=ROOT).make())
    with store.read() as connection:
        (name,) = connection.scalars(select(certificate.c.name))
    assert name == "two\N{REPLACEMENT CHARACTER}lines\N{REPLACEMENT CHARACTER}"


def test_each_part_takes_its_certificate(store: Store) -> None:
    arns = publish_both(store)
    assert judged(store, find_server_certificate, arns.server) == arns.server
    assert judged(store, find_client_root, arns.root) == arns.root


def test_a_server_s_certificate_stands_for_the_authorities_behind_it(store: Store) -> None:
    arns = publish_both(store)
    assert judged(store, find_client_root, arns.server) == arns.server
    assert authorities_in((SERVER.pem + ROOT.pem).decode()) == [ROOT.certificate]
    assert authorities_in(ROOT.pem.decode()) == [ROOT.certificate]


def test_a_server_s_certificate_alone_stands_for_no_authority(store: Store) -> None:
    arn = publish(store, SERVER)
    with refused("InvalidParameterValue", "without its issuers"):
        judged(store, find_client_root, arn)


def test_an_authority_is_no_server(store: Store) -> None:
    arns = publish_both(store)
    with refused("InvalidParameterValue", "is an authority"):
        judged(store, find_server_certificate, arns.root)


@pytest.mark.parametrize("find", [find_server_certificate, find_client_root])
def test_what_is_not_there_is_refused(store: Store, find: Callable[..., Any]) -> None:
    with refused("InvalidParameterValue", "there is no certificate 'arn:nothing'"):
        judged(store, find, "arn:nothing")


def test_what_is_no_longer_in_force_is_refused(store: Store) -> None:
    arns = publish_both(store)
    with refused("InvalidParameterValue", "Arn names 'vpn.example.com', which expired on"):
        judged(store, find_server_certificate, arns.server, NOW + YEAR_S)
    with refused("InvalidParameterValue", "Arn names 'portway test root', which expired on"):
        judged(store, find_client_root, arns.root, NOW + YEAR_S)


def test_an_authority_without_its_own_issuer_is_refused(store: Store) -> None:
    intermediate = make_ca("intermediate", issuer=ROOT)
    with refused("InvalidParameterValue", "lacks the issuer of 'intermediate'"):
        judged(store, find_client_root, publish(store, intermediate, with_key=False))
    whole = publish(store, intermediate, ROOT, with_key=False)
    assert judged(store, find_client_root, whole) == whole
