from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.gateway.actions.declaration.documents import OFFICE, apply, details, document, export, lines, plan
from tests.unit.gateway.actions.declaration.documents import endpoint as declared
from tests.unit.gateway.actions.harness import invoke, refused

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

HTTPS = {"protocol": "tcp", "from_port": 443, "cidr": OFFICE}
WEB = 'security group "web" of "main"'


def group(name: str = "web", **values: Any) -> dict[str, Any]:
    return {"name": name, **values}


def rules_of(store: Store, name: str) -> list[tuple[Any, ...]]:
    filters = [{"Name": "group-name", "Values": [name]}]
    (found,) = invoke(store, "DescribeSecurityGroups", Filters=filters)["SecurityGroups"]
    return [
        (one["IpProtocol"], one.get("FromPort"), one.get("ToPort"), side.get("CidrIp") or side.get("GroupId"))
        for one in found["IpPermissionsEgress"]
        for side in (*one["IpRanges"], *one["UserIdGroupPairs"])
    ]


def test_a_group_has_the_rules_of_the_file_and_no_other(world: Store) -> None:
    reply = apply(world, document(groups=(group(egress=[HTTPS]),)))
    assert lines(reply) == [f"create {WEB}", f"create {WEB}: egress tcp 443, {OFFICE}"]
    assert rules_of(world, "web") == [("tcp", 443, 443, OFFICE)]


def test_a_group_without_rules_lets_nothing_pass(world: Store) -> None:
    apply(world, document(groups=(group(),)))
    assert rules_of(world, "web") == []


def test_rules_come_and_go(world: Store) -> None:
    apply(world, document(groups=(group(egress=[HTTPS]),)))
    dns = {"protocol": "17", "from_port": 53, "cidr": OFFICE}
    reply = apply(world, document(groups=(group(egress=[dns], ingress=[HTTPS]),)))
    assert lines(reply) == [
        f"delete {WEB}: egress tcp 443, {OFFICE}",
        f"create {WEB}: egress udp 53, {OFFICE}",
        f"create {WEB}: ingress tcp 443, {OFFICE}",
    ]
    assert rules_of(world, "web") == [("udp", 53, 53, OFFICE)]


def test_another_description_is_a_change(world: Store) -> None:
    apply(world, document(groups=(group(egress=[HTTPS]),)))
    reply = apply(world, document(groups=(group(description="The web", egress=[HTTPS | {"description": "TLS"}]),)))
    assert lines(reply) == [f"modify {WEB}", f"modify {WEB}: egress tcp 443, {OFFICE}"]
    assert details(reply, WEB) == {"description": ("web", "The web")}
    assert details(reply, f"{WEB}: egress tcp 443, {OFFICE}") == {"description": ("", "TLS")}
    assert export(world)["security_group"][0]["egress"] == [
        {"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr": OFFICE, "description": "TLS"}
    ]


def test_groups_may_name_each_other(world: Store) -> None:
    one = group("one", egress=[{"group": "two"}])
    two = group("two", egress=[{"group": "one"}])
    apply(world, document(groups=(one, two)))
    assert export(world)["security_group"] == [
        {"name": "one", "egress": [{"group": "two"}]},
        {"name": "two", "egress": [{"group": "one"}]},
    ]


def test_a_vpc_s_default_group_can_be_declared(world: Store, arns: Arns) -> None:
    reply = apply(world, document(declared(arns), groups=(group("default", egress=[HTTPS]),)))
    assert reply["Changes"][0]["What"] == 'security group "default" of "main"'
    assert rules_of(world, "default") == [("tcp", 443, 443, OFFICE)]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"protocol": "sctp4", "cidr": OFFICE}, "security_group[0].egress[0]: There is no IpProtocol 'sctp4'"),
        ({"protocol": "tcp", "from_port": 2, "to_port": 1, "cidr": OFFICE}, "security_group[0].egress[0]: 2 to 1"),
        ({"group": "nobody"}, 'There is no security group "nobody" in the VPC "main"'),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_its_place(world: Store, rule: dict[str, Any], sentence: str) -> None:
    with refused("InvalidGroup.NotFound" if "group" in rule else "InvalidParameterValue", sentence):
        apply(world, document(groups=(group(egress=[rule]),)))


def test_the_same_rule_in_two_spellings_is_refused(world: Store) -> None:
    with refused("InvalidParameterValue", "security_group[0].egress[1]: The same rule stands above it"):
        apply(world, document(groups=(group(egress=[HTTPS, HTTPS | {"protocol": "6"}]),)))


def test_a_vpc_that_is_not_there_is_refused(world: Store) -> None:
    with refused("InvalidVpcID.NotFound", 'There is no VPC "lab". There are: "main"'):
        apply(world, document(groups=(group(vpc="lab"),)))


def test_pruning_deletes_what_nothing_uses(world: Store, arns: Arns) -> None:
    used, unused = group("used"), group("unused")
    apply(world, document(declared(arns, security_groups=["used"]), groups=(used, unused)))
    assert plan(world, document(declared(arns, security_groups=["used"])))["Changes"] == []
    reply = apply(world, document(declared(arns, security_groups=["used"])), Prune=True)
    assert lines(reply) == ['delete security group "unused" of "main"']
    (note,) = reply["Notes"]
    assert note.startswith('The security group "used" of "main" stays: ')


def test_tags_are_those_of_the_file(world: Store) -> None:
    apply(world, document(groups=(group(tags={"team": "a", "old": "x"}),)))
    reply = apply(world, document(groups=(group(tags={"team": "b"}),)))
    assert details(reply, WEB) == {"tags.old": ("x", None), "tags.team": ("a", "b")}
    assert export(world)["security_group"][0]["tags"] == {"team": "b"}
