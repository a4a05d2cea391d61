"""Keys are made, shown, disabled and deleted; their secrets are shown once."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from gateway.actions import ACTIONS, ActionError, Role
from gateway.actions.loading import load_actions
from gateway.store.schema import access_key
from tests.unit.gateway.actions.harness import ADMIN, invoke, invoke_for_audit, limited_to, refused
from tests.unit.gateway.actions.rows import add_endpoint

if TYPE_CHECKING:
    from gateway.store import Store

load_actions()


def test_a_key_is_made_with_its_secret_shown_once(store: Store) -> None:
    made = invoke(store, "CreateAccessKey", Role="operator", Description="the pipeline's")
    key = made["AccessKey"]
    assert re.fullmatch(r"PWKA[A-Z2-7]{16}", key["AccessKeyId"])
    assert len(made["SecretAccessKey"]) == 40
    assert (key["Role"], key["Description"], key["Status"]) == ("operator", "the pipeline's", "Active")
    assert invoke(store, "ListAccessKeys")["AccessKeys"] == [key]


def test_a_secret_is_sealed_in_the_store(store: Store) -> None:
    secret = invoke(store, "CreateAccessKey", Role="admin")["SecretAccessKey"].encode()
    with store.read() as connection:
        kept = connection.execute(select(access_key.c.secret)).scalar_one()
    assert secret not in kept
    assert store.vault.open(kept) == secret


def test_keys_differ(store: Store) -> None:
    made = [invoke(store, "CreateAccessKey", Role="admin") for _ in range(3)]
    assert len({one["SecretAccessKey"] for one in made}) == len({one["AccessKey"]["AccessKeyId"] for one in made}) == 3


def test_a_key_is_limited_to_endpoints_that_there_are(store: Store) -> None:
    endpoint_id = add_endpoint(store)
    key = invoke(store, "CreateAccessKey", Role="operator", ClientVpnEndpointIds=[endpoint_id])["AccessKey"]
    assert key["ClientVpnEndpointIds"] == [endpoint_id]
    with refused("InvalidClientVpnEndpointId.NotFound"):
        invoke(store, "CreateAccessKey", Role="operator", ClientVpnEndpointIds=["cvpn-endpoint-0"])


def test_a_key_is_disabled_and_enabled_again(store: Store) -> None:
    key_id = invoke(store, "CreateAccessKey", Role="admin")["AccessKey"]["AccessKeyId"]
    for status in ("Inactive", "Inactive", "Active"):
        invoke(store, "ModifyAccessKey", AccessKeyId=key_id, Status=status)
        assert [key["Status"] for key in invoke(store, "ListAccessKeys")["AccessKeys"]] == [status]


def test_a_description_is_changed_alone(store: Store) -> None:
    key_id = invoke(store, "CreateAccessKey", Role="admin", Description="old")["AccessKey"]["AccessKeyId"]
    invoke(store, "ModifyAccessKey", AccessKeyId=key_id, Status="Inactive")
    _, call = invoke_for_audit(store, "ModifyAccessKey", AccessKeyId=key_id, Description="new")
    assert (call.before["Description"], call.after["Description"]) == ("old", "new")
    assert call.after["Status"] == "Inactive"


def test_a_deleted_key_is_gone(store: Store) -> None:
    key_id = invoke(store, "CreateAccessKey", Role="admin")["AccessKey"]["AccessKeyId"]
    invoke(store, "DeleteAccessKey", AccessKeyId=key_id)
    assert invoke(store, "ListAccessKeys")["AccessKeys"] == []


@pytest.mark.parametrize("name", ["ModifyAccessKey", "DeleteAccessKey"])
def test_an_unknown_key_is_said_to_be_unknown(store: Store, name: str) -> None:
    with pytest.raises(ActionError) as caught:
        invoke(store, name, AccessKeyId="PWKANOBODY")
    assert (caught.value.code, caught.value.status) == ("NoSuchEntity", 404)


def test_who_is_limited_to_endpoints_sees_only_keys_limited_to_the_same(store: Store) -> None:
    mine = add_endpoint(store)
    other = add_endpoint(store, "cvpn-endpoint-00000000000000002", client_cidr_block="10.99.0.0/22")
    for limits in ([], [mine], [other], [mine, other]):
        invoke(store, "CreateAccessKey", Role="read-only", ClientVpnEndpointIds=limits)
    seen = invoke(store, "ListAccessKeys", caller=limited_to(mine))["AccessKeys"]
    assert [key["ClientVpnEndpointIds"] for key in seen] == [[mine]]


def test_lists_are_paged(store: Store) -> None:
    for _ in range(7):
        invoke(store, "CreateAccessKey", Role="read-only")
    first = invoke(store, "ListAccessKeys", MaxResults=5)
    rest = invoke(store, "ListAccessKeys", MaxResults=5, NextToken=first["NextToken"])
    assert (len(first["AccessKeys"]), len(rest["AccessKeys"]), rest["NextToken"]) == (5, 2, None)


def test_gateways_need_not_look_at_keys(store: Store) -> None:
    _, call = invoke_for_audit(store, "CreateAccessKey", Role="admin")
    assert not call.affects_gateways
    assert call.resource_id == call.after["AccessKeyId"]


def test_only_administrators_have_to_do_with_keys() -> None:
    names = ("CreateAccessKey", "ListAccessKeys", "ModifyAccessKey", "DeleteAccessKey")
    assert {ACTIONS[name].role for name in names} == {Role.ADMIN}


def test_the_caller_is_named(store: Store) -> None:
    said = invoke(store, "GetCallerIdentity", caller=replace(ADMIN, id="PWKAME"))
    assert said == {"UserId": "PWKAME", "Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/PWKAME"}
