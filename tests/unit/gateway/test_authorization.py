from ipaddress import IPv4Address, IPv4Network

import pytest
from cryptography import x509

from gateway.authorization import Authorizer, Refusal
from gateway.identity import Identity
from policy import AuthorizationRule, Route, compile_access
from tests.unit.gateway.world import OFFICE, make_spec, pki
from tunnel.events import CloseReason

ANA = Identity("ana", ("engineering",), 1)


def certificate(name: str, *groups: str) -> x509.Certificate:
    pki().client(name, *groups)
    return x509.load_pem_x509_certificate(pki().read(f"{name}.crt"))


def test_the_client_is_whom_the_certificate_names() -> None:
    identity = Authorizer(make_spec()).identify(certificate("dora", "engineering"))
    assert (identity.common_name, identity.groups) == ("dora", ("engineering",))


def test_no_certificate_is_a_refusal() -> None:
    with pytest.raises(Refusal) as refusal:
        Authorizer(make_spec()).identify(None)
    assert refusal.value.reason is CloseReason.NO_CERTIFICATE


def test_a_pool_that_is_used_up_is_a_refusal_and_a_release_makes_room() -> None:
    authorizer = Authorizer(make_spec(client_cidr_block=IPv4Network("10.80.0.0/30")))
    lease = authorizer.lease(ANA)
    assert (lease.peer_id, lease.address) == (0, IPv4Address("10.80.0.2"))
    with pytest.raises(Refusal) as refusal:
        authorizer.lease(ANA)
    assert refusal.value.reason is CloseReason.POOL_EXHAUSTED
    authorizer.release(lease)
    assert authorizer.lease(ANA) == lease


@pytest.mark.parametrize(("limit", "sessions", "surplus"), [(1, 0, 0), (1, 1, 1), (2, 1, 0), (2, 3, 2), (0, 9, 0)])
def test_a_client_keeps_as_many_sessions_as_the_limit_leaves_beside_the_new_one(
    limit: int, sessions: int, surplus: int
) -> None:
    assert Authorizer(make_spec(sessions_per_client=limit)).surplus(sessions) == surplus


def test_tables_are_compiled_once_for_each_set_of_groups_that_rules_name() -> None:
    authorizer = Authorizer(make_spec())
    table = authorizer.access(ANA)
    assert authorizer.access(Identity("bob", ("engineering", "unnamed"), 2)) is table
    spec = make_spec(authorization_rules=(AuthorizationRule(OFFICE, None),))
    authorizer.adopt(spec)
    wanted = compile_access(spec, frozenset())
    assert (authorizer.access(ANA).starts, authorizer.access(ANA).verdicts) == (wanted.starts, wanted.verdicts)


def test_clients_are_told_what_the_spec_says() -> None:
    split = Authorizer(make_spec(login_banner="For work only.", client_route_enforcement=True))
    push = split.push(split.lease(ANA))
    assert push.routes == (OFFICE, IPv4Network("10.30.0.0/24"))
    assert (push.redirect_gateway, push.block_local) == (False, False)
    assert push.banner == "For work only."
    full = Authorizer(make_spec(split_tunnel=False, client_route_enforcement=True, routes=(Route(OFFICE, "office"),)))
    push = full.push(full.lease(ANA))
    assert (push.redirect_gateway, push.block_local) == (True, True)
    assert push.routes == ()
