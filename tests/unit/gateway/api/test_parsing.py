"""Form fields become parameters exactly as botocore would have written them, and whatever else comes is refused."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from botocore.model import ListShape, ServiceModel, StructureShape
from botocore.serialize import create_serializer
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.actions import ActionError
from gateway.api import parsing
from gateway.api.parsing import MAX_FIELDS, parse_fields_untrusted, parse_parameters_untrusted
from gateway.api.service_model import EC2_VERSION, load_services, merge_topics
from tests.unit.gateway.api.shapes import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.model import OperationModel, Shape

EXAMPLES = 20
"""For each of the operations."""

CODES = frozenset(
    {
        "InvalidMaxResults",
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "MissingParameter",
        "UnknownParameter",
    }
)
SERVICES = load_services()
OPERATIONS = [service.operation_model(name) for service in SERVICES.values() for name in service.operation_names]

EVERY_TYPE = ServiceModel(
    merge_topics(
        [
            (
                "every_type.json",
                {
                    "operations": {"Say": {"input": {"shape": "Said"}, "output": {"shape": "Said"}}},
                    "shapes": {
                        "Boolean": {"type": "boolean"},
                        "Long": {"type": "long"},
                        "Double": {"type": "double"},
                        "Time": {"type": "timestamp"},
                        "Octets": {"type": "blob"},
                        "Short": {"type": "string", "min": 2, "max": 4},
                        "Few": {"type": "integer", "min": 1, "max": 9},
                        "Words": {"type": "list", "member": {"shape": "Short"}, "min": 1, "max": 2},
                        "Inner": {"type": "structure", "required": ["A"], "members": {"A": {"shape": "Short"}}},
                        "Inners": {"type": "list", "member": {"shape": "Inner", "locationName": "One"}},
                        "Said": {
                            "type": "structure",
                            "members": {
                                "Yes": {"shape": "Boolean"},
                                "Much": {"shape": "Long"},
                                "Part": {"shape": "Double"},
                                "When": {"shape": "Time"},
                                "Raw": {"shape": "Octets"},
                                "Word": {"shape": "Short", "locationName": "word"},
                                "Few": {"shape": "Few"},
                                "Words": {"shape": "Words"},
                                "Inners": {"shape": "Inners"},
                            },
                        },
                    },
                },
            )
        ]
    ),
    "portway",
).operation_model("Say")


def named(operation: OperationModel) -> str:
    return f"{operation.service_model.service_name}-{operation.name}"


def written(parameters: Mapping[str, Any], operation: OperationModel) -> bytes:
    """The form that an SDK sends."""
    serializer = create_serializer(operation.service_model.protocol, include_validation=False)
    return urlencode(serializer.serialize_to_request(parameters, operation)["body"]).encode()


def is_complete(value: Any, shape: Shape) -> bool:
    """Whether what is required is there still, when what could not be said has gone."""
    if isinstance(shape, StructureShape):
        named = all(name in value for name in shape.required_members)
        return named and all(is_complete(member, shape.members[name]) for name, member in value.items())
    return not isinstance(shape, ListShape) or all(is_complete(item, shape.member) for item in value)


def refusal(work: Callable[[], object]) -> ActionError | None:
    try:
        work()
    except ActionError as error:
        return error
    return None


def read(form: bytes, operation: OperationModel) -> dict[str, Any]:
    return parse_parameters_untrusted(parse_fields_untrusted(form), operation)


def without(value: Any, *unsayable: Any) -> Any:
    """A value without members and elements that a protocol has no words for."""
    if isinstance(value, dict):
        said = {name: without(member, *unsayable) for name, member in value.items()}
        return {name: member for name, member in said.items() if member not in unsayable}
    if isinstance(value, list):
        return [item for item in (without(item, *unsayable) for item in value) if item not in unsayable]
    return value


@pytest.mark.parametrize("operation", [*OPERATIONS, EVERY_TYPE], ids=named)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_what_an_sdk_writes_is_read_as_it_was_meant(operation: OperationModel, data: st.DataObject) -> None:
    unsayable: tuple[Any, ...] = ([], {}) if operation.service_model.protocol == "ec2" else ({},)
    expected = without(data.draw(requests(operation)), *unsayable)
    assume(operation.input_shape is None or is_complete(expected, operation.input_shape))
    assert read(written(expected, operation), operation) == expected


@given(form=st.binary(max_size=200))
def test_any_octets_are_fields_or_refused(form: bytes) -> None:
    error = refusal(lambda: parse_fields_untrusted(form))
    assert error is None or 400 <= error.status < 500


def part_names(operation: OperationModel) -> st.SearchStrategy[str]:
    known = [
        *(operation.input_shape.members if operation.input_shape else ()),
        "1",
        "2",
        "0",
        "member",
        "Name",
        "Value",
    ]
    return st.lists(st.one_of(st.sampled_from(known), st.text(max_size=5)), min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize("operation", [*OPERATIONS, EVERY_TYPE], ids=named)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_any_fields_are_parameters_or_refused(operation: OperationModel, data: st.DataObject) -> None:
    values = st.one_of(st.text(max_size=10), st.sampled_from(["", "true", "1", "-1", "443", "udp", "9" * 30]))
    fields = data.draw(st.dictionaries(part_names(operation), values, max_size=6))
    error = refusal(lambda: parse_parameters_untrusted(fields, operation))
    assert error is None or (error.code in CODES and error.message.endswith("."))


DESCRIBE = SERVICES[EC2_VERSION].operation_model("DescribeClientVpnRoutes")


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({}, "MissingParameter", "parameter ClientVpnEndpointId."),
        ({"ClientVpnEndpointId": ""}, "MissingParameter", "parameter ClientVpnEndpointId."),
        ({"ClientVpnEndpointId": "x", "Colour": "red"}, "UnknownParameter", "Colour"),
        ({"ClientVpnEndpointId": "x", "Filter.1.Size": "3"}, "UnknownParameter", "Filter.1.Size"),
        ({"ClientVpnEndpointId": "x", "Filter.one.Name": "a"}, "UnknownParameter", "Filter.one"),
        ({"ClientVpnEndpointId": "x", "Filter.0.Name": "a"}, "UnknownParameter", "Filter.0"),
        ({"ClientVpnEndpointId": "x", "Filter.01.Name": "a"}, "UnknownParameter", "Filter.01"),
        ({"ClientVpnEndpointId": "x", "Filter.1": "a"}, "InvalidParameterValue", "Filter.1"),
        ({"ClientVpnEndpointId": "x", "ClientVpnEndpointId.1": "y"}, "InvalidParameterCombination", "value and parts"),
        ({"ClientVpnEndpointId.1": "y"}, "UnknownParameter", "ClientVpnEndpointId.1"),
        ({"ClientVpnEndpointId": "x", "MaxResults": "many"}, "InvalidParameterValue", "(many) for parameter Max"),
        ({"ClientVpnEndpointId": "x", "MaxResults": "4"}, "InvalidMaxResults", "5 to 1000"),
        ({"ClientVpnEndpointId": "x", "MaxResults": "1" * 5000}, "InvalidParameterValue", "MaxResults"),
        ({"ClientVpnEndpointId": "x", "DryRun": "perhaps"}, "InvalidParameterValue", "true or false"),
        ({"ClientVpnEndpointId": "x\0"}, "InvalidParameterValue", "control characters"),
        ({"ClientVpnEndpointId": "x\ud800"}, "InvalidParameterValue", "control characters"),
        ({"ClientVpnEndpointId": "x", ".".join("a" * 40): "y"}, "UnknownParameter", "parameter a is"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(fields: dict[str, str], code: str, said: str) -> None:
    with pytest.raises(ActionError) as caught:
        parse_parameters_untrusted(fields, DESCRIBE)
    assert caught.value.code == code
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"word": "x"}, "1 characters; it can have 2 to 4"),
        ({"word": "xxxxx"}, "5 characters; it can have 2 to 4"),
        ({"Few": "0"}, "1 to 9"),
        ({"Few": "1.0"}, "whole number"),
        ({"Much": str(2**63)}, "whole number"),
        ({"Part": "nan"}, "a number"),
        ({"Part": "1e999"}, "a number"),
        ({"When": "yesterday"}, "2026-06-01T12:00:00Z"),
        ({"When": "0001-01-01T00:00:00+14:00"}, "2026-06-01T12:00:00Z"),
        ({"Raw": "?"}, "base64"),
        ({"Words.member.1": "ab", "Words.member.2": "ab", "Words.member.3": "ab"}, "3 elements; it can have 1 to 2"),
    ],
)
def test_values_out_of_bounds_are_refused(fields: dict[str, str], said: str) -> None:
    with pytest.raises(ActionError) as caught:
        parse_parameters_untrusted(fields, EVERY_TYPE)
    assert caught.value.code == "InvalidParameterValue"
    assert said in caught.value.message


def test_required_members_of_elements_are_required() -> None:
    with pytest.raises(ActionError, match=r"Inners\.One\.1\.A") as caught:
        parse_parameters_untrusted({"Inners.One.1.A": ""}, EVERY_TYPE)
    assert caught.value.code == "MissingParameter"


def test_elements_are_ordered_by_number_and_may_leave_numbers_out() -> None:
    fields = {"ClientVpnEndpointId": "x", "Filter.10.Name": "b", "Filter.9.Name": "a", "Filter.9.Value.3": "v"}
    filters = parse_parameters_untrusted(fields, DESCRIBE)["Filters"]
    assert filters == [{"Name": "a", "Values": ["v"]}, {"Name": "b"}]


def test_fields_of_the_protocol_are_no_parameters() -> None:
    fields = {"Action": "X", "Version": "Y", "X-Amz-Signature": "Z", "ClientVpnEndpointId": "x"}
    assert parse_parameters_untrusted(fields, DESCRIBE) == {"ClientVpnEndpointId": "x"}


def test_times_are_utc() -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    for text in ("2026-06-01T12:00:00Z", "2026-06-01T14:00:00+02:00", "2026-06-01T12:00:00"):
        assert parse_parameters_untrusted({"When": text}, EVERY_TYPE) == {"When": noon}


@pytest.mark.parametrize(
    ("form", "code"),
    [
        (b"a=1&a=2", "InvalidQueryParameter"),
        (b"a=%ff", "MalformedQueryString"),
        (b"\xff=1", "MalformedQueryString"),
        (b"nothing", "MalformedQueryString"),
        (b"&".join(b"a%d=" % number for number in range(MAX_FIELDS + 1)), "MalformedQueryString"),
    ],
)
def test_bad_forms_are_refused(form: bytes, code: str) -> None:
    with pytest.raises(ActionError) as caught:
        parse_fields_untrusted(form)
    assert caught.value.code == code


def test_an_empty_form_has_no_fields() -> None:
    assert parse_fields_untrusted(b"") == {}


# Work, which strangers may cause


class Counted(str):
    """A name that counts how often it is looked at."""

    __slots__ = ()
    looked_at = 0

    def __eq__(self, other: object) -> bool:
        Counted.looked_at += 1
        return super().__eq__(other)

    def __hash__(self) -> int:
        Counted.looked_at += 1
        return super().__hash__()


def work_for(names: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the names of a form are looked at until it is read or refused, before anybody knows who has sent it."""
    monkeypatch.setattr(parsing, "parse_qsl", lambda *_, **__: [(Counted(name), "") for name in names])
    Counted.looked_at = 0
    with contextlib.suppress(ActionError):
        parse_fields_untrusted(b"x")
    return Counted.looked_at


@pytest.mark.parametrize(
    "ending", [[], ["0"], ["last", "last"]], ids=["all differ", "the first again", "the last again"]
)
def test_twice_as_many_fields_are_twice_the_work(ending: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (
        work_for([*map(str, range(count)), *ending], monkeypatch) for count in (MAX_FIELDS // 2, MAX_FIELDS - 2)
    )
    assert MAX_FIELDS / 2 <= few < many <= 2.1 * few


def test_more_fields_than_there_may_be_are_refused_unread() -> None:
    assert parse_fields_untrusted(b"&".join(b"%d=" % number for number in range(MAX_FIELDS)))
    with pytest.raises(ActionError) as caught:
        parse_fields_untrusted(b"&".join(b"%d=" % number for number in range(MAX_FIELDS + 1)))
    assert (caught.value.code, caught.value.status) == ("MalformedQueryString", 404)
