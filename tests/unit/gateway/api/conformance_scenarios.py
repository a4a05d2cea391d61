"""What is said in the conformance test: one function for each topic, in an order in which each finds what it needs.

Whoever adds an action adds what says all of its members; `test_conformance` names what is missing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.store.schema import association, authorization_rule, endpoint, route
from tests.unit.gateway.actions.rows import add_connection, add_network
from tests.unit.gateway.api.conformance_groups import make_security_groups, speak_of_changed_rules, speak_of_filtering
from tests.unit.gateway.api.conformance_words import SUBNET, VPC, all_pages, only, tags
from tests.unit.gateway.certificate_maker import Recipe, make_ca, make_crl

if TYPE_CHECKING:
    from tests.unit.gateway.api.conformance import Conversation

__all__ = ["converse"]

NOW = datetime.now(UTC)
BEGIN, END = NOW - timedelta(days=1), NOW + timedelta(days=2)
ROOT = make_ca("root", begins=BEGIN, ends=END)
SERVER = Recipe(name="vpn.example.com", issuer=ROOT, begins=BEGIN, ends=END).make()
CRL = make_crl(ROOT, begins=BEGIN, ends=END).public_bytes(Encoding.PEM).decode()


def converse(talk: Conversation) -> None:
    """Say everything."""
    add_network(talk.store, SUBNET, next_hop="192.168.10.1")
    talk.say("GetCallerIdentity")
    certificates = speak_of_certificates(talk)
    groups = make_security_groups(talk)
    speak_of_filtering(talk, groups)
    speak_of_changed_rules(talk, groups)
    endpoint_id = make_endpoint(talk, certificates, groups)
    change_endpoint(talk, endpoint_id, certificates, groups)
    speak_of_what_is_elsewhere(talk, endpoint_id, certificates)
    speak_of_places(talk)
    speak_of_what_is_not_there(talk)
    speak_of_networks(talk, endpoint_id, groups)
    speak_of_routes(talk, endpoint_id)
    speak_of_rules(talk, endpoint_id)
    speak_of_revocation(talk, endpoint_id)
    speak_of_connections(talk, endpoint_id)
    speak_of_tags(talk, endpoint_id)
    speak_of_access_keys(talk, endpoint_id)
    speak_of_the_past(talk, endpoint_id)
    speak_of_declarations(talk)
    end_everything(talk, endpoint_id, groups)


def speak_of_certificates(talk: Conversation) -> dict[str, str]:
    root = talk.say("ImportCertificate", Certificate=ROOT.pem.decode())["CertificateArn"]
    parts = {"PrivateKey": SERVER.key_pem.decode(), "CertificateChain": ROOT.pem.decode()}
    server = talk.say("ImportCertificate", Certificate=SERVER.pem.decode(), ClientToken="c", **parts)["CertificateArn"]
    talk.say("ImportCertificate", Certificate=SERVER.pem.decode(), CertificateArn=server, **parts)
    assert len(all_pages(talk, "ListCertificates")) == 2
    talk.say("DescribeCertificate", CertificateArn=server)
    spare = talk.say("ImportCertificate", Certificate=make_ca("spare", begins=BEGIN, ends=END).pem.decode())
    talk.say("DeleteCertificate", CertificateArn=spare["CertificateArn"])
    return {"root": root, "server": server}


def change_endpoint(talk: Conversation, endpoint_id: str, certificates: dict[str, str], groups: list[str]) -> None:
    said = talk.say(
        "ModifyClientVpnEndpoint",
        ClientVpnEndpointId=endpoint_id,
        ServerCertificateArn=certificates["server"],
        ConnectionLogOptions={
            "Enabled": True,
            "CloudwatchLogGroup": "vpn",
            "CloudwatchLogStream": "office",
            "IncludeAuthorizationPolicyContext": False,
        },
        DnsServers={"CustomDnsServers": ["10.9.0.2"], "Enabled": True},
        VpnPort=1194,
        Description="the other office's",
        SplitTunnel=False,
        SecurityGroupIds=groups,
        VpcId=VPC,
        SelfServicePortal="disabled",
        ClientConnectOptions={"Enabled": False},
        SessionTimeoutHours=8,
        ClientLoginBannerOptions={"Enabled": True, "BannerText": "Welcome."},
        ClientRouteEnforcementOptions={"Enforced": False},
        DisconnectOnSessionTimeout=False,
    )
    assert said["Return"] is True


def speak_of_what_is_elsewhere(talk: Conversation, endpoint_id: str, certificates: dict[str, str]) -> None:
    """What AWS has and Portway has not is understood, and refused."""
    elsewhere: list[dict[str, Any]] = [
        {"ClientConnectOptions": {"Enabled": True, "LambdaFunctionArn": "arn:aws:lambda:here:1:function:x"}},
        {
            "TransitGatewayConfiguration": {
                "TransitGatewayId": "tgw-1",
                "AvailabilityZones": ["a"],
                "AvailabilityZoneIds": ["a"],
            }
        },
        {
            "DevicePostureOptions": {
                "Enabled": True,
                "TrustProviders": [
                    {"TrustProviderType": "jamf", "TenantId": "t", "PublicSigningKeyUrl": "https://keys.example.com"}
                ],
            }
        },
    ]
    wanted = {
        "ClientCidrBlock": "10.40.0.0/22",
        "ServerCertificateArn": certificates["server"],
        "ConnectionLogOptions": {"Enabled": False},
        "AuthenticationOptions": [
            {
                "Type": "certificate-authentication",
                "MutualAuthentication": {"ClientRootCertificateChainArn": certificates["root"]},
            }
        ],
    }
    banner = {"ClientLoginBannerOptions": {"Enabled": True, "BannerText": "x" * 2000}}
    talk.refused("InvalidParameterValue", "CreateClientVpnEndpoint", **wanted, **banner)
    for part in elsewhere:
        talk.refused("UnsupportedOperation", "CreateClientVpnEndpoint", **wanted, **part)
        talk.refused("UnsupportedOperation", "ModifyClientVpnEndpoint", ClientVpnEndpointId=endpoint_id, **part)
    for way in (
        {"Type": "directory-service-authentication", "ActiveDirectory": {"DirectoryId": "d-1"}},
        {
            "Type": "federated-authentication",
            "FederatedAuthentication": {"SAMLProviderArn": "arn:x", "SelfServiceSAMLProviderArn": "arn:y"},
        },
    ):
        talk.refused("UnsupportedOperation", "CreateClientVpnEndpoint", **{**wanted, "AuthenticationOptions": [way]})
    for zone in ({"AvailabilityZone": "a"}, {"AvailabilityZoneId": "a"}):
        talk.refused("UnsupportedOperation", "AssociateClientVpnTargetNetwork", ClientVpnEndpointId=endpoint_id, **zone)


def make_endpoint(talk: Conversation, certificates: dict[str, str], groups: list[str]) -> str:
    mutual = {
        "Type": "certificate-authentication",
        "MutualAuthentication": {"ClientRootCertificateChainArn": certificates["root"]},
    }
    wanted: dict[str, Any] = {
        "ClientCidrBlock": "10.20.0.0/22",
        "ServerCertificateArn": certificates["server"],
        "AuthenticationOptions": [mutual],
        "ConnectionLogOptions": {
            "Enabled": True,
            "CloudwatchLogGroup": "vpn",
            "CloudwatchLogStream": "office",
            "IncludeAuthorizationPolicyContext": False,
        },
    }
    made = talk.say(
        "CreateClientVpnEndpoint",
        **wanted,
        DnsServers=["10.9.0.1"],
        TransportProtocol="udp",
        VpnPort=443,
        Description="the office's",
        SplitTunnel=True,
        ClientToken="token",
        TagSpecifications=tags("client-vpn-endpoint"),
        SecurityGroupIds=groups[:1],
        VpcId=VPC,
        SelfServicePortal="disabled",
        ClientConnectOptions={"Enabled": False},
        SessionTimeoutHours=24,
        ClientLoginBannerOptions={"Enabled": False},
        ClientRouteEnforcementOptions={"Enforced": False},
        DisconnectOnSessionTimeout=True,
        EndpointIpAddressType="ipv4",
        TrafficIpAddressType="ipv4",
    )["ClientVpnEndpointId"]
    all_pages(talk, "DescribeClientVpnEndpoints", Filters=only("endpoint-id", made))
    talk.say("DescribeClientVpnEndpoints", ClientVpnEndpointIds=[made])
    return str(made)


def speak_of_places(talk: Conversation) -> None:
    (zone,) = talk.say("DescribeAvailabilityZones", AllAvailabilityZones=True)["AvailabilityZones"]
    talk.say("DescribeAvailabilityZones", ZoneNames=[zone["ZoneName"]], Filters=only("zone-name", zone["ZoneName"]))
    talk.say("DescribeAvailabilityZones", ZoneIds=[zone["ZoneId"]])
    all_pages(talk, "DescribeVpcs", Filters=only("vpc-id", VPC))
    talk.say("DescribeVpcs", VpcIds=[VPC])
    all_pages(talk, "DescribeSubnets", Filters=only("vpc-id", VPC))
    talk.say("DescribeSubnets", SubnetIds=[SUBNET])
    for attribute in ("enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics"):
        talk.say("DescribeVpcAttribute", VpcId=VPC, Attribute=attribute)
    (table,) = all_pages(talk, "DescribeRouteTables", Filters=only("association.main", "true"))
    talk.say("DescribeRouteTables", RouteTableIds=[table["RouteTableId"]])
    all_pages(talk, "GetSecurityGroupsForVpc", VpcId=VPC, Filters=only("primary-vpc-id", VPC))
    talk.say("DescribeAccountAttributes", AttributeNames=["default-vpc"])
    (region,) = talk.say("DescribeRegions", AllRegions=True, Filters=only("opt-in-status", "opt*"))["Regions"]
    talk.say("DescribeRegions", RegionNames=[region["RegionName"]])


def speak_of_what_is_not_there(talk: Conversation) -> None:
    in_vpc = only("vpc-id", VPC)
    assert all_pages(talk, "DescribeNetworkInterfaces", Filters=in_vpc, IncludeManagedResources=True) == []
    talk.refused("InvalidNetworkInterfaceID.NotFound", "DescribeNetworkInterfaces", NetworkInterfaceIds=["eni-1"])
    assert all_pages(talk, "DescribeNetworkAcls", Filters=in_vpc) == []
    talk.refused("InvalidNetworkAclID.NotFound", "DescribeNetworkAcls", NetworkAclIds=["acl-1"])


def speak_of_networks(talk: Conversation, endpoint_id: str, groups: list[str]) -> None:
    of = {"ClientVpnEndpointId": endpoint_id}
    made = talk.say("AssociateClientVpnTargetNetwork", **of, SubnetId=SUBNET, ClientToken="a")["AssociationId"]
    talk.settle(association, status_code="associated")
    talk.settle(endpoint, status_code="available")
    talk.say("ApplySecurityGroupsToClientVpnTargetNetwork", **of, VpcId=VPC, SecurityGroupIds=groups)
    all_pages(talk, "DescribeClientVpnTargetNetworks", **of, Filters=only("association-id", made))
    talk.say("DescribeClientVpnTargetNetworks", **of, AssociationIds=[made])


def speak_of_routes(talk: Conversation, endpoint_id: str) -> None:
    of = {"ClientVpnEndpointId": endpoint_id}
    through = {"DestinationCidrBlock": "172.16.0.0/12", "TargetVpcSubnetId": SUBNET}
    talk.say("CreateClientVpnRoute", **of, **through, Description="all of it", ClientToken="r")
    talk.settle(route, status_code="active")
    all_pages(talk, "DescribeClientVpnRoutes", **of, Filters=only("origin", "add-route"))
    talk.say("DeleteClientVpnRoute", **of, **through)


def speak_of_rules(talk: Conversation, endpoint_id: str) -> None:
    of = {"ClientVpnEndpointId": endpoint_id, "TargetNetworkCidr": "192.168.10.0/24"}
    talk.say("AuthorizeClientVpnIngress", **of, AccessGroupId="engineering", Description="them", ClientToken="i")
    talk.say("AuthorizeClientVpnIngress", **of, AuthorizeAllGroups=True)
    talk.settle(authorization_rule, status_code="active")
    found = all_pages(
        talk,
        "DescribeClientVpnAuthorizationRules",
        ClientVpnEndpointId=endpoint_id,
        Filters=only("description", "them"),
    )
    assert [one["GroupId"] for one in found] == ["engineering"]
    talk.say("RevokeClientVpnIngress", **of, AccessGroupId="engineering")
    talk.say("RevokeClientVpnIngress", **of, RevokeAllGroups=True)


def speak_of_revocation(talk: Conversation, endpoint_id: str) -> None:
    of = {"ClientVpnEndpointId": endpoint_id}
    talk.say("ImportClientVpnClientCertificateRevocationList", **of, CertificateRevocationList=CRL)
    said = talk.say("ExportClientVpnClientCertificateRevocationList", **of)
    assert said["CertificateRevocationList"] == CRL
    talk.say("DeleteClientVpnClientCertificateRevocationList", **of)
    assert "client" in talk.say("ExportClientVpnClientConfiguration", **of)["ClientConfiguration"]


def speak_of_connections(talk: Conversation, endpoint_id: str) -> None:
    of = {"ClientVpnEndpointId": endpoint_id}
    for number in range(3):
        add_connection(talk.store, f"cvpn-connection-{number}", endpoint_id=endpoint_id, username="ana")
    assert len(all_pages(talk, "DescribeClientVpnConnections", **of, Filters=only("username", "ana"))) == 3
    talk.say("TerminateClientVpnConnections", **of, ConnectionId="cvpn-connection-0")
    talk.say("TerminateClientVpnConnections", **of, Username="ana")


def speak_of_tags(talk: Conversation, endpoint_id: str) -> None:
    given = {"Resources": [endpoint_id], "Tags": [{"Key": "team", "Value": "network"}]}
    talk.say("CreateTags", **given)
    assert all_pages(talk, "DescribeTags", Filters=only("key", "team"))
    talk.say("DeleteTags", **given)


def speak_of_access_keys(talk: Conversation, endpoint_id: str) -> None:
    made = talk.say(
        "CreateAccessKey", Role="operator", ClientVpnEndpointIds=[endpoint_id], Description="the pipeline's"
    )
    key_id = made["AccessKey"]["AccessKeyId"]
    assert all_pages(talk, "ListAccessKeys") == [made["AccessKey"]]
    talk.say("ModifyAccessKey", AccessKeyId=key_id, Status="Inactive", Description="nobody's")
    talk.say("DeleteAccessKey", AccessKeyId=key_id)


def speak_of_the_past(talk: Conversation, endpoint_id: str) -> None:
    when = {"StartTime": NOW - timedelta(hours=1), "EndTime": NOW + timedelta(hours=1)}
    who = {"ClientVpnEndpointId": endpoint_id, "Username": "ana"}
    all_pages(talk, "DescribeConnectionLog", **when, **who, ConnectionId="cvpn-connection-0", Outcome="successful")
    all_pages(talk, "GetUsage", **when, **who, GroupBy="endpoint")
    about = {"CallerId": "PWKACONFORMS", "ActionName": "CreateTags", "ResourceId": endpoint_id, "Outcome": "ok"}
    assert all_pages(talk, "DescribeAuditEvents", **when, **about)


def speak_of_declarations(talk: Conversation) -> None:
    document = talk.say("ExportConfiguration")["Document"]
    planned = talk.say("ApplyConfiguration", Document=document, Plan=True, Prune=True)
    assert planned["Applied"] is False
    applied = talk.say("ApplyConfiguration", Document=document, Prune=True, ExpectedDigest=planned["Digest"])
    assert applied["Applied"] is True


def end_everything(talk: Conversation, endpoint_id: str, groups: list[str]) -> None:
    of = {"ClientVpnEndpointId": endpoint_id}
    (one,) = talk.say("DescribeClientVpnTargetNetworks", **of)["ClientVpnTargetNetworks"]
    talk.say("DisassociateClientVpnTargetNetwork", **of, AssociationId=one["AssociationId"])
    talk.settle(association, status_code="disassociated", ended_at=NOW.timestamp())
    talk.say("DeleteClientVpnEndpoint", **of)
    talk.settle(endpoint, status_code="deleted", ended_at=NOW.timestamp())
    talk.say("DeleteSecurityGroup", GroupId=groups[1])
    talk.refused("InvalidGroup.NotFound", "DeleteSecurityGroup", GroupName="nobody's")
