from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.unit.gateway.actions.authorities import ROOT, publish
from tests.unit.gateway.actions.declaration.documents import apply, details, document, export, lines, plan
from tests.unit.gateway.actions.declaration.documents import endpoint as declared
from tests.unit.gateway.actions.harness import invoke, refused
from tests.unit.gateway.certificate_maker import make_ca, make_crl

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

STAFF = 'endpoint "staff"'
OTHER_ROOT = make_ca("another root")


def pem(issuer: Any = ROOT) -> str:
    return make_crl(issuer).public_bytes(Encoding.PEM).decode()


def shown(store: Store) -> dict[str, Any]:
    (endpoint,) = invoke(store, "DescribeClientVpnEndpoints")["ClientVpnEndpoints"]
    return dict(endpoint)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("description", "Everybody", "Everybody"),
        ("client_cidr_block", "10.91.0.0/22", "10.91.0.0/22"),
        ("transport_protocol", ["tcp"], '["tcp"]'),
        ("vpn_port", 1194, "1194"),
        ("split_tunnel", False, "false"),
        ("dns_servers", ["10.20.0.53"], '["10.20.0.53"]'),
        ("session_timeout_hours", 0.5, "0.5"),
        ("disconnect_on_session_timeout", False, "false"),
        ("login_banner", "Hello", "Hello"),
        ("client_route_enforcement", True, "true"),
        ("self_service_portal", True, "true"),
        ("listen", "192.0.2.1", "192.0.2.1"),
        ("public_hostname", "vpn.example.org", "vpn.example.org"),
        ("search_domains", ["corp.example"], '["corp.example"]'),
        ("tls_version_min", "1.3", "1.3"),
        ("max_clients", 10, "10"),
        ("sessions_per_client", 2, "2"),
        ("clients_reachable", True, "true"),
    ],
)
def test_every_setting_is_changed_and_back_to_its_default(
    world: Store, arns: Arns, key: str, value: object, text: str
) -> None:
    plain, changed = document(declared(arns)), document(declared(arns, **{key: value}))
    apply(world, plain)
    there = apply(world, changed)
    assert lines(there) == [f"modify {STAFF}"]
    (found,) = details(there, STAFF).values()
    assert found[1] == text
    assert export(world)["endpoint"][0][key] == value
    back = apply(world, plain)
    assert details(back, STAFF)[key] == (text, found[0])
    assert export(world)["endpoint"][0].get(key) == plain["endpoint"][0].get(key)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"control_channel": {"accept": ["none"]}}, "control_channel.accept"),
        ({"connection_log": {"group": "vpn"}}, "connection_log.group"),
        ({"connection_log": {"enabled": False}}, "connection_log.enabled"),
        ({"data_channel": {"mtu": 1400}}, "data_channel.mtu"),
        ({"keepalive": {"interval_s": 5}}, "keepalive.interval_s"),
        ({"handshake": {"timeout_s": 30}}, "handshake.timeout_s"),
        ({"tags": {"team": "a"}}, "tags.team"),
    ],
)
def test_tables_are_compared_key_by_key(world: Store, arns: Arns, table: dict[str, Any], key: str) -> None:
    apply(world, document(declared(arns)))
    assert key in details(apply(world, document(declared(arns, **table))), STAFF)
    (name,) = table
    assert export(world)["endpoint"][0][name] == table[name]


def test_a_log_group_that_there_is_not_is_refused_at_its_place(world: Store, arns: Arns) -> None:
    with refused("InvalidParameterValue", "endpoint[0].connection_log.group: there is no log group 'nowhere'"):
        apply(world, document(declared(arns, connection_log={"group": "nowhere"})))


def test_groups_come_from_where_the_file_says(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    authentication = {"client_root_certificate_chain": arns.root, "groups_from": "subject.O"}
    reply = apply(world, document(declared(arns, authentication=authentication)))
    assert details(reply, STAFF) == {"authentication.groups_from": (None, "subject.O")}
    assert export(world)["endpoint"][0]["authentication"] == authentication


def test_two_endpoints_may_share_a_port_of_different_addresses(world: Store, arns: Arns) -> None:
    one = declared(arns, listen="192.0.2.1")
    two = declared(arns, name="guests", client_cidr_block="10.91.0.0/22", listen="192.0.2.2")
    assert apply(world, document(one, two))["Applied"]
    with refused("InvalidParameterValue", "endpoint[1].vpn_port: The endpoint"):
        apply(world, document(one, two | {"listen": "192.0.2.1"}))


def test_settings_are_judged_as_in_config_toml(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    with refused("InvalidParameterValue", "endpoint[0].keepalive.timeout_s"):
        apply(world, document(declared(arns, keepalive={"interval_s": 60})))


def test_routes_from_client_to_client_follow_the_range(world: Store, arns: Arns) -> None:
    local = {"destination": "10.90.0.0/22", "target": "local"}
    apply(world, document(declared(arns, route=[local])))
    moved = declared(arns, client_cidr_block="10.91.0.0/22")
    with refused("InvalidParameterValue", "endpoint[0].client_cidr_block"):
        apply(world, document(moved | {"route": [local]}))
    apply(world, document(moved | {"route": [local | {"destination": "10.91.0.0/22"}]}))


def test_a_list_is_imported_once_and_stays_where_none_is_named(world: Store, arns: Arns) -> None:
    root = {"client_root_certificate_chain": arns.root}
    with_list = document(declared(arns, authentication=root | {"certificate_revocation_list": pem()}))
    assert "authentication.certificate_revocation_list" in details(apply(world, with_list), STAFF)
    assert plan(world, with_list)["Changes"] == []
    assert plan(world, document(declared(arns)))["Changes"] == []
    assert "certificate_revocation_list" in export(world)["endpoint"][0]["authentication"]


def test_a_list_has_to_fit_the_authorities_that_come_with_it(world: Store, arns: Arns) -> None:
    root = {"client_root_certificate_chain": arns.root}
    with refused("InvalidParameterValue", 'endpoint[0] (create endpoint "staff"): The client root'):
        apply(
            world,
            document(declared(arns, authentication=root | {"certificate_revocation_list": pem(OTHER_ROOT)})),
        )


def test_other_authorities_do_not_lock_clients_out_by_the_list_that_is_there(world: Store, arns: Arns) -> None:
    root = {"client_root_certificate_chain": arns.root}
    apply(world, document(declared(arns, authentication=root | {"certificate_revocation_list": pem()})))
    other = {"client_root_certificate_chain": publish(world, OTHER_ROOT, with_key=False)}
    with refused("InvalidParameterValue", 'modify endpoint "staff"'):
        apply(world, document(declared(arns, authentication=other)))
    renewed = other | {"certificate_revocation_list": pem(OTHER_ROOT)}
    assert lines(apply(world, document(declared(arns, authentication=renewed)))) == [f"modify {STAFF}"]


def test_tags_but_for_the_name_are_exactly_those_of_the_file(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns, tags={"team": "a", "old": "x"})))
    apply(world, document(declared(arns, tags={"team": "b"})))
    assert shown(world)["Tags"] == [{"Key": "Name", "Value": "staff"}, {"Key": "team", "Value": "b"}]


def test_the_name_is_no_tag_of_the_file(world: Store, arns: Arns) -> None:
    with refused("InvalidParameterValue", "endpoint[0].tags.Name"):
        apply(world, document(declared(arns, tags={"Name": "other"})))


def test_an_endpoint_without_a_name_goes_by_its_id(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    endpoint_id = shown(world)["ClientVpnEndpointId"]
    invoke(world, "DeleteTags", Resources=[endpoint_id], Tags=[{"Key": "Name"}])
    exported = export(world)
    assert exported["endpoint"][0]["name"] == endpoint_id
    assert plan(world, exported)["Changes"] == []
    tagged = exported["endpoint"][0] | {"tags": {"Name": "guests"}}
    apply(world, document(tagged))
    assert export(world)["endpoint"][0]["name"] == "guests"


def test_an_id_is_not_chosen_by_a_file(world: Store, arns: Arns) -> None:
    with refused("InvalidClientVpnEndpointId.NotFound", "endpoint[0].name"):
        apply(world, document(declared(arns, name="cvpn-endpoint-0123456789abcdef0")))


def test_a_vpc_is_needed_for_groups_without_a_network(world: Store, arns: Arns) -> None:
    lonely = declared(arns, target_network=[], security_groups=["default"])
    with refused("InvalidParameterValue", "endpoint[0].vpc: Missing"):
        apply(world, document(lonely))
    apply(world, document(lonely | {"vpc": "main"}))
    assert export(world)["endpoint"][0]["vpc"] == "main"
    assert plan(world, document(lonely | {"vpc": "main"}))["Changes"] == []
