"""A store says itself as a declaration, and a declaration says the store: whatever is in either."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from gateway.actions import ActionError
from gateway.store.schema import endpoint as endpoint_table
from gateway.store.schema import metadata, security_group
from tests.unit.gateway.actions.declaration.documents import LAB, OFFICE, apply, document, export, plan
from tests.unit.gateway.actions.declaration.documents import endpoint as declared
from tests.unit.gateway.actions.endpoint_calls import wanted
from tests.unit.gateway.actions.harness import invoke

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)

GROUPS = ("engineering", "finance", "a, b")
DESTINATIONS = (OFFICE, LAB, "10.20.0.0/25", "10.40.0.0/16", "0.0.0.0/0")
TEXT = st.sampled_from(["", "for people", 'with "quotes" and\na second line', "☂"])
TAGS = st.dictionaries(st.sampled_from(["team", "two words", "ключ"]), TEXT, max_size=2)


def pick(values: Any, most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=most)


def subset(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the keys."""
    return st.fixed_dictionaries({}, optional=keys)


SECURITY_RULES = st.lists(
    st.builds(
        lambda traffic, other, description: {**traffic, **other, "description": description},
        st.sampled_from(
            [
                {"protocol": "all"},
                {"protocol": "tcp", "from_port": 443},
                {"protocol": "udp", "from_port": 5000, "to_port": 5100},
                {"protocol": "icmp"},
                {"protocol": "icmp", "from_port": 8},
                {"protocol": "47"},
            ]
        ),
        st.sampled_from([{"cidr": OFFICE}, {"cidr": "0.0.0.0/0"}, {"group": "web"}]),
        TEXT,
    ),
    max_size=3,
    unique_by=lambda rule: str({key: value for key, value in rule.items() if key != "description"}),
)
SECURITY_GROUPS = st.builds(
    lambda web, db: ({"name": "web", **web}, {"name": "db", **db}),
    *[subset(egress=SECURITY_RULES, ingress=SECURITY_RULES, tags=TAGS) for _ in range(2)],
)
SOME_GROUPS = st.lists(st.sampled_from(["web", "db", "default"]), unique=True, min_size=1)
SETTINGS = subset(
    description=TEXT,
    transport_protocol=st.sampled_from([["udp"], ["tcp"], ["tcp", "udp"]]),
    vpn_port=st.sampled_from([443, 1194]),
    client_cidr_block=st.sampled_from(["10.90.0.0/22", "10.91.0.0/22"]),
    split_tunnel=st.booleans(),
    dns_servers=pick(["10.20.0.53", "10.20.0.54"]),
    search_domains=pick(["corp.example.com", "example.org"]),
    session_timeout_hours=st.sampled_from([0.5, 8, 24]),
    max_clients=st.sampled_from([0, 10]),
    sessions_per_client=st.sampled_from([0, 3]),
    clients_reachable=st.booleans(),
    listen=st.sampled_from(["0.0.0.0", "192.0.2.1", "::"]),
    public_hostname=st.sampled_from(["", "vpn.example.com"]),
    login_banner=TEXT,
    self_service_portal=st.booleans(),
    disconnect_on_session_timeout=st.booleans(),
    client_route_enforcement=st.booleans(),
    connection_log=st.sampled_from(
        [
            {},
            {"enabled": False},
            {"group": "vpn"},
            {"group": "vpn", "stream": "staff"},
            {"enabled": False, "group": "vpn"},
        ]
    ),
    control_channel=st.sampled_from([{"accept": ["tls-crypt"]}, {"accept": ["none"]}]),
    data_channel=st.sampled_from([{}, {"mtu": 1400}, {"mtu": 1400, "auth": "SHA256"}]),
    keepalive=st.sampled_from([{}, {"interval_s": 5}]),
    tags=TAGS,
)


@st.composite
def endpoints(draw: st.DrawFn) -> dict[str, Any]:
    networks = draw(pick(["office", "lab"]))
    route_keys = (
        draw(st.lists(st.tuples(st.sampled_from(DESTINATIONS), st.sampled_from(networks)), unique=True, max_size=3))
        if networks
        else []
    )
    rule_keys = draw(
        st.lists(st.tuples(st.sampled_from(DESTINATIONS), st.sampled_from([None, *GROUPS])), unique=True, max_size=4)
    )
    found = draw(SETTINGS) | {
        "target_network": [{"name": name, **draw(subset(security_groups=SOME_GROUPS))} for name in networks],
        "route": [{"destination": to, "target": name, "description": draw(TEXT)} for to, name in route_keys],
        "authorization_rule": [
            {"destination": to, "description": draw(TEXT)} | ({"all": True} if group is None else {"group": group})
            for to, group in rule_keys
        ],
    }
    if networks:
        found |= draw(subset(security_groups=SOME_GROUPS))
    return found


def empty(store: Store) -> None:
    """Forget all that declarations make."""
    with store.write() as connection:
        connection.execute(delete(endpoint_table))
        connection.execute(delete(security_group))
        connection.execute(delete(metadata.tables["tag"]))


@MANY
@given(groups=SECURITY_GROUPS, first=endpoints(), second=endpoints())
def test_what_was_applied_needs_nothing_more_and_neither_does_its_export(
    world: Store, arns: Arns, groups: tuple[dict[str, Any], ...], first: dict[str, Any], second: dict[str, Any]
) -> None:
    """From nothing, and from what another file has made."""
    empty(world)
    for changes in (first, second):
        wanted_now = document(declared(arns, **changes), groups=groups)
        apply(world, wanted_now)
        assert plan(world, wanted_now)["Changes"] == []
        exported = export(world)
        assert plan(world, exported, Prune=True)["Changes"] == []
        assert apply(world, exported)["Changes"] == []
        assert export(world) == exported


@MANY
@given(groups=SECURITY_GROUPS, changes=endpoints())
def test_an_export_makes_the_same_in_an_empty_store(
    world: Store, arns: Arns, groups: tuple[dict[str, Any], ...], changes: dict[str, Any]
) -> None:
    empty(world)
    apply(world, document(declared(arns, **changes), groups=groups))
    exported = export(world)
    empty(world)
    apply(world, exported)
    assert export(world) == exported


CALLS = st.lists(
    st.one_of(
        st.tuples(
            st.just("ModifyClientVpnEndpoint"),
            subset(
                Description=TEXT,
                VpnPort=st.sampled_from([443, 1194]),
                SplitTunnel=st.booleans(),
                SessionTimeoutHours=st.sampled_from([8, 24]),
                SelfServicePortal=st.sampled_from(["enabled", "disabled"]),
                ClientLoginBannerOptions=st.sampled_from(
                    [{"Enabled": False}, {"Enabled": True, "BannerText": "Hello"}]
                ),
                ConnectionLogOptions=st.sampled_from(
                    [
                        {"Enabled": True, "CloudwatchLogGroup": "vpn", "IncludeAuthorizationPolicyContext": True},
                        {"Enabled": False},
                    ]
                ),
                DnsServers=st.sampled_from([{"Enabled": True, "CustomDnsServers": ["10.20.0.53"]}]),
            ),
        ),
        st.tuples(
            st.just("AssociateClientVpnTargetNetwork"),
            st.fixed_dictionaries(
                {"SubnetId": st.sampled_from(["subnet-00000000000000001", "subnet-00000000000000002"])}
            ),
        ),
        st.tuples(
            st.just("CreateClientVpnRoute"),
            st.fixed_dictionaries(
                {
                    "DestinationCidrBlock": st.sampled_from([*DESTINATIONS, "10.90.0.0/22"]),
                    "TargetVpcSubnetId": st.sampled_from(["subnet-00000000000000001", "local"]),
                    "Description": TEXT,
                }
            ),
        ),
        st.tuples(
            st.just("AuthorizeClientVpnIngress"),
            st.fixed_dictionaries(
                {"TargetNetworkCidr": st.sampled_from(DESTINATIONS), "AccessGroupId": st.sampled_from(GROUPS)}
            ),
        ),
        st.tuples(
            st.just("RevokeClientVpnIngress"),
            st.fixed_dictionaries(
                {"TargetNetworkCidr": st.sampled_from(DESTINATIONS), "AccessGroupId": st.sampled_from(GROUPS)}
            ),
        ),
        st.tuples(
            st.just("CreateTags"),
            st.fixed_dictionaries(
                {"Tags": st.just([{"Key": "Name", "Value": "staff"}]) | st.just([{"Key": "Name", "Value": " odd "}])}
            ),
        ),
    ),
    max_size=8,
)


@MANY
@given(calls=CALLS)
def test_what_callers_have_made_is_exported_so_that_applying_it_changes_nothing(
    world: Store, arns: Arns, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    empty(world)
    parameters = wanted(arns, ClientCidrBlock="10.90.0.0/22")
    endpoint_id = invoke(world, "CreateClientVpnEndpoint", **parameters)["ClientVpnEndpointId"]
    for name, given_parameters in calls:
        about = {"Resources": [endpoint_id]} if name == "CreateTags" else {"ClientVpnEndpointId": endpoint_id}
        with contextlib.suppress(ActionError):
            invoke(world, name, **about, **given_parameters)
    exported = export(world)
    assert plan(world, exported, Prune=True)["Changes"] == []
    with world.read() as connection:
        assert connection.scalar(select(endpoint_table.c.id)) == endpoint_id
