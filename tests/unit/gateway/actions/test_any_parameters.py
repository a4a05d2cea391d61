"""Whatever a caller says within the model: an action does it, or refuses it with a sentence."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.actions import ActionError
from gateway.actions.loading import load_actions
from gateway.api.service_model import load_services
from tests.unit.gateway.actions.endpoint_calls import wanted
from tests.unit.gateway.actions.harness import invoke
from tests.unit.gateway.actions.rows import (
    ENDPOINT_ID,
    FILE_ENDPOINT_ID,
    add_association,
    add_endpoint,
    add_file_endpoint,
    add_network,
    add_security_group,
)
from tests.unit.gateway.api.shapes import requests

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

OPERATIONS = {
    name: service.operation_model(name) for service in load_services().values() for name in service.operation_names
}
ACTIONS = sorted(load_actions().keys() & OPERATIONS.keys())


def plausible(arns: Arns) -> dict[str, list[Any]]:
    """Values that lead further into an action than any text would."""
    ids = [ENDPOINT_ID, FILE_ENDPOINT_ID]
    subnet = ["subnet-1", "subnet-2", "local"]
    return {
        "ClientVpnEndpointId": ids,
        "ClientVpnEndpointIds": [ids],
        "Resources": [ids, ["vpc-1", "sg-1"]],
        "SubnetId": subnet,
        "TargetVpcSubnetId": subnet,
        "VpcId": ["vpc-1"],
        "GroupId": ["sg-1"],
        "SecurityGroupIds": [["sg-1"]],
        "AssociationId": ["cvpn-assoc-1"],
        "DestinationCidrBlock": ["0.0.0.0/0", "10.20.0.0/22"],
        "TargetNetworkCidr": ["0.0.0.0/0", "192.168.10.0/24"],
        "CertificateArn": [arns.server, arns.root],
        **{member: [value] for member, value in wanted(arns).items()},
    }


@pytest.fixture
def world(store: Store) -> Store:
    add_endpoint(store, client_cidr_block="10.20.4.0/22", vpn_port=1194)
    add_file_endpoint(store)
    add_network(store, "subnet-1")
    add_network(store, "subnet-2", cidr="192.168.20.0/24")
    add_security_group(store, "sg-1")
    add_association(store)
    return store


@pytest.mark.parametrize("name", ACTIONS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data())
def test_an_action_answers_whatever_it_is_asked(world: Store, arns: Arns, name: str, data: st.DataObject) -> None:
    asked = data.draw(requests(OPERATIONS[name]))
    for member, values in plausible(arns).items():
        shape = OPERATIONS[name].input_shape
        if shape is not None and member in shape.members and data.draw(st.booleans()):
            asked[member] = data.draw(st.sampled_from(values))
    asked = {member: value for member, value in asked.items() if member not in ("DryRun", "ClientToken")}
    with contextlib.suppress(ActionError):
        invoke(world, name, **asked)
