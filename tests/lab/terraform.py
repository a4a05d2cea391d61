"""What Terraform's AWS provider asks of an API when it manages a VPN: which calls, with which members, in which order.

    create ▶ wait for a status ▶ read        update ▶ read        delete ▶ wait until nothing is found

Each resource is created from attributes by Terraform's names and read back into them; where they are the same, the next
plan is empty. Statuses that the provider does not wait for fail, as they do there. Must not know who answers.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Protocol

from gateway.api.client import ApiClientError
from tests.lab.process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.api.client import ApiClient

__all__ = [
    "Association",
    "AuthorizationRule",
    "Endpoint",
    "Provider",
    "Resource",
    "Route",
]

Attributes = dict[str, Any]

PATIENCE_S = 30
NO_ENDPOINT = "InvalidClientVpnEndpointId.NotFound"
NO_ASSOCIATION = "InvalidClientVpnAssociationIdNotFound"
NO_RULE = "InvalidClientVpnEndpointAuthorizationRuleNotFound"
NO_ROUTE = "InvalidClientVpnRouteNotFound"


class Resource(Protocol):
    """What the provider can do with a kind of object."""

    def create(self, wanted: Attributes) -> str:
        """Make one, wait until it is there, and return its id."""

    def read(self, resource_id: str) -> Attributes | None:
        """What there is; None where it is gone. An id is enough, as for an import."""

    def delete(self, resource_id: str) -> None:
        """Delete it, and wait until it is gone."""


class Provider:
    """The provider, configured for an API."""

    def __init__(self, client: ApiClient) -> None:
        self.call = client.call
        identity = self.call("GetCallerIdentity")
        self.partition, self.account = identity["Arn"].split(":")[1:5:3]
        assert self.account == identity["Account"]

    def find(self, operation: str, *not_found: str, **parameters: Any) -> list[Any]:
        """What a describing call lists; nothing where it is refused with one of these codes."""
        try:
            reply = self.call(operation, **parameters)
        except ApiClientError as error:
            if error.code in not_found:
                return []
            raise
        return next((value for value in reply.values() if isinstance(value, list)), [])

    def find_one(self, operation: str, *not_found: str, **parameters: Any) -> dict[str, Any] | None:
        """The same, where there cannot be several."""
        found = self.find(operation, *not_found, **parameters)
        assert len(found) <= 1, f"{operation} finds {len(found)}"
        return found[0] if found else None

    def forget(self, operation: str, *not_found: str, **parameters: Any) -> None:
        """Delete what may be gone already."""
        try:
            self.call(operation, **parameters)
        except ApiClientError as error:
            if error.code not in not_found:
                raise

    def tag(self, resource_id: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Bring tags from one state to another."""
        if gone := {key: value for key, value in old.items() if new.get(key) != value}:
            self.call("DeleteTags", Resources=[resource_id], Tags=tag_list(gone))
        if come := {key: value for key, value in new.items() if old.get(key) != value}:
            self.call("CreateTags", Resources=[resource_id], Tags=tag_list(come))


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def specification(resource_type: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """The parameter that gives something its tags as it is made."""
    return {"TagSpecifications": [{"ResourceType": resource_type, "Tags": tag_list(tags)}]} if tags else {}


def filters(**values: str) -> list[dict[str, Any]]:
    """Filters by names with hyphens, of which those without a value are left out."""
    return [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in values.items() if value]


def wait_until(find: Callable[[], dict[str, Any] | None], pending: str, *target: str) -> None:
    """Wait until what is found has one of these statuses, or for no status until nothing is found."""

    def is_there() -> bool:
        found = find()
        if found is None:
            return not target
        status = found["Status"]
        assert status["Code"] in (*pending.split(), *target), f"unexpected state {status}"
        return status["Code"] in target

    eventually(is_there, within_s=PATIENCE_S, what=f"{pending} comes to an end")


class Endpoint:
    """`aws_ec2_client_vpn_endpoint`."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def create(self, wanted: Attributes) -> str:
        parameters = {
            "ClientCidrBlock": wanted["client_cidr_block"],
            "ClientToken": str(uuid.uuid4()),
            "ServerCertificateArn": wanted["server_certificate_arn"],
            "SplitTunnel": wanted.get("split_tunnel", False),
            "TransportProtocol": wanted.get("transport_protocol", "udp"),
            "VpnPort": wanted.get("vpn_port", 443),
            "AuthenticationOptions": [_authentication(one) for one in wanted["authentication_options"]],
            "SelfServicePortal": wanted.get("self_service_portal", "disabled"),
            "SessionTimeoutHours": wanted.get("session_timeout_hours", 24),
            **specification("client-vpn-endpoint", wanted.get("tags", {})),
            **_said(wanted, _OPTIONS),
        }
        for attribute, member in _WHERE_GIVEN.items():
            if wanted.get(attribute) not in (None, "", []):
                parameters[member] = wanted[attribute]
        return str(self._provider.call("CreateClientVpnEndpoint", **parameters)["ClientVpnEndpointId"])

    def read(self, resource_id: str) -> Attributes | None:
        found = self._find(resource_id)
        if found is None:
            return None
        return {
            "arn": f"arn:{self._provider.partition}:ec2:::client-vpn-endpoint/{resource_id}",
            "authentication_options": [
                {
                    "type": one["Type"],
                    "root_certificate_chain_arn": one["MutualAuthentication"]["ClientRootCertificateChain"],
                }
                for one in found["AuthenticationOptions"]
            ],
            "client_cidr_block": found["ClientCidrBlock"],
            "description": found.get("Description", ""),
            "disconnect_on_session_timeout": found["DisconnectOnSessionTimeout"],
            "dns_name": found["DnsName"],
            "dns_servers": found.get("DnsServers", []),
            "endpoint_ip_address_type": found["EndpointIpAddressType"],
            "security_group_ids": sorted(found.get("SecurityGroupIds", ())),
            "self_service_portal": "enabled" if found.get("SelfServicePortalUrl") else "disabled",
            "server_certificate_arn": found["ServerCertificateArn"],
            "session_timeout_hours": found["SessionTimeoutHours"],
            "split_tunnel": found["SplitTunnel"],
            "tags": tag_map(found["Tags"]),
            "traffic_ip_address_type": found["TrafficIpAddressType"],
            "transport_protocol": found["TransportProtocol"],
            "vpc_id": found.get("VpcId", ""),
            "vpn_port": found["VpnPort"],
        } | {
            attribute: [_flattened(found[member], names)]
            for attribute, (member, names) in _OPTIONS.items()
            if found.get(member) is not None
        }

    def update(self, resource_id: str, old: Attributes, new: Attributes) -> None:
        """Say what has changed, and that alone; groups with their VPC, servers with whether there are any."""
        changed = {attribute: value for attribute, value in new.items() if old.get(attribute) != value}
        parameters = _said(changed, _OPTIONS)
        for attribute, member in (_WHERE_GIVEN | _CHANGEABLE).items():
            if attribute in changed:
                parameters[member] = changed[attribute]
        if "dns_servers" in changed:
            servers = changed["dns_servers"]
            parameters["DnsServers"] = {"Enabled": bool(servers), **({"CustomDnsServers": servers} if servers else {})}
        if "security_group_ids" in changed:
            parameters["VpcId"] = new["vpc_id"]
        if parameters:
            self._provider.call("ModifyClientVpnEndpoint", ClientVpnEndpointId=resource_id, **parameters)
        if "client_connect_options" in changed:
            wait_until(lambda: (self._find(resource_id) or {}).get("ClientConnectOptions"), "applying", "applied")
        self._provider.tag(resource_id, old.get("tags", {}), new.get("tags", {}))

    def delete(self, resource_id: str) -> None:
        self._provider.forget("DeleteClientVpnEndpoint", NO_ENDPOINT, ClientVpnEndpointId=resource_id)
        wait_until(lambda: self._find(resource_id), "deleting")

    def _find(self, endpoint_id: str) -> dict[str, Any] | None:
        found = self._provider.find_one("DescribeClientVpnEndpoints", NO_ENDPOINT, ClientVpnEndpointIds=[endpoint_id])
        return None if found is not None and found["Status"]["Code"] == "deleted" else found


_WHERE_GIVEN = {
    "description": "Description",
    "disconnect_on_session_timeout": "DisconnectOnSessionTimeout",
    "dns_servers": "DnsServers",
    "endpoint_ip_address_type": "EndpointIpAddressType",
    "security_group_ids": "SecurityGroupIds",
    "traffic_ip_address_type": "TrafficIpAddressType",
    "vpc_id": "VpcId",
}
"""What is said of a new endpoint only where it is not empty."""
_CHANGEABLE = {
    "self_service_portal": "SelfServicePortal",
    "server_certificate_arn": "ServerCertificateArn",
    "session_timeout_hours": "SessionTimeoutHours",
    "split_tunnel": "SplitTunnel",
    "vpn_port": "VpnPort",
}
_OPTIONS = {
    "client_connect_options": (
        "ClientConnectOptions",
        {"enabled": "Enabled", "lambda_function_arn": "LambdaFunctionArn"},
    ),
    "client_login_banner_options": (
        "ClientLoginBannerOptions",
        {"enabled": "Enabled", "banner_text": "BannerText"},
    ),
    "client_route_enforcement_options": ("ClientRouteEnforcementOptions", {"enforced": "Enforced"}),
    "connection_log_options": (
        "ConnectionLogOptions",
        {
            "enabled": "Enabled",
            "cloudwatch_log_group": "CloudwatchLogGroup",
            "cloudwatch_log_stream": "CloudwatchLogStream",
        },
    ),
}
"""Nested blocks: the member, and what it calls their attributes."""


def _said(wanted: Attributes, options: Mapping[str, tuple[str, Mapping[str, str]]]) -> dict[str, Any]:
    """The members for the nested blocks that are there. What is switched off is said without its particulars."""
    said: dict[str, Any] = {}
    for attribute, (member, names) in options.items():
        for block in wanted.get(attribute, ()):
            is_on = block.get("enabled", True)
            said[member] = {names[key]: value for key, value in block.items() if is_on or key == "enabled"}
    return said


def _flattened(found: Mapping[str, Any], names: Mapping[str, str]) -> Attributes:
    return {attribute: found[name] for attribute, name in names.items() if name in found}


def _authentication(block: Mapping[str, str]) -> dict[str, Any]:
    chain = {"ClientRootCertificateChainArn": block["root_certificate_chain_arn"]}
    return {"Type": block["type"], "MutualAuthentication": chain}


class Association:
    """`aws_ec2_client_vpn_network_association`; its id here is the one by which it is imported."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def create(self, wanted: Attributes) -> str:
        endpoint_id = wanted["client_vpn_endpoint_id"]
        made = self._provider.call(
            "AssociateClientVpnTargetNetwork",
            ClientToken=str(uuid.uuid4()),
            ClientVpnEndpointId=endpoint_id,
            SubnetId=wanted["subnet_id"],
        )
        resource_id = f"{endpoint_id},{made['AssociationId']}"
        wait_until(lambda: self._find(resource_id), "associating", "associated")
        return resource_id

    def read(self, resource_id: str) -> Attributes | None:
        found = self._find(resource_id)
        return found and {
            "client_vpn_endpoint_id": found["ClientVpnEndpointId"],
            "subnet_id": found["TargetNetworkId"],
            "vpc_id": found["VpcId"],
        }

    def delete(self, resource_id: str) -> None:
        endpoint_id, association_id = resource_id.split(",")
        gone = {"ClientVpnEndpointId": endpoint_id, "AssociationId": association_id}
        self._provider.forget("DisassociateClientVpnTargetNetwork", NO_ASSOCIATION, NO_ENDPOINT, **gone)
        wait_until(lambda: self._find(resource_id), "disassociating")

    def _find(self, resource_id: str) -> dict[str, Any] | None:
        endpoint_id, association_id = resource_id.split(",")
        asked = {"ClientVpnEndpointId": endpoint_id, "AssociationIds": [association_id]}
        found = self._provider.find_one("DescribeClientVpnTargetNetworks", NO_ASSOCIATION, NO_ENDPOINT, **asked)
        return None if found is not None and found["Status"]["Code"] == "disassociated" else found


class AuthorizationRule:
    """`aws_ec2_client_vpn_authorization_rule`."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def create(self, wanted: Attributes) -> str:
        group = wanted.get("access_group_id", "")
        parts = (wanted["client_vpn_endpoint_id"], wanted["target_network_cidr"], *((group,) if group else ()))
        parameters = {
            "ClientToken": str(uuid.uuid4()),
            "ClientVpnEndpointId": wanted["client_vpn_endpoint_id"],
            "TargetNetworkCidr": wanted["target_network_cidr"],
            **({"AccessGroupId": group} if group else {"AuthorizeAllGroups": True}),
            **({"Description": wanted["description"]} if wanted.get("description") else {}),
        }
        self._provider.call("AuthorizeClientVpnIngress", **parameters)
        wait_until(lambda: self._find(",".join(parts)), "authorizing", "active")
        return ",".join(parts)

    def read(self, resource_id: str) -> Attributes | None:
        found = self._find(resource_id)
        return found and {
            "access_group_id": found.get("GroupId", ""),
            "authorize_all_groups": found["AccessAll"],
            "client_vpn_endpoint_id": found["ClientVpnEndpointId"],
            "description": found.get("Description", ""),
            "target_network_cidr": found["DestinationCidr"],
        }

    def delete(self, resource_id: str) -> None:
        endpoint_id, cidr, *group = resource_id.split(",")
        gone = {"ClientVpnEndpointId": endpoint_id, "TargetNetworkCidr": cidr, "RevokeAllGroups": not group}
        if group:
            gone["AccessGroupId"] = group[0]
        self._provider.forget("RevokeClientVpnIngress", NO_RULE, NO_ENDPOINT, **gone)
        wait_until(lambda: self._find(resource_id), "active revoking")

    def _find(self, resource_id: str) -> dict[str, Any] | None:
        endpoint_id, cidr, *group = resource_id.split(",")
        which = filters(destination_cidr=cidr, group_id=group[0] if group else "")
        return self._provider.find_one(
            "DescribeClientVpnAuthorizationRules", NO_ENDPOINT, ClientVpnEndpointId=endpoint_id, Filters=which
        )


class Route:
    """`aws_ec2_client_vpn_route`."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def create(self, wanted: Attributes) -> str:
        parts = (
            wanted["client_vpn_endpoint_id"],
            wanted["target_vpc_subnet_id"],
            wanted["destination_cidr_block"],
        )
        said = {"Description": wanted["description"]} if wanted.get("description") else {}
        self._provider.call("CreateClientVpnRoute", ClientToken=str(uuid.uuid4()), **_route(*parts), **said)
        wait_until(lambda: self._find(",".join(parts)), "creating", "active")
        return ",".join(parts)

    def read(self, resource_id: str) -> Attributes | None:
        found = self._find(resource_id)
        return found and {
            "client_vpn_endpoint_id": found["ClientVpnEndpointId"],
            "description": found.get("Description", ""),
            "destination_cidr_block": found["DestinationCidr"],
            "origin": found["Origin"],
            "target_vpc_subnet_id": found["TargetSubnet"],
            "type": found["Type"],
        }

    def delete(self, resource_id: str) -> None:
        self._provider.forget("DeleteClientVpnRoute", NO_ENDPOINT, NO_ROUTE, **_route(*resource_id.split(",")))
        wait_until(lambda: self._find(resource_id), "active deleting")

    def _find(self, resource_id: str) -> dict[str, Any] | None:
        endpoint_id, subnet_id, cidr = resource_id.split(",")
        return self._provider.find_one(
            "DescribeClientVpnRoutes",
            NO_ENDPOINT,
            ClientVpnEndpointId=endpoint_id,
            Filters=filters(destination_cidr=cidr, target_subnet=subnet_id),
        )


def _route(endpoint_id: str, subnet_id: str, cidr: str) -> dict[str, str]:
    return {"ClientVpnEndpointId": endpoint_id, "TargetVpcSubnetId": subnet_id, "DestinationCidrBlock": cidr}
