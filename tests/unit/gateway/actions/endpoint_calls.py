"""Calls about endpoints, as tests make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gateway.actions.endpoints  # noqa: F401 - registers the actions
from tests.unit.gateway.actions.harness import invoke

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

CERTIFICATES = "certificate-authentication"


def authentication(arn: str) -> list[dict[str, Any]]:
    return [{"Type": CERTIFICATES, "MutualAuthentication": {"ClientRootCertificateChainArn": arn}}]


def wanted(arns: Arns, **more: Any) -> dict[str, Any]:
    """The parameters that an endpoint has to have, and others."""
    return {
        "ServerCertificateArn": arns.server,
        "AuthenticationOptions": authentication(arns.root),
        "ConnectionLogOptions": {"Enabled": False},
        "ClientCidrBlock": "10.20.0.0/22",
    } | more


def create(store: Store, arns: Arns, **more: Any) -> str:
    return str(invoke(store, "CreateClientVpnEndpoint", **wanted(arns, **more))["ClientVpnEndpointId"])


def modify(store: Store, endpoint_id: str, **changes: Any) -> None:
    reply = invoke(store, "ModifyClientVpnEndpoint", ClientVpnEndpointId=endpoint_id, **changes)
    assert reply == {"Return": True}


def describe(store: Store, *endpoint_ids: str, **parameters: Any) -> list[dict[str, Any]]:
    given = {"ClientVpnEndpointIds": list(endpoint_ids)} if endpoint_ids else {}
    shown: list[dict[str, Any]] = invoke(store, "DescribeClientVpnEndpoints", **given, **parameters)[
        "ClientVpnEndpoints"
    ]
    return shown


def shown(store: Store, endpoint_id: str) -> dict[str, Any]:
    (one,) = describe(store, endpoint_id)
    return one
