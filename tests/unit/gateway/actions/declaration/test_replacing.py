"""One apply is enough, whatever takes whose place."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from gateway.actions import ActionError, Quotas
from gateway.store.schema import association, metadata, security_group
from gateway.store.schema import endpoint as endpoint_table
from tests.unit.gateway.actions.declaration.documents import (
    LAB,
    OFFICE,
    apply,
    details,
    document,
    export,
    lines,
    plan,
)
from tests.unit.gateway.actions.declaration.documents import endpoint as declared
from tests.unit.gateway.actions.harness import NOW, SETTINGS, invoke, refused
from tests.unit.gateway.actions.rows import add_connection, add_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

STAFF, GUESTS = 'endpoint "staff"', 'endpoint "guests"'
ONE, TWO, THREE = "10.90.0.0/22", "10.91.0.0/22", "10.90.2.0/24"


@pytest.fixture
def wide(world: Store) -> Store:
    """Beside the other two networks, one in a zone that is taken, and one in another VPC."""
    add_network(world, "subnet-3", name="den", cidr="10.50.0.0/24", zone="a")
    add_network(world, "subnet-4", name="attic", cidr="10.60.0.0/24", vpc_id="vpc-2", vpc_name="other", zone="a")
    return world


def ids(store: Store) -> dict[str, str]:
    """The ids of endpoints by their names."""
    shown = invoke(store, "DescribeClientVpnEndpoints")["ClientVpnEndpoints"]
    return {tag["Value"]: one["ClientVpnEndpointId"] for one in shown for tag in one["Tags"] if tag["Key"] == "Name"}


def assert_in_force(store: Store, wanted: dict[str, Any]) -> None:
    assert plan(store, wanted, Prune=True)["Changes"] == []


# Ranges and ports


def test_two_endpoints_take_each_other_s_ranges_and_ports(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns), declared(arns, name="guests", client_cidr_block=TWO, vpn_port=1194)))
    before = ids(world)
    swapped = document(
        declared(arns, client_cidr_block=TWO, vpn_port=1194), declared(arns, name="guests", client_cidr_block=ONE)
    )
    reply = apply(world, swapped)
    assert lines(reply) == [f"modify {STAFF}", f"modify {GUESTS}"]
    assert details(reply, STAFF) == {"client_cidr_block": (ONE, TWO), "vpn_port": ("443", "1194")}
    assert_in_force(world, swapped)
    assert ids(world) == before


def test_ranges_move_on_along_a_chain_in_any_order(world: Store, arns: Arns) -> None:
    names = ["staff", "guests", "ops"]
    first = [
        declared(arns, name=name, client_cidr_block=block, vpn_port=port)
        for name, block, port in zip(names, (ONE, TWO, "10.92.0.0/22"), (1, 2, 3), strict=True)
    ]
    moved = [
        one | {"client_cidr_block": block}
        for one, block in zip(first, (TWO, "10.92.0.0/22", "10.93.0.0/22"), strict=True)
    ]
    for wanted in (document(*first), document(*moved), document(*reversed(first)), document(*reversed(moved))):
        apply(world, wanted)
        assert_in_force(world, wanted)


def test_a_range_that_two_are_to_have_is_refused_as_ever(world: Store, arns: Arns) -> None:
    one, two = declared(arns), declared(arns, name="guests", client_cidr_block=TWO, vpn_port=1194)
    apply(world, document(one, two))
    with refused("InvalidParameterValue", "endpoint[1].client_cidr_block: 10.90.2.0/24 overlaps 10.90.0.0/22"):
        apply(world, document(one | {"description": "new"}, two | {"client_cidr_block": THREE}))
    with refused("InvalidParameterValue", "endpoint[1].vpn_port"):
        apply(world, document(one | {"vpn_port": 7}, two | {"vpn_port": 7}))


def test_what_is_pruned_leaves_its_range_port_and_quota_to_what_is_new(world: Store, arns: Arns) -> None:
    one = replace(SETTINGS, quotas=Quotas(endpoints=1))
    apply(world, document(declared(arns)), settings=one)
    (former,) = ids(world).values()
    wanted = document(declared(arns, name="guests"))
    reply = apply(world, wanted, Prune=True, settings=one, now=NOW + 5)
    assert lines(reply)[0] == f"delete {STAFF}"
    assert f"create {GUESTS}" in lines(reply)
    assert_in_force(world, wanted)
    with world.read() as connection:
        ended = connection.execute(select(endpoint_table).where(endpoint_table.c.id == former)).one()
    assert (ended.status_code, NOW + 5 <= ended.ended_at < NOW + 6) == ("deleted", True)


def test_who_is_connected_to_what_is_replaced_is_named(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    add_connection(world, endpoint_id=ids(world)["staff"], groups=["engineering"])
    (cut_off,) = plan(world, document(declared(arns, name="guests")), Prune=True)["Sessions"]
    assert cut_off["Effects"] == ["is cut off"]
    (restarted,) = plan(world, document(declared(arns, client_cidr_block=TWO)))["Sessions"]
    assert restarted["Effects"] == ["reconnects"]


def test_a_range_may_be_where_a_route_has_led(world: Store, arns: Arns) -> None:
    far = {"destination": TWO, "target": "office"}
    guests = declared(arns, name="guests", client_cidr_block="10.92.0.0/22", vpn_port=1194)
    apply(world, document(guests, declared(arns, route=[far])))
    wanted = document(guests | {"client_cidr_block": TWO}, declared(arns))
    apply(world, wanted)
    assert_in_force(world, wanted)
    with refused("InvalidParameterValue", "endpoint[1].route[0]"):
        apply(world, document(guests | {"client_cidr_block": TWO}, declared(arns, route=[far])))


# Networks


def test_another_network_takes_the_zone_of_one_that_goes(wide: Store, arns: Arns) -> None:
    apply(wide, document(declared(arns)))
    wanted = document(declared(arns, target_network=[{"name": "den"}]))
    reply = apply(wide, wanted)
    what = f'{STAFF}: target network "den"'
    assert lines(reply) == [f"replace {what}"]
    assert details(reply, what) == {"name": ("office", "den")}
    assert_in_force(wide, wanted)
    apply(wide, document(declared(arns)))
    assert_in_force(wide, document(declared(arns)))


def test_an_endpoint_goes_to_another_vpc_with_its_groups(wide: Store, arns: Arns) -> None:
    web = {"name": "web"}
    apply(wide, document(declared(arns, security_groups=["web"]), groups=(web,)))
    there = {"target_network": [{"name": "attic"}], "authorization_rule": []}
    wanted = document(declared(arns, security_groups=["web"], **there), groups=(web | {"vpc": "other"},))
    reply = apply(wide, wanted, Prune=True)
    assert 'delete security group "web" of "main"' in lines(reply)
    assert reply["Notes"] == []
    assert_in_force(wide, wanted)


def test_a_vpc_is_forgotten_with_the_last_network(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    wanted = document(declared(arns, target_network=[], authorization_rule=[]))
    assert details(apply(world, wanted), STAFF) == {"vpc": ("main", "")}
    assert "vpc" not in export(world)["endpoint"][0]


def test_the_order_of_networks_is_that_of_the_file(world: Store, arns: Arns) -> None:
    both = [{"name": "office"}, {"name": "lab"}]
    apply(world, document(declared(arns, target_network=both)))
    reply = apply(world, document(declared(arns, target_network=both[::-1])))
    assert lines(reply) == [f"modify {STAFF}: order of target networks"]
    with world.read() as connection:
        zones = connection.scalars(select(association.c.zone).order_by(association.c.created_at)).all()
    assert zones == ["b", "a"]
    apply(world, document(declared(arns)))
    apply(world, document(declared(arns, target_network=both[::-1])))
    assert [network["name"] for network in export(world)["endpoint"][0]["target_network"]] == ["lab", "office"]


# Names and groups


def test_a_name_moves_from_one_endpoint_to_a_new_one(world: Store, arns: Arns) -> None:
    apply(world, document(declared(arns)))
    former = ids(world)["staff"]
    wanted = document(
        declared(arns, name=former, tags={"Name": "veterans"}),
        declared(arns, client_cidr_block=TWO, vpn_port=1194),
    )
    reply = apply(world, wanted)
    assert details(reply, f'endpoint "{former}"') == {"tags.Name": ("staff", "veterans")}
    assert_in_force(world, wanted)
    assert ids(world)["veterans"] == former != ids(world)["staff"]


def test_two_endpoints_take_each_other_s_names(world: Store, arns: Arns) -> None:
    one, two = declared(arns), declared(arns, name="guests", client_cidr_block=TWO, vpn_port=1194)
    apply(world, document(one, two))
    before = ids(world)
    wanted = document(
        one | {"name": before["staff"], "tags": {"Name": "guests"}},
        two | {"name": before["guests"], "tags": {"Name": "staff"}},
    )
    apply(world, wanted)
    assert_in_force(world, wanted)
    assert ids(world) == {"staff": before["guests"], "guests": before["staff"]}


def test_a_name_that_several_endpoints_have_is_refused(world: Store, arns: Arns) -> None:
    one, two = declared(arns), declared(arns, name="guests", client_cidr_block=TWO, vpn_port=1194)
    apply(world, document(one, two))
    guests = ids(world)["guests"]
    with refused("InvalidParameterValue", 'endpoint[1].tags.Name: Another endpoint of this file is called "staff"'):
        apply(world, document(one, two | {"name": guests, "tags": {"Name": "staff"}}))
    invoke(world, "CreateTags", Resources=[guests], Tags=[{"Key": "Name", "Value": "staff"}])
    with refused("InvalidParameterValue", 'endpoint[0].name: Several endpoints are called "staff"'):
        apply(world, document(one))
    rest = document(one, two | {"name": guests, "tags": {"Name": "guests"}})
    apply(world, rest)
    assert_in_force(world, rest)


def test_groups_that_name_each_other_go_together(world: Store, arns: Arns) -> None:
    groups = tuple({"name": name, "egress": [{"group": other}]} for name, other in (("a", "b"), ("b", "a")))
    user = declared(arns, security_groups=["a"])
    apply(world, document(user, groups=groups))
    kept = apply(world, document(user), Prune=True)
    assert [note.partition(" stays")[0] for note in kept["Notes"]] == [
        f'The security group "{name}" of "main"' for name in "ab"
    ]
    gone = apply(world, document(declared(arns)), Prune=True)
    assert lines(gone)[-2:] == [f'delete security group "{name}" of "main"' for name in "ab"]
    assert gone["Notes"] == []


def test_groups_replace_others_within_the_quota(world: Store, arns: Arns) -> None:
    two = replace(SETTINGS, quotas=Quotas(security_groups=2))  # the default group is one
    apply(world, document(declared(arns), groups=({"name": "a"},)), settings=two)
    wanted = document(declared(arns, security_groups=["b"]), groups=({"name": "b"},))
    apply(world, wanted, Prune=True, settings=two)
    assert_in_force(world, wanted)
    with refused("SecurityGroupLimitExceeded"):
        apply(world, document(declared(arns), groups=({"name": "b"}, {"name": "c"})), settings=two)


# Whatever there was


RANGES = (ONE, TWO, "10.92.0.0/22", "10.92.2.0/24")
PORTS = (1, 2, 3)
TEXT = st.sampled_from(["", "for people"])


@st.composite
def groups(draw: st.DrawFn) -> list[dict[str, Any]]:
    keys = st.tuples(st.sampled_from(["web", "db", "ssh"]), st.sampled_from(["main", "other"]))
    found = draw(st.lists(keys, unique=True, max_size=4))
    return [
        {
            "name": name,
            "vpc": vpc,
            "description": draw(TEXT),
            "egress": [
                {"group": draw(st.sampled_from([other for other, of_vpc in found if of_vpc == vpc]))},
                {"cidr": draw(st.sampled_from([OFFICE, LAB]))},
            ],
        }
        for name, vpc in found
    ]


@st.composite
def endpoints(draw: st.DrawFn, name: str, client_range: str, port: int, found: list[dict[str, Any]]) -> dict[str, Any]:
    vpc = draw(st.sampled_from(["main", "main", "other"]))
    of_vpc = ["attic"] if vpc == "other" else ["lab", draw(st.sampled_from(["office", "den"]))]
    networks = draw(st.lists(st.sampled_from(of_vpc), unique=True, max_size=2))
    known = ["default", *(group["name"] for group in found if group["vpc"] == vpc)]
    some = st.lists(st.sampled_from(known), unique=True, min_size=1)
    destinations = st.sampled_from(["10.40.0.0/16", TWO, "0.0.0.0/0", OFFICE])
    targets = st.sampled_from(networks) if networks else st.nothing()
    routes = st.lists(st.tuples(destinations, targets), unique=True, max_size=2) if networks else st.just([])
    rules = st.lists(st.tuples(destinations, st.sampled_from(["a", "b"])), unique=True, max_size=2)
    return {
        "name": name,
        "client_cidr_block": client_range,
        "vpn_port": port,
        "transport_protocol": draw(st.sampled_from([["udp"], ["tcp"], ["udp", "tcp"]])),
        "description": draw(TEXT),
        "target_network": [
            {"name": one, **draw(st.fixed_dictionaries({}, optional={"security_groups": some}))} for one in networks
        ],
        "route": [{"destination": to, "target": target, "description": draw(TEXT)} for to, target in draw(routes)],
        "authorization_rule": [{"destination": to, "group": who} for to, who in draw(rules)],
        **({"security_groups": draw(some), "vpc": vpc} if draw(st.booleans()) else {}),
        **draw(st.fixed_dictionaries({}, optional={"tags": st.sampled_from([{"team": "a"}, {"team": "b", "x": ""}])})),
    }


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(["staff", "guests", "ops"]), unique=True, max_size=3))
    found = draw(groups())
    places = zip(names, draw(st.permutations(RANGES)), draw(st.permutations(PORTS)), strict=False)
    return {
        "endpoint": [draw(endpoints(*place, found)) for place in places],
        "security_group": found,
    }


def of(arns: Arns, wanted: dict[str, Any]) -> dict[str, Any]:
    return wanted | {"endpoint": [declared(arns, **one) for one in wanted["endpoint"]]}


@contextmanager
def emptied(store: Store) -> Iterator[Store]:
    """A store without anything that declarations make."""
    with store.write() as connection:
        for table in (endpoint_table, security_group, metadata.tables["tag"]):
            connection.execute(delete(table))
    yield store


def contents(store: Store) -> dict[str, Any]:
    """All that callers are shown, but ids and times; a VPC's own group is there as soon as it was needed once."""
    found = export(store)
    found["security_group"] = [group for group in found.get("security_group", ()) if group["name"] != "default"]
    for name, endpoint_id in ids(store).items():
        shown = invoke(store, "DescribeClientVpnRoutes", ClientVpnEndpointId=endpoint_id)["Routes"]
        found[name] = sorted(
            (one["DestinationCidr"], one["TargetSubnet"], one["Origin"], one["Description"])
            for one in shown
            if one["Status"]["Code"] != "deleting"
        )
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much], max_examples=40)
@given(first=documents(), second=documents())
def test_a_file_makes_the_same_of_every_store_at_once(
    wide: Store, arns: Arns, first: dict[str, Any], second: dict[str, Any]
) -> None:
    first, second = of(arns, first), of(arns, second)
    try:
        with emptied(wide):
            apply(wide, first)
        with emptied(wide):
            apply(wide, second)
            alone = contents(wide)
    except ActionError:
        assume(False)
    with emptied(wide):
        apply(wide, first)
        apply(wide, second, Prune=True)
        assert_in_force(wide, second)
        assert contents(wide) == alone
