from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Literal

import pytest
from sqlalchemy import select, update

import gateway.actions.export  # noqa: F401 - registers the action
from gateway.actions.control_channel_keys import open_control_channel_keys
from gateway.config import EndpointDefaults, Network
from gateway.managed.building import Builder, Circumstances
from gateway.managed.snapshot import read_snapshot
from gateway.profile import build_profile, find_server_authority
from gateway.store.schema import association_security_group, endpoint
from tests.unit.gateway.actions.authorities import ROOT, SERVER, publish
from tests.unit.gateway.actions.endpoint_calls import create
from tests.unit.gateway.actions.harness import invoke, limited_to, refused, with_defaults
from tests.unit.gateway.actions.rows import (
    FILE_ENDPOINT_ID,
    add,
    add_association,
    add_file_endpoint,
    add_route,
    add_security_group,
)
from tests.unit.gateway.certificate_maker import NOW, Recipe, make_ca
from tunnel import parse_static_key

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns


def exported(store: Store, endpoint_id: str, **more: Any) -> str:
    reply = invoke(store, "ExportClientVpnClientConfiguration", ClientVpnEndpointId=endpoint_id, **more)
    return str(reply["ClientConfiguration"])


def block(profile: str, name: str) -> str:
    return profile.partition(f"<{name}>\n")[2].partition(f"</{name}>")[0]


def test_a_profile_has_everything_but_who_the_client_is(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, TransportProtocol="tcp", VpnPort=1194)
    profile = exported(store, endpoint_id)
    lines = profile.splitlines()
    assert [line for line in lines if line.startswith("remote ")] == ["remote vpn.example.com 1194 tcp"]
    assert "client" in lines
    assert "remote-cert-tls server" in lines
    assert 'verify-x509-name "vpn.example.com" name' in lines
    assert block(profile, "ca") == ROOT.pem.decode()
    assert "<cert>" not in lines
    assert "<key>" not in lines
    assert "PRIVATE KEY" not in profile


def test_a_profile_has_the_endpoint_s_own_control_channel_key(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns)
    with store.read() as connection:
        (sealed,) = connection.scalars(select(endpoint.c.control_channel_keys))
    key = parse_static_key(block(exported(store, endpoint_id), "tls-crypt"))
    assert key.octets == open_control_channel_keys(store.vault, sealed)["tls_crypt_key"]


def test_a_profile_has_no_key_where_control_channels_have_none(store: Store, arns: Arns) -> None:
    profile = exported(store, create(store, arns), settings=with_defaults(control_channel="none"))
    assert "tls-crypt" not in profile


def test_an_endpoint_s_own_settings_come_before_the_defaults(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns)
    own = {
        "public_hostname": "own.example.com",
        "control_channel": "none",
        "tls_version_min": "1.3",
        "data_channel": {"data_ciphers": ["AES-128-GCM"]},
    }
    with store.write() as connection:
        connection.execute(update(endpoint).values(settings=own))
    profile = exported(store, endpoint_id)
    lines = profile.splitlines()
    assert "remote own.example.com 443 udp" in lines
    assert "tls-version-min 1.3" in lines
    assert "data-ciphers AES-128-GCM" in lines
    assert "<tls-crypt>" not in lines


@pytest.mark.parametrize("split_tunnel", [False, True])
@pytest.mark.parametrize("control_channel", ["tls-crypt", "none"])
def test_a_profile_is_what_the_gateway_s_own_spec_makes(
    store: Store, arns: Arns, control_channel: Literal["tls-crypt", "none"], *, split_tunnel: bool
) -> None:
    """The API knows an endpoint from its rows, as the gateway does; a client must not notice that these are two."""
    here = with_defaults(public_hostname="192.168.10.7", control_channel=control_channel)
    endpoint_id = create(store, arns, SplitTunnel=split_tunnel, settings=here)
    network = Network("office", IPv4Network("192.168.10.0/24"), "eth1", None, "a", "main", nat=True)
    association_id = add_association(store, endpoint_id=endpoint_id, subnet_id=network.subnet_id)
    group_id = add_security_group(store)
    add(store, association_security_group, association_id=association_id, group_id=group_id, position=0)
    add_route(store, endpoint_id=endpoint_id, subnet_id=network.subnet_id)
    circumstances = Circumstances(
        {network.subnet_id: network}, EndpointDefaults(control_channel=control_channel), store.vault, now=NOW
    )
    snapshot = read_snapshot(store, "gw1")
    (managed,) = snapshot.endpoints
    spec = Builder(snapshot, circumstances).build(managed).spec
    assert spec is not None
    authority = find_server_authority(spec)
    expected = build_profile(spec, None, ["192.168.10.7"], server_authority=authority)
    assert exported(store, endpoint_id, settings=here) == expected


def test_under_a_domain_each_endpoint_has_its_own_name(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns)
    profile = exported(store, endpoint_id, settings=with_defaults(dns_suffix="vpn.example.org"))
    assert f"remote {endpoint_id}.vpn.example.org 443 udp" in profile.splitlines()


def test_the_way_to_the_gateway_stays_outside_of_the_tunnel(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, SplitTunnel=True)
    add_association(store, endpoint_id=endpoint_id)
    add_route(store, endpoint_id=endpoint_id, destination_cidr="198.51.100.0/24")
    add_route(store, endpoint_id=endpoint_id, destination_cidr="203.0.113.0/24", status_code="deleting")
    for host, stays in (("198.51.100.7", True), ("203.0.113.7", False)):
        profile = exported(store, endpoint_id, settings=with_defaults(public_hostname=host))
        assert (f"route {host} 255.255.255.255 net_gateway" in profile.splitlines()) is stays


def test_a_route_that_another_hand_has_spoilt_spoils_no_profile(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns)
    as_it_is = exported(store, endpoint_id)
    add_association(store, endpoint_id=endpoint_id)
    add_route(store, endpoint_id=endpoint_id, destination_cidr="everywhere")
    assert exported(store, endpoint_id) == as_it_is


def test_the_issuer_of_a_server_s_certificate_is_found_among_all_authorities(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, ServerCertificateArn=publish(store, SERVER))
    assert block(exported(store, endpoint_id), "ca") == ROOT.pem.decode()


def test_without_the_issuer_there_is_no_profile(store: Store, arns: Arns) -> None:
    server = publish(store, Recipe(name="lost", issuer=make_ca("nowhere")).make())
    endpoint_id = create(store, arns, ServerCertificateArn=server)
    with refused("UnsupportedOperation", "The issuer of 'lost' is not at hand"):
        exported(store, endpoint_id)


def test_without_a_name_for_the_gateway_there_is_no_profile(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns)
    with refused("UnsupportedOperation", "public_hostname"):
        exported(store, endpoint_id, settings=with_defaults(public_hostname=""))


def test_a_certificate_that_is_gone_is_missed(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns)
    with store.write() as connection:
        connection.execute(update(endpoint).values(server_certificate_arn="arn:gone"))
    with refused("UnsupportedOperation", "arn:gone"):
        exported(store, endpoint_id)


def test_a_file_s_endpoint_is_exported_where_its_keys_are(store: Store) -> None:
    add_file_endpoint(store)
    with refused("UnsupportedOperation", "portway profile NAME --endpoint office"):
        exported(store, FILE_ENDPOINT_ID)


def test_what_a_caller_may_not_know_of_is_not_found(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns)
    with refused("InvalidClientVpnEndpointId.NotFound"):
        exported(store, endpoint_id, caller=limited_to("cvpn-endpoint-other"))
