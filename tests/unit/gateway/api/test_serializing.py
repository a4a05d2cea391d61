"""botocore reads from a reply exactly what the action said, and every reply is well-formed XML."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from botocore.parsers import create_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.serializing import ReplyError, build_error, build_reply
from gateway.api.service_model import EC2_VERSION, load_services
from tests.unit.gateway.api.shapes import replies
from tests.unit.gateway.api.test_parsing import EVERY_TYPE, EXAMPLES, OPERATIONS, named

if TYPE_CHECKING:
    from botocore.model import OperationModel

DESCRIBE = load_services()[EC2_VERSION].operation_model("DescribeClientVpnEndpoints")
EXPORT = load_services()[EC2_VERSION].operation_model("ExportClientVpnClientConfiguration")


def read(body: bytes, operation: OperationModel, status: int = 200) -> dict[str, Any]:
    """What an SDK makes of a reply."""
    parser = create_parser(operation.service_model.protocol)
    reply: dict[str, Any] = parser.parse({"body": body, "headers": {}, "status_code": status}, operation.output_shape)
    return reply


def to_milliseconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: to_milliseconds(member) for name, member in value.items()}
    if isinstance(value, list):
        return [to_milliseconds(item) for item in value]
    if isinstance(value, datetime):
        return value - timedelta(microseconds=value.microsecond % 1000)
    return value


@pytest.mark.parametrize("operation", [*OPERATIONS, EVERY_TYPE], ids=named)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_an_sdk_reads_what_the_action_said(operation: OperationModel, data: st.DataObject) -> None:
    said = to_milliseconds(data.draw(replies(operation)))
    reply = read(build_reply(operation, said, "the-id"), operation)
    assert reply.pop("ResponseMetadata")["RequestId"] == "the-id"
    assert reply == said


HOSTILE = st.text(st.characters(exclude_categories=()), max_size=50)


@given(text=HOSTILE)
def test_whatever_a_text_holds_the_reply_is_well_formed(text: str) -> None:
    reply = read(build_reply(EXPORT, {"ClientConfiguration": text}, text), EXPORT)
    assert len(reply["ClientConfiguration"]) == len(text)


@pytest.mark.parametrize("is_ec2", [True, False])
@given(text=HOSTILE)
def test_whatever_a_message_holds_the_error_is_well_formed(is_ec2: bool, text: str) -> None:
    ET.fromstring(build_error(text, text, text, status=400, is_ec2=is_ec2))


def test_what_xml_cannot_carry_is_replaced() -> None:
    reply = read(build_reply(EXPORT, {"ClientConfiguration": "a\0b\ud800c\x1b]]>\r\n"}, "id"), EXPORT)
    assert reply["ClientConfiguration"] == "a\ufffdb\ufffdc\ufffd]]>\r\n"


@pytest.mark.parametrize(("operation", "status"), [(DESCRIBE, 400), (EVERY_TYPE, 400), (EVERY_TYPE, 503)])
def test_an_sdk_reads_errors_of_its_protocol(operation: OperationModel, status: int) -> None:
    is_ec2 = operation.service_model.protocol == "ec2"
    body = build_error("Some.Code", "A <sentence>.", "the-id", status=status, is_ec2=is_ec2)
    reply = read(body, operation, status)
    assert (reply["Error"]["Code"], reply["Error"]["Message"]) == ("Some.Code", "A <sentence>.")
    assert reply["ResponseMetadata"]["RequestId"] == "the-id"


def test_ec2_replies_look_like_ec2s() -> None:
    endpoint = {"ClientVpnEndpointId": "cvpn-endpoint-1", "ConnectionLogOptions": {"Enabled": False}, "DnsServers": []}
    body = build_reply(DESCRIBE, {"ClientVpnEndpoints": [endpoint], "NextToken": None}, "the-id")
    assert body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<DescribeClientVpnEndpointsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        "<requestId>the-id</requestId><clientVpnEndpoint><item><clientVpnEndpointId>cvpn-endpoint-1</clientVpnEndpointId>"
        "<dnsServer></dnsServer><connectionLogOptions><Enabled>false</Enabled></connectionLogOptions></item>"
        "</clientVpnEndpoint></DescribeClientVpnEndpointsResponse>"
    )


@pytest.mark.parametrize(
    ("operation", "reply"), [(DESCRIBE, {"Endpoints": []}), (DESCRIBE, {"ClientVpnEndpoints": [{"Id": "x"}]})]
)
def test_what_the_shape_does_not_have_is_not_said(operation: OperationModel, reply: dict[str, Any]) -> None:
    with pytest.raises(ReplyError):
        build_reply(operation, reply, "id")


def test_a_time_that_was_kept_as_text_is_said_as_it_is() -> None:
    moment = datetime(2026, 6, 1, 12, tzinfo=UTC)
    for value in (moment, moment.isoformat()):
        assert read(build_reply(EVERY_TYPE, {"When": value}, "id"), EVERY_TYPE)["When"] == moment
