from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gateway.actions.settings import Quotas
from gateway.actions.tagging import forget_tags, put_tags, read_tags, specified_tags, tags_of, tags_shape
from tests.unit.gateway.actions.harness import SETTINGS, make_call, refused

if TYPE_CHECKING:
    from gateway.store import Store


def one(key: str, value: str = "") -> dict[str, str]:
    return {"Key": key, "Value": value}


def test_tags_are_put_beside_those_that_there_are(store: Store) -> None:
    with store.write() as connection:
        call = make_call(store, connection)
        put_tags(call, "x", "client-vpn-endpoint", {"a": "1", "b": "2"})
        put_tags(call, "x", "client-vpn-endpoint", {"b": "3", "c": ""})
        put_tags(call, "y", "security-group", {"a": "9"})
        put_tags(call, "y", "security-group", {})
        assert tags_of(call, ["x", "y", "z"]) == {"x": {"a": "1", "b": "3", "c": ""}, "y": {"a": "9"}, "z": {}}


def test_an_object_that_is_gone_has_no_tags(store: Store) -> None:
    with store.write() as connection:
        call = make_call(store, connection)
        put_tags(call, "x", "security-group", {"a": "1"})
        put_tags(call, "y", "security-group", {"a": "1"})
        forget_tags(call, "x")
        assert tags_of(call, ["x", "y"]) == {"x": {}, "y": {"a": "1"}}


def test_there_are_only_so_many_tags_and_replacing_one_adds_none(store: Store) -> None:
    settings = replace(SETTINGS, quotas=Quotas(tags_per_resource=2))
    with store.write() as connection:
        call = make_call(store, connection, settings=settings)
        put_tags(call, "x", "security-group", {"a": "1", "b": "1"})
        put_tags(call, "x", "security-group", {"a": "2"})
        with refused("TagLimitExceeded", "3 tags; the limit is 2"):
            put_tags(call, "x", "security-group", {"c": "1"})


def test_a_limit_of_zero_is_none(store: Store) -> None:
    with store.write() as connection:
        call = make_call(store, connection, settings=replace(SETTINGS, quotas=Quotas(tags_per_resource=0)))
        put_tags(call, "x", "security-group", {str(number): "" for number in range(60)})
        assert len(tags_of(call, ["x"])["x"]) == 60


def test_replies_have_tags_in_order() -> None:
    assert tags_shape({"b": "2", "a": "1"}) == [one("a", "1"), one("b", "2")]


def test_a_tag_without_a_value_has_an_empty_one() -> None:
    assert read_tags([{"Key": "a"}, one("k" * 128, "v" * 256)]) == {"a": "", "k" * 128: "v" * 256}


@pytest.mark.parametrize(
    "tag", [one(""), {"Value": "x"}, one("k" * 129), one("k", "v" * 257), one("aws:x"), one("AWS:x")]
)
def test_bad_tags_are_refused(tag: dict[str, str]) -> None:
    with refused("InvalidParameterValue"):
        read_tags([tag])


def test_a_key_is_there_once() -> None:
    with refused("InvalidParameter", "'a' is there twice"):
        read_tags([one("a", "1"), one("a", "2")])


def test_tags_of_a_new_object_are_for_its_type(store: Store) -> None:
    def specify(*specifications: dict[str, Any]) -> dict[str, str]:
        with store.read() as connection:
            call = make_call(store, connection, TagSpecifications=list(specifications))
            return specified_tags(call, "security-group")

    assert specify() == {}
    assert specify({"ResourceType": "security-group"}) == {}
    assert specify({"ResourceType": "security-group", "Tags": [one("a", "1")]}) == {"a": "1"}
    for other in ({"ResourceType": "vpc"}, {"Tags": [one("a")]}):
        with refused("InvalidParameterValue", "security-group"):
            specify(other)
