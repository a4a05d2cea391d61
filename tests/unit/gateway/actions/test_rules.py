from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

import gateway.actions.rules  # noqa: F401 - registers them
from gateway.actions import ActionError, Quotas
from gateway.store.schema import authorization_rule
from policy import MAX_RULES
from tests.unit.gateway.actions.harness import NOW, SETTINGS, invoke, invoke_for_audit, refused
from tests.unit.gateway.actions.racing import outcomes_at_once
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    FILE_ENDPOINT_ID,
    add_endpoint,
    add_file_endpoint,
    add_rule,
)

if TYPE_CHECKING:
    from gateway.store import Store


NOBODY: list[tuple[dict[str, Any], str]] = [
    ({}, "MissingParameter"),
    ({"All": False}, "MissingParameter"),
    ({"AccessGroupId": ""}, "MissingParameter"),
    ({"AccessGroupId": "a", "All": True}, "InvalidParameterCombination"),
    ({"AccessGroupId": "a" * 256}, "InvalidParameterValue"),
]


@pytest.fixture
def world(store: Store) -> Store:
    """An endpoint without rules."""
    add_endpoint(store)
    return store


def authorize(store: Store, destination: str = "10.1.0.0/16", group: str | None = None, **given: Any) -> dict[str, Any]:
    whom = {"AuthorizeAllGroups": True} if group is None else {"AccessGroupId": group}
    parameters = {"ClientVpnEndpointId": ENDPOINT_ID, "TargetNetworkCidr": destination}
    return invoke(store, "AuthorizeClientVpnIngress", **(parameters | whom | given))


def revoke(store: Store, destination: str = "10.1.0.0/16", group: str | None = None, **given: Any) -> dict[str, Any]:
    whom = {"RevokeAllGroups": True} if group is None else {"AccessGroupId": group}
    parameters = {"ClientVpnEndpointId": ENDPOINT_ID, "TargetNetworkCidr": destination}
    return invoke(store, "RevokeClientVpnIngress", **(parameters | whom | given))


def described(store: Store, **given: Any) -> list[dict[str, Any]]:
    given = {"ClientVpnEndpointId": ENDPOINT_ID} | given
    return list(invoke(store, "DescribeClientVpnAuthorizationRules", **given)["AuthorizationRules"])


def summary(store: Store) -> list[tuple[str, str, str]]:
    return [(one["DestinationCidr"], one["GroupId"], one["Status"]["Code"]) for one in described(store)]


def with_quota(limit: int) -> Any:
    return replace(SETTINGS, quotas=Quotas(authorization_rules_per_endpoint=limit))


def test_a_rule_for_everyone_is_shown_without_a_group(world: Store) -> None:
    assert authorize(world, Description="intranet") == {"Status": {"Code": "authorizing"}}
    assert described(world) == [
        {
            "ClientVpnEndpointId": ENDPOINT_ID,
            "Description": "intranet",
            "GroupId": "",
            "AccessAll": True,
            "DestinationCidr": "10.1.0.0/16",
            "Status": {"Code": "authorizing"},
        }
    ]


def test_a_rule_for_a_group_is_shown_with_it(world: Store) -> None:
    authorize(world, group="engineers, all", AuthorizeAllGroups=False)
    assert [(one["GroupId"], one["AccessAll"]) for one in described(world)] == [("engineers, all", False)]


def test_the_audit_log_sees_a_rule_come_and_go(world: Store) -> None:
    names = {"ClientVpnEndpointId": ENDPOINT_ID, "TargetNetworkCidr": "10.1.0.0/16", "AccessGroupId": "a"}
    _, made = invoke_for_audit(world, "AuthorizeClientVpnIngress", **names)
    _, revoked = invoke_for_audit(world, "RevokeClientVpnIngress", **names)
    assert (made.before, made.after) == (None, revoked.before)
    assert revoked.after == revoked.before | {"Status": {"Code": "revoking"}}
    assert made.affects_gateways
    assert revoked.affects_gateways


def test_a_rule_is_for_one_group_or_for_everyone(world: Store) -> None:
    names = {"ClientVpnEndpointId": ENDPOINT_ID, "TargetNetworkCidr": "10.1.0.0/16"}
    for verb in ("Authorize", "Revoke"):
        for chosen, code in NOBODY:
            whom = {name.replace("All", f"{verb}AllGroups"): value for name, value in chosen.items()}
            with refused(code):
                invoke(world, f"{verb}ClientVpnIngress", **names, **whom)


def test_a_groups_id_may_have_255_characters(world: Store) -> None:
    authorize(world, group="é" * 255)
    assert summary(world) == [("10.1.0.0/16", "é" * 255, "authorizing")]


def test_a_destination_is_an_ipv4_network(world: Store) -> None:
    for destination in ("10.0.0.0/33", "10.0.0.0", "10.0.0.0/255.0.0.0", "fd00::/8", "::/0", "", "any"):
        for change in (authorize, revoke):
            with refused("InvalidParameterValue", repr(destination)):
                change(world, destination)


def test_any_network_may_be_authorised(world: Store) -> None:
    destinations = ["0.0.0.0/0", "10.20.0.0/22", "192.0.2.1/32"]
    for destination in destinations:
        authorize(world, destination)
    assert [destination for destination, _, _ in summary(world)] == destinations


def test_a_description_is_short(world: Store) -> None:
    with refused("InvalidParameterValue", "255"):
        authorize(world, Description="d" * 256)


@pytest.mark.parametrize("status", ["authorizing", "active", "failed"])
@pytest.mark.parametrize("group", [None, "a"])
def test_a_rule_is_there_once_however_it_is_written(world: Store, group: str | None, status: str) -> None:
    add_rule(world, destination_cidr="10.1.0.0/16", group_id=group or "", status_code=status)
    with refused("InvalidClientVpnDuplicateAuthorizationRule", "'a'" if group else "everyone"):
        authorize(world, "10.1.2.3/16", group)


def test_a_destination_may_have_rules_for_many_groups(world: Store) -> None:
    for group in ("b", "a", None):
        authorize(world, group=group)
    assert [group for _, group, _ in summary(world)] == ["", "a", "b"]


def test_an_endpoint_has_so_many_rules(world: Store) -> None:
    authorize(world, group="a", settings=with_quota(2))
    authorize(world, group="b", settings=with_quota(2))
    with refused("ClientVpnAuthorizationRuleLimitExceeded", "the limit is 2"):
        authorize(world, group="c", settings=with_quota(2))
    with refused("InvalidClientVpnDuplicateAuthorizationRule"):
        authorize(world, group="a", settings=with_quota(2))
    revoke(world, group="a")
    authorize(world, group="c", settings=with_quota(2))
    with refused("ClientVpnAuthorizationRuleLimitExceeded"):
        authorize(world, group="a", settings=with_quota(2))
    assert [(group, status) for _, group, status in summary(world)] == [
        ("a", "revoking"),
        ("b", "authorizing"),
        ("c", "authorizing"),
    ]


def test_a_quota_of_zero_is_none(world: Store) -> None:
    authorize(world, settings=with_quota(0))


def test_an_endpoint_has_no_more_rules_than_it_can_have(world: Store) -> None:
    values = {"endpoint_id": ENDPOINT_ID, "destination_cidr": "10.1.0.0/16", "status_code": "active", "created_at": NOW}
    with world.write() as connection:
        connection.execute(insert(authorization_rule), [values | {"group_id": str(n)} for n in range(MAX_RULES)])
    for quota in (0, MAX_RULES + 1):
        with refused("ClientVpnAuthorizationRuleLimitExceeded", f"the limit is {MAX_RULES}"):
            authorize(world, settings=with_quota(quota))


def test_revoking_for_everyone_leaves_the_groups_alone(world: Store) -> None:
    for group in (None, "a"):
        authorize(world, group=group)
    assert revoke(world) == {"Status": {"Code": "revoking"}}
    assert [(group, status) for _, group, status in summary(world)] == [("", "revoking"), ("a", "authorizing")]


def test_revoking_a_group_leaves_everyone_alone(world: Store) -> None:
    for group in (None, "a"):
        authorize(world, group=group)
    revoke(world, group="a")
    assert [(group, status) for _, group, status in summary(world)] == [("", "authorizing"), ("a", "revoking")]


def test_revoking_twice_changes_nothing(world: Store) -> None:
    authorize(world)
    revoke(world)
    names = {"ClientVpnEndpointId": ENDPOINT_ID, "TargetNetworkCidr": "10.1.0.0/16", "RevokeAllGroups": True}
    reply, call = invoke_for_audit(world, "RevokeClientVpnIngress", **names)
    assert reply == {"Status": {"Code": "revoking"}}
    assert call.before == call.after
    assert not call.affects_gateways


def test_a_rule_that_is_being_revoked_is_made_anew(world: Store) -> None:
    authorize(world, Description="old")
    revoke(world)
    assert authorize(world, Description="new") == {"Status": {"Code": "authorizing"}}
    assert [(one["Description"], one["Status"]) for one in described(world)] == [("new", {"Code": "authorizing"})]


def test_what_is_not_there_cannot_be_revoked(world: Store) -> None:
    authorize(world, group="a")
    for destination, group in (("10.1.0.0/16", None), ("10.1.0.0/16", "b"), ("10.1.0.0/17", "a")):
        with refused("InvalidClientVpnEndpointAuthorizationRuleNotFound", destination):
            revoke(world, destination, group)


@pytest.mark.parametrize("change", [authorize, revoke])
def test_only_endpoints_that_last_and_are_not_a_files_change(store: Store, change: Any) -> None:
    add_endpoint(store, status_code="deleting")
    add_file_endpoint(store)
    with refused("IncorrectState"):
        change(store)
    with refused("UnsupportedOperation", "/etc/portway/config.toml"):
        change(store, ClientVpnEndpointId=FILE_ENDPOINT_ID)
    with refused("InvalidClientVpnEndpointId.NotFound"):
        change(store, ClientVpnEndpointId="cvpn-endpoint-2")


def test_the_rules_of_an_endpoint_are_its_own(world: Store) -> None:
    other = add_endpoint(world, "cvpn-endpoint-2", client_cidr_block="10.30.0.0/22")
    authorize(world, ClientVpnEndpointId=other)
    assert described(world) == []
    with refused("InvalidClientVpnEndpointAuthorizationRuleNotFound"):
        revoke(world)


def test_rules_are_found_by_filters(world: Store) -> None:
    add_rule(world, destination_cidr="10.1.0.0/16")
    add_rule(world, destination_cidr="10.1.0.0/16", group_id="a", description="for bot")
    add_rule(world, destination_cidr="10.2.0.0/16", group_id="b")
    for name, value, found in (
        ("destination-cidr", "10.1.0.0/16", ["", "a"]),
        ("destination-cidr", "10.2.*", ["b"]),
        ("group-id", "b", ["b"]),
        ("group-id", "*", ["", "a", "b"]),
        ("description", "for b?t", ["a"]),
    ):
        filters = [{"Name": name, "Values": [value]}]
        assert [one["GroupId"] for one in described(world, Filters=filters)] == found, value


def test_rules_come_in_pages(world: Store) -> None:
    for number in range(7):
        add_rule(world, destination_cidr="10.1.0.0/16", group_id=f"{number}")
    parameters = {"ClientVpnEndpointId": ENDPOINT_ID, "MaxResults": 5}
    first = invoke(world, "DescribeClientVpnAuthorizationRules", **parameters)
    second = invoke(world, "DescribeClientVpnAuthorizationRules", NextToken=first["NextToken"], **parameters)
    pages = [[one["GroupId"] for one in page["AuthorizationRules"]] for page in (first, second)]
    assert (pages, second["NextToken"]) == ([list("01234"), list("56")], None)


@pytest.mark.parametrize("group", [None, "a"])
def test_of_two_who_make_a_rule_at_once_one_does(world: Store, group: str | None) -> None:
    whom = {"AuthorizeAllGroups": True} if group is None else {"AccessGroupId": group}
    names = {"ClientVpnEndpointId": ENDPOINT_ID, "TargetNetworkCidr": "10.1.0.0/16"}
    calls = [("AuthorizeClientVpnIngress", names | whom)] * 2
    assert outcomes_at_once(world, *calls) == ["InvalidClientVpnDuplicateAuthorizationRule", "ok"]


def test_many_at_once_do_not_get_over_the_quota(world: Store) -> None:
    names = {"ClientVpnEndpointId": ENDPOINT_ID, "TargetNetworkCidr": "10.1.0.0/16", "settings": with_quota(3)}
    calls = [("AuthorizeClientVpnIngress", names | {"AccessGroupId": f"{number}"}) for number in range(6)]
    assert outcomes_at_once(world, *calls) == ["ClientVpnAuthorizationRuleLimitExceeded"] * 3 + ["ok"] * 3


def outcome_of_authorizing(store: Store, destination: str, group: str) -> str:
    try:
        authorize(store, destination, group)
    except ActionError as error:
        return error.code
    return "ok"


written_networks = st.tuples(st.integers(0, 15), st.integers(28, 32))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(written_networks, st.sampled_from("ab")), max_size=6))
def test_rules_are_a_set_of_networks_and_groups(world: Store, wanted: list[tuple[tuple[int, int], str]]) -> None:
    """The same network may be written with any of its addresses."""
    with world.write() as connection:
        connection.execute(delete(authorization_rule))
    made: set[tuple[str, str]] = set()
    for (host, length), group in wanted:
        written = f"10.1.0.{host}/{length}"
        key = str(IPv4Network(written, strict=False)), group
        expected = "InvalidClientVpnDuplicateAuthorizationRule" if key in made else "ok"
        assert outcome_of_authorizing(world, written, group) == expected
        made.add(key)
    assert [(destination, group) for destination, group, _ in summary(world)] == sorted(made)
