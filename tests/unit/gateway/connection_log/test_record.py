from __future__ import annotations

import dataclasses
import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connection_log import AttemptStatus, ConnectionRecord, Counters, RecordType
from gateway.connection_log.record import build_line, build_loss_line
from tunnel.events import CloseReason

MANUAL = Path(__file__).parents[4] / "docs" / "connection-log.md"

AWS_KEYS = [
    "connection-log-type",
    "connection-attempt-status",
    "connection-reset-status",
    "connection-attempt-failure-reason",
    "connection-id",
    "client-vpn-endpoint-id",
    "transport-protocol",
    "connection-start-time",
    "connection-last-update-time",
    "client-ip",
    "client-ip-v6",
    "common-name",
    "device-type",
    "device-ip",
    "port",
    "ingress-bytes",
    "egress-bytes",
    "ingress-packets",
    "egress-packets",
    "connection-end-time",
    "connection-duration-seconds",
]

FAILED = ConnectionRecord(
    record_type=RecordType.ATTEMPT,
    attempt_status=AttemptStatus.FAILED,
    connection_id="cvpn-connection-1",
    endpoint_id="cvpn-endpoint-1",
    endpoint_name="main",
    node="gw1",
    transport_protocol="udp",
    device_ip="198.51.100.9",
    port=50096,
    updated_at=1769847302.9,
    failure_reason="the certificate is past its end",
    reason_code=CloseReason.CERTIFICATE_EXPIRED,
)

ENDED = dataclasses.replace(
    FAILED,
    record_type=RecordType.RESET,
    attempt_status=AttemptStatus.NOT_APPLICABLE,
    failure_reason=None,
    reason_code=CloseReason.IDLE,
    started_at=1769847302.9,
    ended_at=1769847620.1,
    updated_at=1769847620.1,
    client_ip=IPv4Address("10.80.0.34"),
    common_name="laptop-17",
    groups=("engineering",),
    device_type="mac",
    counters=Counters(ingress_packets=1, ingress_bytes=2, egress_packets=3, egress_bytes=4),
)


def said(record: ConnectionRecord) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(record.as_json())
    return document


def test_a_record_has_every_key_of_aws_first_and_in_its_order() -> None:
    assert list(said(FAILED))[: len(AWS_KEYS)] == AWS_KEYS


def test_the_manual_has_every_key() -> None:
    manual = MANUAL.read_text()
    assert all(f"`{key}`" in manual for key in said(ENDED))


def test_a_failed_attempt_says_why_and_has_na_for_what_never_was() -> None:
    record = said(FAILED)
    assert record["connection-log-type"] == "connection-attempt"
    assert record["connection-attempt-status"] == "failed"
    assert record["connection-attempt-failure-reason"] == "the certificate is past its end"
    assert record["reason-code"] == "certificate-expired"
    absent = ["connection-start-time", "client-ip", "common-name", "connection-end-time", "connection-duration-seconds"]
    assert [record[key] for key in absent] == ["NA"] * len(absent)


def test_the_end_of_a_session_has_its_times_duration_and_counters() -> None:
    record = said(ENDED)
    assert record["connection-log-type"] == "connection-reset"
    assert record["connection-attempt-status"] == "NA"
    assert record["connection-start-time"] == "2026-01-31 08:15:02"
    assert record["connection-end-time"] == "2026-01-31 08:20:20"
    assert record["connection-duration-seconds"] == "318"
    assert record["client-ip"] == "10.80.0.34"
    assert [record[f"{way}-{what}"] for way in ("ingress", "egress") for what in ("packets", "bytes")] == [
        "1",
        "2",
        "3",
        "4",
    ]


def test_every_value_is_a_string_or_a_list_of_strings() -> None:
    for value in (*said(FAILED).values(), *said(ENDED).values()):
        assert isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


ANYTHING = st.text(st.characters(exclude_categories=()), max_size=30)
FOREIGN = {
    "failure_reason": "connection-attempt-failure-reason",
    "common_name": "common-name",
    "device_type": "device-type",
    "device_ip": "device-ip",
    "endpoint_name": "client-vpn-endpoint-name",
    "client_version": "client-version",
    "node": "node",
    "log_group": "log-group",
    "log_stream": "log-stream",
}
"""Fields that hold what somebody else has chosen, with their keys."""


@pytest.mark.parametrize("field", FOREIGN)
@given(text=ANYTHING)
def test_a_record_is_one_line_whatever_somebody_calls_himself(field: str, text: str) -> None:
    changes: dict[str, Any] = {field: text, "groups": (text, text)}
    line = build_line(dataclasses.replace(ENDED, **changes))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert all(0x20 <= octet < 0x7F for octet in line[:-1])
    read = json.loads(line)
    assert read[FOREIGN[field]] == text or (read[FOREIGN[field]], text) == ("NA", "")
    assert read["groups"] == [text, text]
    assert json.dumps(read).encode() + b"\n" == line


def test_a_loss_line_says_how_many() -> None:
    line = json.loads(build_loss_line(17, "gw1", 1769847302.9))
    assert line == {
        "connection-log-type": "records-lost",
        "lost-records": "17",
        "connection-last-update-time": "2026-01-31 08:15:02",
        "node": "gw1",
    }
