"""Networks, associations, routes, rules, security groups: what leads where, for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.gateway.actions.rows import add_network

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.cli.objects.conftest import Terminal


@pytest.fixture
def association(terminal: Terminal, staff: str, office: str) -> str:
    return str(terminal.json("association", "create", "-e", staff, "--network", "office")["AssociationId"])


def test_networks_are_listed_and_shown_by_name(terminal: Terminal, office: str) -> None:
    assert "10.20.0.0/24" in terminal.ok("network", "list")
    assert terminal.json("network", "show", "office")["SubnetId"] == office
    assert "There are: office." in terminal.refused("network", "show", "ofice")


def test_without_networks_it_says_where_they_are_declared(terminal: Terminal) -> None:
    assert "[[network]]" in terminal.type("network", "list").stderr


def test_an_association_comes_with_its_route(terminal: Terminal, association: str, office: str) -> None:
    assert association in terminal.ok("association", "list")
    assert terminal.json("association", "show", association)["TargetNetworkId"] == office
    (route,) = terminal.json("route", "list")
    assert (route["DestinationCidr"], route["Origin"]) == ("10.20.0.0/24", "associate")
    assert terminal.ok("association", "delete", association) == f"{association} is disassociating.\n"
    assert "no association's id" in terminal.refused("association", "show", "office")


def test_networks_are_called_by_their_names(terminal: Terminal, association: str, office: str) -> None:
    for group in ("association", "route"):
        assert "office" in terminal.ok(group, "list")
        assert office not in terminal.ok(group, "list")
        assert office in terminal.ok(group, "list", "--json")


def test_a_group_is_one_of_the_default_vpc_unless_another_is_named(
    terminal: Terminal, store: Store, association: str
) -> None:
    add_network(store, "subnet-2", name="lab", cidr="10.30.0.0/24", vpc_id="vpc-2", vpc_name="research")
    terminal.ok("security-group", "create", "web")
    terminal.ok("security-group", "create", "web", "--vpc", "research")
    groups = terminal.json("security-group", "list")
    assert sorted(group["VpcId"] for group in groups if group["GroupName"] == "web") == ["vpc-1", "vpc-2"]
    assert "Several groups are called" in terminal.refused("security-group", "show", "web")
    assert "main (vpc-1), research (vpc-2)" in terminal.refused("security-group", "create", "ssh", "--vpc", "lab")


def test_routes_are_made_shown_and_deleted(terminal: Terminal, association: str) -> None:
    where = ("--destination", "10.30.0.0/16", "--network", "office")
    assert (
        terminal.ok("route", "create", *where, "--description", "branch") == "The route to 10.30.0.0/16 is creating.\n"
    )
    assert terminal.json("route", "show", *where)["Description"] == "branch"
    assert terminal.ok("route", "delete", *where) == "The route to 10.30.0.0/16 is deleting.\n"
    assert terminal.refused("route", "show", "--destination", "10.31.0.0/16", "--network", "office") == (
        "There is no route to 10.31.0.0/16 through office.\n"
    )


def test_rules_are_made_listed_and_revoked(terminal: Terminal, staff: str) -> None:
    assert "nobody reaches anything" in terminal.type("rule", "list").stderr
    terminal.ok("rule", "create", "--destination", "10.20.0.0/24", "--group", "engineering")
    terminal.ok("rule", "create", "--destination", "10.20.0.53/32", "--all", "--description", "DNS")
    listing = terminal.ok("rule", "list", "-e", "staff")
    assert "group engineering" in listing
    assert "everyone" in listing
    (shown,) = terminal.json("rule", "show", "--destination", "10.20.0.53/32")
    assert shown["AccessAll"] is True
    assert terminal.ok("rule", "delete", "--destination", "10.20.0.53/32", "--all") == (
        "The rule for 10.20.0.53/32 is revoking.\n"
    )


@pytest.mark.parametrize("who", [(), ("--all", "--group", "sales")])
@pytest.mark.parametrize("verb", ["create", "delete"])
def test_a_rule_is_for_a_group_or_for_everyone(terminal: Terminal, staff: str, verb: str, who: tuple[str, ...]) -> None:
    said = terminal.refused("rule", verb, "--destination", "10.20.0.0/24", *who)
    assert said == "Say who: either --group for one group, or --all for everyone.\n"


def test_a_security_group_is_made_filled_applied_and_deleted(terminal: Terminal, association: str) -> None:
    group = terminal.json("security-group", "create", "web", "--description", "HTTPS only")["GroupId"]
    (everything,) = terminal.json("security-group", "show", "web")
    terminal.ok(
        *("security-group", "modify", "web", "--allow-out", "tcp:443@10.20.0.0/24"),
        *("--allow-out", "udp:5000-5100@10.20.0.7/32", "--remove", everything["SecurityGroupRuleId"]),
    )
    listing = terminal.ok("security-group", "show", group)
    assert "5000-5100" in listing
    assert "0.0.0.0/0" not in listing
    assert "There are: default, web." in terminal.refused("association", "modify", association, "--security-group", "x")
    said = terminal.ok("association", "modify", association, "--security-group", "web")
    assert said.endswith(f"has the groups {group}.\n")
    assert group in terminal.refused("security-group", "delete", "web")
    other = terminal.json("security-group", "create", "other")["GroupId"]
    assert terminal.ok("security-group", "delete", other) == f"{other} is deleted.\n"


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("tcp:443", "is no rule"),
        ("icmp:8@10.0.0.0/8", "only tcp and udp have ports"),
        ("tcp443@10.0.0.0/8", "is no rule"),
    ],
)
def test_a_rule_that_is_none_is_answered_with_its_form(
    terminal: Terminal, office: str, rule: str, sentence: str
) -> None:
    terminal.ok("security-group", "create", "web")
    assert sentence in terminal.refused("security-group", "modify", "web", "--allow-out", rule)
