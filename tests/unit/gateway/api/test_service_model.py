"""The models have what is served, nothing that cannot be read or written, and do not contradict themselves."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.model import ServiceModel

from gateway.actions.loading import load_actions
from gateway.api.service_model import (
    EC2_VERSION,
    PORTWAY_VERSION,
    STS_VERSION,
    load_services,
    merge_topics,
    referenced_shapes,
)

SERVICES = load_services()
TYPES = {"structure", "list", "string", "boolean", "integer", "long", "float", "double", "timestamp", "blob"}

THINGS: dict[str, Any] = {
    "operations": {"ListThings": {"input": {"shape": "ListThingsRequest"}, "output": {"shape": "Things"}}},
    "shapes": {
        "ListThingsRequest": {"type": "structure", "members": {"Name": {"shape": "String"}}},
        "Things": {"type": "structure", "members": {"Name": {"shape": "String"}}},
    },
}
STRING: dict[str, Any] = {"shapes": {"String": {"type": "string"}, "Boolean": {"type": "boolean"}}}


def test_there_are_three_services_by_their_versions() -> None:
    assert {version: service.service_name for version, service in SERVICES.items()} == {
        EC2_VERSION: "ec2",
        STS_VERSION: "sts",
        PORTWAY_VERSION: "portway",
    }


def test_every_action_is_in_exactly_one_of_them() -> None:
    for name in load_actions():
        assert sum(name in service.operation_names for service in SERVICES.values()) == 1, name


def test_all_of_client_vpn_is_known() -> None:
    assert sum("ClientVpn" in name for name in SERVICES[EC2_VERSION].operation_names) == 25


def test_nothing_has_a_type_that_is_not_read_and_written() -> None:
    for service in SERVICES.values():
        for name in service.operation_names:
            operation = service.operation_model(name)
            for shape in (*referenced_shapes(operation.input_shape), *referenced_shapes(operation.output_shape)):
                assert shape.type_name in TYPES, f"{name}: {shape.name}"
                assert "flattened" not in shape.serialization, f"{name}: {shape.name}"


def test_models_are_read_once() -> None:
    assert load_services() is SERVICES


def test_an_operation_gets_what_follows_from_its_name() -> None:
    operation = ServiceModel(merge_topics([("a.json", THINGS), ("b.json", STRING)]), "portway").operation_model(
        "ListThings"
    )
    assert operation.http == {"method": "POST", "requestUri": "/"}
    assert operation.output_shape.serialization["resultWrapper"] == "ListThingsResult"
    assert set(operation.input_shape.members) == {"Name", "DryRun"}


def test_topics_stay_as_they_are() -> None:
    merge_topics([("a.json", THINGS), ("b.json", STRING)])
    assert "DryRun" not in THINGS["shapes"]["ListThingsRequest"]["members"]


def test_the_same_may_be_said_twice_and_something_else_may_not() -> None:
    merge_topics([("a.json", THINGS), ("b.json", STRING), ("c.json", STRING)])
    with pytest.raises(ValueError, match=r"c\.json says of String something else"):
        merge_topics([("b.json", STRING), ("c.json", {"shapes": {"String": {"type": "blob"}}})])


def test_a_shape_that_nobody_describes_is_named() -> None:
    with pytest.raises(ValueError, match="String"):
        merge_topics([("a.json", THINGS)])
