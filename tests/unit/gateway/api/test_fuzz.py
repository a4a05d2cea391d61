"""Whatever a caller says in the words of the model, and next to them, no answer is the server's fault."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.actions import ActionError, Caller, Face, Role
from gateway.actions.loading import load_actions
from gateway.api.dispatch import Dispatcher, Request
from gateway.api.parsing import parse_fields_untrusted
from gateway.api.service_model import load_services
from tests.unit.gateway.actions.rows import add_endpoint, add_network
from tests.unit.gateway.api.shapes import requests
from tests.unit.gateway.api.site import SETTINGS

if TYPE_CHECKING:
    from botocore.model import OperationModel

    from gateway.store import Store

ACTIONS = load_actions()
OPERATIONS = [
    service.operation_model(name)
    for service in load_services().values()
    for name in service.operation_names
    if name in ACTIONS
]
CALLER = Caller("PWKAFUZZ", Role.ADMIN, Face.API)
TELLING = [
    "cvpn-endpoint-00000000000000001",
    "subnet-1",
    "vpc-1",
    "local",
    "10.20.0.0/24",
    "0.0.0.0/0",
    "-1",
    "tcp",
    "*",
]
"""Texts that lead further than random ones."""
EXAMPLES = settings.default.max_examples // 8  # type: ignore[union-attr]  # a profile is always loaded
"""For each action and engine; with `--hypothesis-profile=fuzz` there are more."""


@pytest.fixture
def dispatcher(store: Store) -> Dispatcher:
    add_network(store)
    add_endpoint(store)
    return Dispatcher(store, SETTINGS, ACTIONS)


def written(operation: OperationModel, parameters: dict[str, Any]) -> dict[str, str]:
    serializer = create_serializer(operation.service_model.protocol, include_validation=False)
    form = urlencode(serializer.serialize_to_request(parameters, operation)["body"])
    return parse_fields_untrusted(form.encode())


@st.composite
def calls(draw: st.DrawFn, operation: OperationModel) -> dict[str, str]:
    """What the model allows, with some values put in another's place, and some fields lost or added."""
    fields = written(operation, draw(requests(operation)))
    wild = st.one_of(st.sampled_from(TELLING), st.text(max_size=30), st.integers().map(str), st.just(""))
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=4)):
        fields[name] = draw(wild)
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=1)):
        del fields[name]
    fields.update(draw(st.dictionaries(st.text(max_size=10), wild, max_size=1)))
    return fields


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_asked_the_answer_is_a_reply_or_a_refusal(
    dispatcher: Dispatcher, operation: OperationModel, data: st.DataObject
) -> None:
    fields = data.draw(calls(operation))
    request = Request(operation.service_model, operation.name, fields, CALLER, "the-id")
    try:
        ET.fromstring(dispatcher.carry_out(request))
    except ActionError as error:
        refused = error
    else:
        return
    assert 400 <= refused.status < 500, fields
    assert refused.message.endswith((".", "?", ")")), refused.message
