from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.actions.ip_permissions import (
    Permission,
    as_permission,
    named_permissions,
    permission_shapes,
    read_permissions,
)
from tests.unit.gateway.actions.harness import refused

if TYPE_CHECKING:
    from collections.abc import Mapping

ANYWHERE = {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def find_group(pair: Mapping[str, Any]) -> str:
    return str(pair["GroupId"])


def read(*given: Mapping[str, Any]) -> dict[Permission, str]:
    return read_permissions(given, find_group)


def traffic(protocol: Any, first: int | None = None, last: int | None = None) -> tuple[str, int, int]:
    given = {"IpProtocol": protocol, "FromPort": first, "ToPort": last, **ANYWHERE}
    (found,) = read(given)
    return found.protocol, found.from_port, found.to_port


TRAFFIC = [
    (("tcp", 80, 443), ("tcp", 80, 443)),
    (("TCP", 0, 65535), ("tcp", 0, 65535)),
    (("6", 22, 22), ("tcp", 22, 22)),
    (("17", 53, 53), ("udp", 53, 53)),
    (("icmp", -1, -1), ("icmp", -1, -1)),
    (("icmp", 8, -1), ("icmp", 8, -1)),
    (("1", 3, 4), ("icmp", 3, 4)),
    (("-1", None, None), ("-1", -1, -1)),
    (("-1", 80, 90), ("-1", -1, -1)),
    (("all", None, None), ("-1", -1, -1)),
    (("47", None, None), ("47", -1, -1)),
    (("050", 1, 2), ("50", -1, -1)),
]


@pytest.mark.parametrize(("given", "stored"), TRAFFIC)
def test_traffic_has_one_form_in_the_store(given: tuple[Any, ...], stored: tuple[Any, ...]) -> None:
    assert traffic(*given) == stored


REFUSED = [
    (("tcp", None, None), "MissingParameter", "the first and the last port"),
    (("tcp", 80, None), "MissingParameter", "FromPort and ToPort"),
    (("icmp", None, None), "MissingParameter", "the type and the code"),
    ((None, 1, 2), "MissingParameter", "IpProtocol is missing"),
    (("tcp", 443, 80), "InvalidParameterValue", "443 to 80"),
    (("tcp", -1, -1), "InvalidParameterValue", "no range of ports"),
    (("udp", 0, 65536), "InvalidParameterValue", "no range of ports"),
    (("icmp", 256, 0), "InvalidParameterValue", "no ICMP type and code"),
    (("icmp", -1, 4), "InvalidParameterValue", "every one"),
    (("gre", None, None), "InvalidParameterValue", "no IpProtocol 'gre'"),
    (("256", None, None), "InvalidParameterValue", "no IpProtocol '256'"),
    (("-2", None, None), "InvalidParameterValue", "no IpProtocol '-2'"),
    (("²", None, None), "InvalidParameterValue", "no IpProtocol"),
    (("9" * 5000, None, None), "InvalidParameterValue", "no IpProtocol"),
    (("icmpv6", -1, -1), "InvalidParameterValue", "IPv6"),
    (("058", -1, -1), "InvalidParameterValue", "IPv6"),
    (("58", -1, -1), "InvalidParameterValue", "IPv6"),
]


@pytest.mark.parametrize(("given", "code", "sentence"), REFUSED)
def test_traffic_that_cannot_be_is_refused(given: tuple[Any, ...], code: str, sentence: str) -> None:
    with refused(code, sentence):
        traffic(*given)


def test_a_permission_is_a_rule_for_each_of_its_other_sides() -> None:
    found = read(
        {
            "IpProtocol": "tcp",
            "FromPort": 443,
            "ToPort": 443,
            "IpRanges": [{"CidrIp": "10.1.2.3/16", "Description": "office"}, {"CidrIp": "192.0.2.0/24"}],
            "UserIdGroupPairs": [{"GroupId": "sg-2", "Description": "web"}],
        }
    )
    assert found == {
        Permission("tcp", 443, 443, "10.1.0.0/16", ""): "office",
        Permission("tcp", 443, 443, "192.0.2.0/24", ""): "",
        Permission("tcp", 443, 443, "", "sg-2"): "web",
    }


def test_the_same_rule_twice_in_a_call_is_refused() -> None:
    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    with refused("InvalidParameterValue", "twice"):
        read(https, https | {"IpProtocol": "6", "IpRanges": [{"CidrIp": "10.0.0.1/8", "Description": "again"}]})


@pytest.mark.parametrize(
    ("member", "value"),
    [("Ipv6Ranges", [{"CidrIpv6": "::/0"}]), ("PrefixListIds", [{"PrefixListId": "pl-1"}])],
)
def test_what_is_not_ipv4_is_not_supported(member: str, value: Any) -> None:
    with refused("UnsupportedOperation", member):
        read({"IpProtocol": "-1", member: value})


def test_a_rule_without_another_side_is_refused() -> None:
    with refused("MissingParameter", "another side"):
        read({"IpProtocol": "-1"})


@pytest.mark.parametrize("cidr", ["10.0.0.0", "10.0.0.0/33", "::/0", "", None])
def test_a_cidr_that_is_none_is_refused(cidr: str | None) -> None:
    with refused("InvalidParameterValue", "no IPv4 network"):
        read({"IpProtocol": "-1", "IpRanges": [{"CidrIp": cidr}]})


def test_a_description_that_is_too_long_is_refused() -> None:
    with refused("InvalidParameterValue", "256 characters"):
        read({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "x" * 256}]})


def test_the_flat_parameters_are_a_permission_as_well() -> None:
    flat = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "10.0.0.0/8", "GroupId": "sg-1"}
    assert list(read(*named_permissions(flat))) == [Permission("tcp", 22, 22, "10.0.0.0/8", "")]
    by_group = named_permissions({"SourceSecurityGroupName": "web", "SourceSecurityGroupOwnerId": "1"})
    assert by_group == [{"UserIdGroupPairs": [{"GroupName": "web", "UserId": "1"}], "IpProtocol": "-1"}]


def test_both_forms_at_once_are_refused() -> None:
    with refused("InvalidParameterCombination", "IpPermissions alone"):
        named_permissions({"CidrIp": "10.0.0.0/8", "IpPermissions": [{"IpProtocol": "-1"}]})


def test_no_permission_is_no_permission() -> None:
    assert named_permissions({"GroupId": "sg-1", "FromPort": None}) == []


def test_rules_for_the_same_traffic_are_shown_together() -> None:
    rows: list[Any] = [
        SimpleNamespace(
            protocol=protocol, from_port=port, to_port=port, cidr=cidr, referenced_group_id=group, description=text
        )
        for protocol, port, cidr, group, text in (
            ("tcp", 443, "10.0.0.0/8", "", "office"),
            ("-1", -1, "192.0.2.0/24", "", ""),
            ("tcp", 443, "", "sg-2", ""),
        )
    ]
    https, everything = permission_shapes(rows, "123")
    assert (https["IpProtocol"], https["FromPort"], https["ToPort"]) == ("tcp", 443, 443)
    assert https["IpRanges"] == [{"CidrIp": "10.0.0.0/8", "Description": "office"}]
    assert https["UserIdGroupPairs"] == [{"GroupId": "sg-2", "UserId": "123"}]
    assert everything["IpRanges"] == [{"CidrIp": "192.0.2.0/24"}]
    assert "FromPort" not in everything


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"CidrIpv4": "10.0.0.0/8", "Description": "why"}, ("10.0.0.0/8", "", "why")),
        ({"ReferencedGroupId": "sg-2", "CidrIpv4": ""}, ("", "sg-2", "")),
    ],
)
def test_one_rule_is_a_permission_with_one_other_side(rule: dict[str, str], found: tuple[str, ...]) -> None:
    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    ((permission, description),) = read(as_permission(https | rule)).items()
    assert permission == Permission("tcp", 443, 443, *found[:2])
    assert description == found[2]


def test_one_rule_has_not_several_other_sides() -> None:
    with refused("InvalidParameterCombination", "CidrIpv6"):
        as_permission({"IpProtocol": "-1", "CidrIpv4": "0.0.0.0/0", "CidrIpv6": "::/0"})


ports = st.integers(0, 65535)
shown = st.one_of(
    st.tuples(st.sampled_from(["tcp", "udp"]), ports, ports).map(lambda t: (t[0], min(t[1:]), max(t[1:]))),
    st.tuples(st.just("icmp"), st.integers(0, 255), st.integers(-1, 255)),
    st.tuples(st.integers(2, 5).map(str), st.just(-1), st.just(-1)),
    st.just(("-1", -1, -1)),
)


@given(st.lists(shown, unique=True, max_size=5))
def test_what_is_shown_is_read_back_the_same(permissions: list[tuple[str, int, int]]) -> None:
    stored = [Permission(*each, "10.0.0.0/8", "") for each in permissions]
    rows: list[Any] = [
        SimpleNamespace(
            protocol=one.protocol,
            from_port=one.from_port,
            to_port=one.to_port,
            cidr=one.cidr,
            referenced_group_id="",
            description="why",
        )
        for one in stored
    ]
    assert read(*permission_shapes(rows, "123")) == dict.fromkeys(stored, "why")
