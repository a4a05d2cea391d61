from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.unit.gateway.actions.authorities import ROOT, SERVER, publish
from tests.unit.gateway.actions.declaration.documents import apply, details, document, lines, plan
from tests.unit.gateway.actions.declaration.documents import endpoint as declared
from tests.unit.gateway.actions.harness import invoke, refused
from tests.unit.gateway.certificate_maker import Recipe, make_ca

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns
    from tests.unit.gateway.certificate_maker import Made

RENEWED = Recipe(name="vpn.example.com", issuer=ROOT, ends=Recipe().ends + timedelta(days=30)).make()


def in_files(certificate: Made, *issuers: Made) -> dict[str, str]:
    chain = b"".join(one.pem for one in (certificate, *issuers))
    return {"server_certificate": chain.decode(), "server_key": certificate.key_pem.decode()}


def used(store: Store) -> str:
    (endpoint,) = invoke(store, "DescribeClientVpnEndpoints")["ClientVpnEndpoints"]
    return str(endpoint["ServerCertificateArn"])


def test_the_very_same_certificate_is_taken_from_the_store(world: Store, arns: Arns) -> None:
    reply = apply(world, document(declared(arns, **in_files(SERVER, ROOT))))
    assert not any("certificate" in line for line in lines(reply))
    assert used(world) == arns.server


def test_another_one_is_imported_once(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    renewed = document(declared(arns, **in_files(RENEWED, ROOT)))
    planned = plan(world, renewed)
    assert lines(planned) == ['create certificate "vpn.example.com"', 'modify endpoint "staff"']
    assert apply(world, renewed)["Changes"] == planned["Changes"]
    ((old, new),) = details(planned, 'endpoint "staff"').values()
    assert old != new
    assert used(world) != arns.server
    assert plan(world, renewed)["Changes"] == []


def test_two_endpoints_share_what_is_imported(world: Store, arns: Arns) -> None:
    files = in_files(RENEWED, ROOT)
    one, two = (
        declared(arns, **files),
        declared(arns, **files, name="guests", client_cidr_block="10.91.0.0/22", vpn_port=1),
    )
    assert sum("certificate" in line for line in lines(apply(world, document(one, two)))) == 1


def test_an_authority_is_imported_without_a_key(world: Store, arns: Arns) -> None:
    other = make_ca("another root")
    authentication = {"client_root_certificate_chain": other.pem.decode()}
    reply = apply(world, document(declared(arns, authentication=authentication)))
    assert lines(reply)[0] == 'create certificate "another root"'


def test_a_name_means_the_certificate_that_is_good_for_longest(world: Store, arns: Arns) -> None:
    named = document(declared(arns, server_certificate="vpn.example.com"))
    apply(world, named)
    assert used(world) == arns.server
    renewed = publish(world, RENEWED, ROOT)
    assert lines(apply(world, named)) == ['modify endpoint "staff"']
    assert used(world) == renewed


def test_an_authority_is_found_by_its_name(world: Store, arns: Arns) -> None:
    named = {"client_root_certificate_chain": "portway test root"}
    assert apply(world, document(declared(arns, authentication=named)))["Applied"]
    with refused("InvalidParameterValue", "endpoint[0].authentication.client_root_certificate_chain: No certificate"):
        apply(world, document(declared(arns, authentication={"client_root_certificate_chain": "vpn.example.com"})))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "nobody",
            'endpoint[0].server_certificate: No certificate of the kind server is called "nobody". There are: "vpn',
        ),
        ("arn:aws:acm:here:1:certificate/x", "endpoint[0].server_certificate: there is no certificate"),
    ],
)
def test_a_certificate_that_is_not_there_is_refused(world: Store, arns: Arns, name: str, sentence: str) -> None:
    with refused("InvalidParameterValue", sentence):
        apply(world, document(declared(arns, server_certificate=name)))


def test_a_certificate_that_clients_would_refuse_is_refused(world: Store, arns: Arns) -> None:
    stranger = replace(RENEWED, key=SERVER.key)
    with refused("InvalidParameterValue", 'endpoint[0].server_certificate (create certificate "vpn.example.com")'):
        apply(world, document(declared(arns, **in_files(stranger, ROOT))))


def test_what_is_no_certificate_is_refused(world: Store, arns: Arns) -> None:
    broken = {"server_certificate": "-----BEGIN CERTIFICATE-----\nnothing\n", "server_key": "x"}
    with refused("InvalidParameterValue", "endpoint[0].server_certificate: It "):
        apply(world, document(declared(arns, **broken)))
