from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from hypothesis import given
from hypothesis import strategies as st

from gateway.actions import EndpointDefaults
from gateway.actions.declaration.comparison import Comparison, Difference
from gateway.actions.declaration.effects import Reach, access_changes
from gateway.config.endpoint_options import EndpointOptions
from gateway.endpoint_spec import endpoint_spec
from policy import LOCAL, AuthorizationRule, EndpointSpec, Route, decide

GROUPS = ("engineering", "finance")
COLUMNS = {
    "description": "",
    "client_cidr_block": "10.90.0.0/28",
    "transport_protocols": ["udp"],
    "vpn_port": 443,
    "dns_servers": [],
    "split_tunnel": True,
    "session_timeout_hours": 24.0,
    "disconnect_on_session_timeout": True,
    "connection_log_options": {"Enabled": False},
    "client_login_banner_options": {"Enabled": False},
    "client_route_enforcement_options": {"Enforced": False},
}
PLAIN = endpoint_spec("staff", COLUMNS, EndpointOptions(), EndpointDefaults())
FIRST = int(IPv4Address("10.90.0.0"))
ADDRESSES = 64
NETWORKS = st.one_of(
    st.builds(
        lambda address, prefix: IPv4Network((FIRST + address, prefix), strict=False),
        st.integers(0, ADDRESSES - 1),
        st.integers(26, 32),
    ),
    st.sampled_from([IPv4Network("0.0.0.0/0"), IPv4Network("10.0.0.0/8")]),
)


@st.composite
def specs(draw: st.DrawFn) -> EndpointSpec:
    routes = draw(st.lists(st.builds(Route, NETWORKS, st.sampled_from([LOCAL, "office"])), max_size=4))
    rules = draw(st.lists(st.builds(AuthorizationRule, NETWORKS, st.sampled_from([None, *GROUPS])), max_size=6))
    return replace(PLAIN, routes=tuple(routes), authorization_rules=tuple(rules))


def holds(networks: tuple[str, ...], address: IPv4Address) -> bool:
    return any(address in IPv4Network(network) for network in networks)


@given(specs(), specs(), st.sets(st.sampled_from([*GROUPS, "nobody's"])))
def test_what_is_gained_and_lost_is_what_the_plain_meaning_of_rules_says(
    old: EndpointSpec, new: EndpointSpec, groups: set[str]
) -> None:
    difference = Comparison(old, new).difference(groups)
    for address in (IPv4Address("10.1.2.3"), IPv4Address("192.0.2.1"), *map(IPv4Address, range(FIRST, FIRST + 64))):
        before, after = decide(old, groups, address).allowed, decide(new, groups, address).allowed
        assert holds(difference.gains, address) == (after and not before)
        assert holds(difference.losses, address) == (before and not after)


@given(specs(), specs(), st.sets(st.sampled_from(GROUPS)))
def test_networks_are_the_fewest_in_their_order(old: EndpointSpec, new: EndpointSpec, groups: set[str]) -> None:
    difference = Comparison(old, new).difference(groups)
    for networks in (difference.gains, difference.losses):
        assert networks == tuple(map(str, collapse_addresses(map(IPv4Network, networks))))


@given(specs(), st.sets(st.sampled_from(GROUPS)))
def test_an_endpoint_that_comes_gives_what_it_takes_when_it_goes(spec: EndpointSpec, groups: set[str]) -> None:
    coming, going = Comparison(None, spec).difference(groups), Comparison(spec, None).difference(groups)
    assert (coming.gains, coming.losses) == (going.losses, going.gains)
    assert coming.losses == ()
    assert not Comparison(spec, spec).difference(groups)
    assert not Comparison(None, None).difference(groups)


@given(specs(), specs())
def test_every_group_for_which_something_changes_is_told_of(old: EndpointSpec, new: EndpointSpec) -> None:
    before, after = ({"id": Reach("staff", spec, frozenset())} for spec in (old, new))
    told = {change.group: change.difference for change in access_changes(before, after)}
    comparison = Comparison(old, new)
    everyone = told.get(None, Difference())
    assert everyone == comparison.difference(frozenset())
    for group in GROUPS:
        assert told.get(group, everyone) == comparison.difference({group})
