"""What holds for every action: who may, once only, all or nothing, and on record."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from gateway.actions import Action, ActionError, Call, Caller, Face, Role
from gateway.api.dispatch import Dispatcher, Request
from gateway.api.refusals import IN_FULL, SPAN_S
from gateway.api.serializing import ReplyError
from gateway.api.service_model import EC2_VERSION, PORTWAY_VERSION, load_services
from gateway.store import StoreError, StoreUnavailableError
from gateway.store.schema import audit, executed_signature, idempotency, tag
from tests.unit.gateway.api.site import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.store import Store

NOW = 1_780_315_200.0  # 2026-06-01 12:00 UTC
ENDPOINT = "cvpn-endpoint-00000000000000001"
ROUTE = {"ClientVpnEndpointId": ENDPOINT, "DestinationCidrBlock": "10.0.0.0/8", "TargetVpcSubnetId": "subnet-1"}
NEW_ENDPOINT = {
    "ServerCertificateArn": "x",
    "Authentication.1.Type": "certificate-authentication",
    "ConnectionLogOptions.Enabled": "false",
}


class House:
    """A dispatcher over two actions whose doing is the test's."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW
        self.calls: list[Call] = []
        self.doing: Callable[[Call], dict[str, Any]] = lambda _: {"Status": {"Code": "creating"}}
        actions = (
            Action("CreateClientVpnRoute", self._run, changes=True, role=Role.OPERATOR),
            Action("DescribeClientVpnRoutes", self._run, changes=False, role=Role.READ_ONLY),
            Action("DescribeClientVpnEndpoints", self._run, changes=False, role=Role.READ_ONLY),
            Action("CreateTags", self._run, changes=True, role=Role.OPERATOR),
            Action("CreateClientVpnEndpoint", self._run, changes=True, role=Role.OPERATOR),
            Action("CreateAccessKey", self._run, changes=True, role=Role.ADMIN),
        )
        self.dispatcher = Dispatcher(store, SETTINGS, {one.name: one for one in actions}, clock=lambda: self.now)

    def _run(self, call: Call) -> dict[str, Any]:
        self.calls.append(call)
        return self.doing(call)

    def say(
        self,
        action: str,
        fields: Mapping[str, str] = MappingProxyType({}),
        *,
        role: Role = Role.ADMIN,
        limits: tuple[str, ...] = (),
        signature: str = "",
        good_for_s: float = 600,
    ) -> bytes:
        caller = Caller("PWKAME", role, Face.API, frozenset(limits), "192.0.2.7")
        version = PORTWAY_VERSION if "AccessKey" in action else EC2_VERSION
        service = load_services()[version]
        request = Request(service, action, fields, caller, "the-id", signature, self.now + good_for_s)
        return self.dispatcher.carry_out(request)

    def audited(self) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(select(audit).order_by(audit.c.id)))

    def count(self, table: Any) -> int:
        with self.store.read() as connection:
            return len(connection.execute(select(table)).all())


@pytest.fixture
def house(store: Store) -> House:
    return House(store)


def refusal(work: Callable[[], object]) -> ActionError:
    with pytest.raises(ActionError) as caught:
        work()
    return caught.value


def put_tag(call: Call) -> dict[str, Any]:
    values = {"resource_id": "x", "resource_type": "y", "key": "z", "value": str(len(call.parameters))}
    call.connection.execute(insert(tag).values(values))
    return {"Status": {"Code": "creating"}}


# What there is


def test_an_action_sees_parameters_by_the_sdks_names(house: House) -> None:
    reply = house.say("CreateClientVpnRoute", ROUTE)
    assert b"<code>creating</code>" in reply
    call = house.calls[0]
    assert call.parameters == ROUTE
    assert (call.now, call.action, call.settings) == (NOW, "CreateClientVpnRoute", SETTINGS)


def test_what_the_model_does_not_have_is_no_action(house: House) -> None:
    assert refusal(lambda: house.say("RunInstances")).code == "InvalidAction"
    assert refusal(lambda: house.say("GetCallerIdentity")).code == "InvalidAction"


@pytest.mark.parametrize(
    ("action", "instead"),
    [
        ("AcceptTransitGatewayClientVpnAttachment", "AssociateClientVpnTargetNetwork"),
        ("GetClientVpnEndpointAuthorizationPolicy", "AuthorizeClientVpnIngress"),
        ("ModifyClientVpnEndpoint", "not supported"),
    ],
)
def test_what_nobody_carries_out_is_said_with_what_to_use(house: House, action: str, instead: str) -> None:
    error = refusal(lambda: house.say(action))
    assert error.code == "UnsupportedOperation"
    assert instead in error.message


# Who may


@pytest.mark.parametrize(
    ("role", "action"),
    [
        (Role.READ_ONLY, "CreateClientVpnRoute"),
        (Role.READ_ONLY, "CreateAccessKey"),
        (Role.OPERATOR, "CreateAccessKey"),
    ],
)
def test_a_role_that_does_not_reach_is_refused_before_anything_else(house: House, role: Role, action: str) -> None:
    error = refusal(lambda: house.say(action, {"Nonsense": "x"}, role=role))
    assert (error.code, error.status) == ("UnauthorizedOperation", 403)
    assert house.calls == []


TAGGED = {"Tag.1.Key": "a", "Tag.1.Value": "b"}
OTHER = "cvpn-endpoint-other"


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("CreateClientVpnRoute", ROUTE),
        ("CreateTags", {"ResourceId.1": ENDPOINT, **TAGGED}),
        ("DescribeClientVpnEndpoints", {}),
        ("DescribeClientVpnEndpoints", {"ClientVpnEndpointId.1": ENDPOINT}),
        ("DescribeClientVpnRoutes", {"ClientVpnEndpointId": ENDPOINT}),
    ],
)
def test_who_is_limited_to_an_endpoint_may_do_what_is_about_it(
    house: House, action: str, fields: dict[str, str]
) -> None:
    house.doing = lambda _: {}
    house.say(action, fields, role=Role.OPERATOR, limits=(ENDPOINT,))
    assert len(house.calls) == 1


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("CreateClientVpnRoute", {**ROUTE, "ClientVpnEndpointId": OTHER}),
        ("CreateTags", {"ResourceId.1": ENDPOINT, "ResourceId.2": "sg-1", **TAGGED}),
        ("CreateClientVpnEndpoint", NEW_ENDPOINT),
        ("DescribeClientVpnEndpoints", {"ClientVpnEndpointId.1": ENDPOINT, "ClientVpnEndpointId.2": OTHER}),
        ("DescribeClientVpnRoutes", {"ClientVpnEndpointId": OTHER}),
    ],
)
def test_who_is_limited_to_an_endpoint_may_not_do_what_is_about_more(
    house: House, action: str, fields: dict[str, str]
) -> None:
    error = refusal(lambda: house.say(action, fields, role=Role.OPERATOR, limits=(ENDPOINT,)))
    assert (error.code, error.status) == ("UnauthorizedOperation", 403)
    assert house.calls == []


# Dry runs


def test_a_dry_run_is_permission_and_form_and_nothing_else(house: House) -> None:
    error = refusal(lambda: house.say("CreateClientVpnRoute", {"DryRun": "true", **ROUTE}))
    assert (error.code, error.status) == ("DryRunOperation", 412)
    denied = refusal(lambda: house.say("CreateClientVpnRoute", {"DryRun": "true", **ROUTE}, role=Role.READ_ONLY))
    assert denied.code == "UnauthorizedOperation"
    assert refusal(lambda: house.say("CreateClientVpnRoute", {"DryRun": "true"})).code == "MissingParameter"
    assert house.calls == []
    assert [row.outcome for row in house.audited()] == ["UnauthorizedOperation", "MissingParameter"]


def test_a_run_that_is_not_dry_is_one(house: House) -> None:
    house.say("CreateClientVpnRoute", {"DryRun": "false", **ROUTE})
    assert "DryRun" not in house.calls[0].parameters


# Once only


def test_a_token_brings_back_the_reply_without_a_second_change(house: House) -> None:
    replies = {house.say("CreateClientVpnRoute", {"ClientToken": "t", **ROUTE}) for _ in range(3)}
    assert len(replies) == len(house.calls) == 1


def test_a_token_with_other_parameters_is_a_mismatch(house: House) -> None:
    house.say("CreateClientVpnRoute", {"ClientToken": "t", **ROUTE})
    error = refusal(lambda: house.say("CreateClientVpnRoute", {"ClientToken": "t", "Description": "other", **ROUTE}))
    assert error.code == "IdempotentParameterMismatch"


def test_a_token_of_a_change_that_failed_is_still_good(house: House) -> None:
    def fail(_: Call) -> dict[str, Any]:
        raise ActionError("IncorrectState", "Not now.")

    well, house.doing = house.doing, fail
    refusal(lambda: house.say("CreateClientVpnRoute", {"ClientToken": "t", **ROUTE}))
    house.doing = well
    house.say("CreateClientVpnRoute", {"ClientToken": "t", **ROUTE})
    assert len(house.calls) == 2


def test_a_token_is_good_for_a_day(house: House) -> None:
    house.say("CreateClientVpnRoute", {"ClientToken": "t", **ROUTE})
    house.now += 24 * 3600 + 1
    house.say("CreateClientVpnRoute", {"ClientToken": "t", **ROUTE})
    assert len(house.calls) == 2
    assert house.count(idempotency) == 1


@pytest.mark.parametrize("token", ["", "x" * 65, "ü", "a\tb"])
def test_bad_tokens_are_refused(house: House, token: str) -> None:
    assert (
        refusal(lambda: house.say("CreateClientVpnRoute", {"ClientToken": token, **ROUTE})).code
        == "InvalidParameterValue"
    )


def test_a_signature_carries_out_one_change(house: House) -> None:
    house.say("CreateClientVpnRoute", ROUTE, signature="s" * 64)
    assert refusal(lambda: house.say("CreateClientVpnRoute", ROUTE, signature="s" * 64)).code == "Throttling"
    house.say("CreateClientVpnRoute", ROUTE, signature="r" * 64)
    assert len(house.calls) == 2


def test_a_signature_whose_change_failed_may_come_again(house: House) -> None:
    def fail(_: Call) -> dict[str, Any]:
        raise ActionError("IncorrectState", "Not now.")

    well, house.doing = house.doing, fail
    refusal(lambda: house.say("CreateClientVpnRoute", ROUTE, signature="s" * 64))
    house.doing = well
    house.say("CreateClientVpnRoute", ROUTE, signature="s" * 64)


def test_signatures_are_forgotten_when_they_are_of_no_use(house: House) -> None:
    house.say("CreateClientVpnRoute", ROUTE, signature="s" * 64)
    house.now += 601
    house.say("CreateClientVpnRoute", ROUTE)
    assert house.count(executed_signature) == 0


@pytest.mark.parametrize("signature", ["s", "r"], ids=["of the first call", "of its repetition"])
def test_a_signature_is_known_for_longer_than_the_token_that_came_with_it(house: House, signature: str) -> None:
    """A client's clock may be fast: what it signs for a day is then good for a day and some minutes."""
    with_token = {"ClientToken": "t", **ROUTE}
    house.say("CreateClientVpnRoute", with_token, signature="s" * 64, good_for_s=24 * 3600 + 600)
    house.say("CreateClientVpnRoute", with_token, signature="r" * 64, good_for_s=24 * 3600 + 600)
    house.now += 24 * 3600 + 60
    assert refusal(lambda: house.say("CreateClientVpnRoute", with_token, signature=signature * 64)).code == "Throttling"
    assert len(house.calls) == 1


def test_what_is_signed_and_read_may_be_read_again(house: House) -> None:
    house.doing = lambda _: {}
    for _ in range(2):
        house.say("DescribeClientVpnEndpoints", signature="s" * 64)


# All or nothing


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (ActionError("IncorrectState", "Not now."), "IncorrectState"),
        (RuntimeError("a mistake"), "InternalError"),
    ],
)
def test_what_fails_leaves_nothing_but_a_line(house: House, raised: Exception, outcome: str) -> None:
    def fail(call: Call) -> dict[str, Any]:
        put_tag(call)
        raise raised

    house.doing = fail
    before = house.store.counter()
    with pytest.raises(type(raised)):
        house.say("CreateClientVpnRoute", ROUTE, signature="s" * 64)
    assert (house.count(tag), house.count(executed_signature), house.store.counter()) == (0, 0, before)
    assert [(row.outcome, row.parameters) for row in house.audited()] == [(outcome, ROUTE)]


def test_what_cannot_be_said_is_not_done(house: House) -> None:
    house.doing = lambda call: {**put_tag(call), "Colour": "red"}
    with pytest.raises(ReplyError):
        house.say("CreateClientVpnRoute", ROUTE)
    assert house.count(tag) == 0


def test_a_change_that_meets_another_one_is_refused_in_a_way_that_can_be_tried_again(house: House) -> None:
    house.doing = lambda call: (put_tag(call), put_tag(call))[1]
    error = refusal(lambda: house.say("CreateClientVpnRoute", ROUTE))
    assert (error.code, error.status) == ("IncorrectState", 400)
    assert isinstance(error.__cause__, IntegrityError)


def test_gateways_look_at_what_concerns_them(house: House) -> None:
    before = house.store.counter()
    house.say("CreateClientVpnRoute", ROUTE)
    assert house.store.counter() == before + 1

    def unconcerning(call: Call) -> dict[str, Any]:
        call.affects_gateways = False
        return {}

    house.doing = unconcerning
    house.say("CreateClientVpnRoute", ROUTE)
    assert house.store.counter() == before + 1


def test_who_only_reads_cannot_write(house: House) -> None:
    house.doing = put_tag
    with pytest.raises(StoreError, match="read"):
        house.say("DescribeClientVpnRoutes", {"ClientVpnEndpointId": ENDPOINT})
    assert house.count(tag) == 0


# On record


def test_a_change_is_recorded_with_what_the_action_says_of_it(house: House) -> None:
    def do(call: Call) -> dict[str, Any]:
        call.before, call.after, call.resource_id = None, {"a": 1}, "the-object"
        return {}

    house.doing = do
    house.say("CreateClientVpnRoute", ROUTE)
    (row,) = house.audited()
    assert (row.at, row.request_id, row.caller, row.face, row.source_ip) == (
        NOW,
        "the-id",
        "PWKAME",
        "api",
        "192.0.2.7",
    )
    assert (row.action, row.parameters, row.outcome) == ("CreateClientVpnRoute", ROUTE, "ok")
    assert (row.before, row.after, row.resource_id) == (None, {"a": 1}, "the-object")


def test_a_change_is_about_its_endpoint_where_the_action_names_nothing(house: House) -> None:
    house.say("CreateClientVpnRoute", ROUTE)
    assert house.audited()[0].resource_id == ENDPOINT


def test_what_is_refused_is_recorded_too(house: House) -> None:
    refusal(lambda: house.say("CreateClientVpnRoute", ROUTE, role=Role.READ_ONLY))
    refusal(lambda: house.say("CreateClientVpnRoute", ROUTE, role=Role.OPERATOR, limits=("cvpn-endpoint-other",)))
    rows = [(row.outcome, row.parameters, row.resource_id) for row in house.audited()]
    assert rows == [("UnauthorizedOperation", {}, ""), ("UnauthorizedOperation", ROUTE, ENDPOINT)]


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.READ_ONLY])
def test_a_change_of_several_objects_is_recorded_with_each_of_them(house: House, role: Role) -> None:
    """Who may know of one of them is told of that one, all of it, and of no other."""

    def do(call: Call) -> dict[str, Any]:
        call.before, call.after = {ENDPOINT: [], OTHER: ["secret"]}, {ENDPOINT: ["a"], OTHER: ["secret", "a"]}
        return {}

    house.doing = do
    fields = {"ResourceId.1": ENDPOINT, "ResourceId.2": OTHER, "ResourceId.3": ENDPOINT, **TAGGED}
    house.say("CreateTags", fields)
    refusal(lambda: house.say("CreateTags", fields, limits=(ENDPOINT,)))
    tags = [{"Key": "a", "Value": "b"}]
    rows = [(row.resource_id, row.parameters, row.before, row.after, row.outcome) for row in house.audited()]
    assert rows == [
        (ENDPOINT, {"Resources": [ENDPOINT], "Tags": tags}, [], ["a"], "ok"),
        (OTHER, {"Resources": [OTHER], "Tags": tags}, ["secret"], ["secret", "a"], "ok"),
        (ENDPOINT, {"Resources": [ENDPOINT], "Tags": tags}, None, None, "UnauthorizedOperation"),
        (OTHER, {"Resources": [OTHER], "Tags": tags}, None, None, "UnauthorizedOperation"),
    ]


def test_who_is_refused_without_end_fills_no_store(house: House) -> None:
    for _ in range(IN_FULL + 40):
        refusal(lambda: house.say("CreateClientVpnRoute", ROUTE, role=Role.READ_ONLY))
    house.say("CreateClientVpnRoute", ROUTE)
    house.dispatcher.write_omitted()
    assert [row.outcome for row in house.audited()] == ["UnauthorizedOperation"] * IN_FULL + ["ok"]
    house.now += SPAN_S
    refusal(lambda: house.say("CreateClientVpnRoute", ROUTE, role=Role.READ_ONLY))
    house.dispatcher.write_omitted()
    again, omitted = house.audited()[-2:]
    assert again.outcome == "UnauthorizedOperation"
    assert (omitted.outcome, omitted.caller, omitted.parameters) == ("omitted", "PWKAME", {"Omitted": 40})


def test_what_was_left_out_is_recorded_when_the_process_ends(house: House) -> None:
    for _ in range(IN_FULL + 1):
        refusal(lambda: house.say("CreateClientVpnRoute", ROUTE, role=Role.READ_ONLY))
    house.dispatcher.write_omitted(at_end=True)
    assert house.audited()[-1].parameters == {"Omitted": 1}


def test_one_call_about_very_many_objects_is_not_a_way_around_it(house: House) -> None:
    fields = {f"ResourceId.{number}": f"sg-{number}" for number in range(1, 1001)} | TAGGED
    refusal(lambda: house.say("CreateTags", fields, limits=(ENDPOINT,)))
    house.dispatcher.write_omitted(at_end=True)
    assert len(house.audited()) == IN_FULL + 1
    assert house.audited()[-1].parameters == {"Omitted": 1000 - IN_FULL}


def test_who_reads_is_not_recorded(house: House) -> None:
    house.doing = lambda _: {}
    house.say("DescribeClientVpnEndpoints")
    refusal(lambda: house.say("DescribeClientVpnRoutes"))
    assert house.audited() == []


def test_a_store_that_is_away_is_said_to_be_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> None:
        raise StoreUnavailableError("the database is gone")

    monkeypatch.setattr(house.store, "write", away)
    with pytest.raises(StoreUnavailableError):
        house.say("CreateClientVpnRoute", ROUTE)


def test_only_what_is_known_to_change_something_waits_for_writers(house: House) -> None:
    names = ("CreateClientVpnRoute", "DescribeClientVpnRoutes", "NoSuchAction")
    assert [house.dispatcher.changes(name) for name in names] == [True, False, False]
