"""The audit log has plain values, short ones, and no secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.api.audit_trail import for_the_record
from gateway.api.service_model import PORTWAY_VERSION, load_services

OPERATIONS = load_services()[PORTWAY_VERSION]


def test_secrets_stay_out() -> None:
    shape = OPERATIONS.operation_model("ImportCertificate").input_shape
    recorded = for_the_record({"Certificate": "public", "PrivateKey": "private"}, shape)
    assert recorded == {"Certificate": "public", "PrivateKey": "(secret)"}


def test_a_secret_inside_a_list_stays_out() -> None:
    shape = OPERATIONS.operation_model("CreateAccessKey").output_shape
    assert for_the_record({"SecretAccessKey": "x", "AccessKey": {"Role": "admin"}}, shape) == {
        "SecretAccessKey": "(secret)",
        "AccessKey": {"Role": "admin"},
    }


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        ("short", "short"),
        (True, True),
        (7, 7),
        (None, None),
        (datetime(2026, 6, 1, tzinfo=UTC), "2026-06-01T00:00:00+00:00"),
        (b"octets", "(6 octets)"),
        (("a", {"b": b""}), ["a", {"b": "(0 octets)"}]),
    ],
)
def test_values_become_what_json_has(value: Any, recorded: Any) -> None:
    assert for_the_record(value, None) == recorded


def test_of_long_texts_the_beginning_is_kept() -> None:
    recorded = for_the_record("x" * 1_000_000, None)
    assert recorded.endswith("… (1000000 characters)")
    assert len(recorded) < 1100


def test_every_private_key_and_secret_of_the_model_is_marked() -> None:
    """A name is no proof, but who calls a member so without marking it has forgotten something."""
    from botocore.model import StructureShape

    from gateway.api.service_model import referenced_shapes

    for name in OPERATIONS.operation_names:
        operation = OPERATIONS.operation_model(name)
        for shape in (*referenced_shapes(operation.input_shape), *referenced_shapes(operation.output_shape)):
            if isinstance(shape, StructureShape):
                for member, kind in shape.members.items():
                    if any(word in member for word in ("Secret", "PrivateKey", "Password")):
                        assert kind.metadata.get("sensitive"), f"{shape.name}.{member}"
