from __future__ import annotations

from ipaddress import IPv4Network, ip_address
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from gateway.actions.endpoint_conflicts import check_possible
from gateway.store.schema import endpoint
from tests.unit.gateway.actions.endpoint_calls import create, modify, shown
from tests.unit.gateway.actions.harness import limited_to, make_call, refused, with_defaults
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    add_association,
    add_endpoint,
    add_file_endpoint,
    add_network,
    add_route,
)

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns


def test_ranges_of_endpoints_do_not_overlap(store: Store, arns: Arns) -> None:
    first = create(store, arns, ClientCidrBlock="10.20.0.0/22")
    for cidr in ("10.20.0.0/22", "10.20.1.0/24", "10.16.0.0/12"):
        with refused("InvalidParameterValue", f'of the endpoint "{first}"'):
            create(store, arns, ClientCidrBlock=cidr, VpnPort=1194)
    assert create(store, arns, ClientCidrBlock="10.20.4.0/22", VpnPort=1194)


def test_the_range_of_a_file_s_endpoint_is_taken(store: Store, arns: Arns) -> None:
    add_file_endpoint(store, client_cidr_block="10.99.0.0/24")
    with refused(
        "InvalidParameterValue", 'ClientCidrBlock: 10.99.0.0/25 overlaps 10.99.0.0/24 of the endpoint "office"'
    ):
        create(store, arns, ClientCidrBlock="10.99.0.0/25", VpnPort=1194)


def test_the_range_of_what_has_ended_is_free(store: Store, arns: Arns) -> None:
    add_endpoint(store, ended_at=1.0)
    assert create(store, arns)


def test_a_range_does_not_meet_the_hosts_networks(store: Store, arns: Arns) -> None:
    add_network(store, cidr="10.20.1.0/24", name="office")
    with refused("InvalidParameterValue", "10.20.0.0/22 overlaps 10.20.1.0/24 of the subnet subnet-1 (office)"):
        create(store, arns)


def test_a_range_does_not_take_what_a_route_leads_to(store: Store, arns: Arns) -> None:
    other = create(store, arns, ClientCidrBlock="10.30.0.0/22", VpnPort=1194)
    add_association(store, endpoint_id=other)
    add_route(store, endpoint_id=other, destination_cidr="0.0.0.0/0")
    add_route(store, endpoint_id=other, destination_cidr="10.30.0.0/22", subnet_id="local", association_id=None)
    add_route(store, endpoint_id=other, destination_cidr="10.20.2.0/24")
    with refused("InvalidParameterValue", "10.20.0.0/22 overlaps 10.20.2.0/24, where a route leads"):
        create(store, arns)
    assert create(store, arns, ClientCidrBlock="10.40.0.0/22")


@pytest.mark.parametrize(
    ("transport", "port", "free"), [("udp", 443, False), ("tcp", 443, True), ("udp", 1194, True), ("tcp", 1194, True)]
)
def test_one_endpoint_has_a_port_of_a_transport(
    store: Store, arns: Arns, transport: str, port: int, *, free: bool
) -> None:
    first = create(store, arns)
    second = {"ClientCidrBlock": "10.30.0.0/22", "TransportProtocol": transport, "VpnPort": port}
    if free:
        assert create(store, arns, **second)
    else:
        with refused("InvalidParameterValue", f'VpnPort: The endpoint "{first}" listens on udp port 443 too'):
            create(store, arns, **second)


def test_a_file_s_endpoint_may_have_a_port_of_both_transports(store: Store, arns: Arns) -> None:
    add_file_endpoint(store, transport_protocols=["udp", "tcp"])
    for transport in ("udp", "tcp"):
        with refused("InvalidParameterValue", 'The endpoint "office" listens'):
            create(store, arns, TransportProtocol=transport)


@pytest.mark.parametrize(
    ("own", "others", "free"),
    [
        ("192.0.2.1", "192.0.2.2", True),
        ("192.0.2.1", "192.0.2.1", False),
        ("0.0.0.0", "192.0.2.2", False),
        ("192.0.2.1", "::", False),
        ("::1", "0.0.0.0", True),
    ],
)
def test_a_port_of_another_address_is_free(store: Store, arns: Arns, own: str, others: str, *, free: bool) -> None:
    add_file_endpoint(store, settings={"listen": others})
    here = with_defaults(listen=ip_address(own))
    if free:
        assert create(store, arns, settings=here)
    else:
        with refused("InvalidParameterValue", "VpnPort"):
            create(store, arns, settings=here)


def test_a_port_is_not_changed_to_one_that_is_taken(store: Store, arns: Arns) -> None:
    first = create(store, arns)
    second = create(store, arns, ClientCidrBlock="10.30.0.0/22", VpnPort=1194)
    with refused("InvalidParameterValue", first):
        modify(store, second, VpnPort=443)
    modify(store, second, VpnPort=1195)
    modify(store, second, VpnPort=1195, Description="the same port again")
    assert shown(store, second)["VpnPort"] == 1195


def test_who_may_not_know_of_an_endpoint_does_not_learn_of_it(store: Store) -> None:
    mine = add_endpoint(store)
    hidden = add_endpoint(store, "cvpn-endpoint-hidden", client_cidr_block="10.30.0.0/22", vpn_port=1194)
    with refused("InvalidParameterValue", 'The endpoint "another one" listens') as caught:
        modify(store, mine, VpnPort=1194, caller=limited_to(mine))
    assert hidden not in caught.message


def test_a_range_that_has_become_impossible_does_not_hold_up_another_port(store: Store) -> None:
    add_endpoint(store, client_cidr_block="10.20.0.0/22")
    add_endpoint(store, "cvpn-endpoint-x", client_cidr_block="10.20.1.0/24", vpn_port=1194)
    modify(store, ENDPOINT_ID, VpnPort=1195)
    assert shown(store, ENDPOINT_ID)["VpnPort"] == 1195


CIDRS = st.builds(
    lambda address, prefix: str(IPv4Network((address, prefix), strict=False)),
    st.integers(0x0A000000, 0x0A07FFFF),
    st.integers(14, 24),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(cidrs=st.lists(CIDRS, min_size=1, max_size=5, unique=True), new=CIDRS)
def test_a_range_is_refused_exactly_where_it_overlaps_another(store: Store, cidrs: list[str], new: str) -> None:
    with store.write() as connection:
        connection.execute(delete(endpoint))
    for number, cidr in enumerate(cidrs):
        add_endpoint(store, f"cvpn-endpoint-{number}", client_cidr_block=cidr, vpn_port=1000 + number)
    values: dict[str, Any] = {
        "description": "",
        "client_cidr_block": new,
        "vpn_port": 443,
        "transport_protocols": ["udp"],
        "dns_servers": [],
        "split_tunnel": False,
        "session_timeout_hours": 24.0,
        "disconnect_on_session_timeout": True,
        "connection_log_options": {"Enabled": False},
        "client_login_banner_options": {"Enabled": False},
        "client_route_enforcement_options": {"Enforced": False},
        "settings": {},
    }
    overlaps = any(IPv4Network(cidr).overlaps(IPv4Network(new)) for cidr in cidrs)
    with store.read() as connection:
        call = make_call(store, connection)
        if overlaps:
            with refused("InvalidParameterValue", "overlaps"):
                check_possible(call, "new", values, values.keys())
        else:
            check_possible(call, "new", values, values.keys())
