from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.gateway.actions.authorities import SERVER, publish
from tests.unit.gateway.actions.endpoint_calls import CERTIFICATES, authentication, create, modify, shown, wanted
from tests.unit.gateway.actions.harness import NOW, invoke, refused
from tests.unit.gateway.actions.rows import ENDPOINT_ID, add_endpoint

if TYPE_CHECKING:
    from gateway.store import Store
    from tests.unit.gateway.actions.authorities import Arns

BOTH_WAYS = pytest.mark.parametrize("way", ["create", "modify"])
YEAR_S = 366 * 86_400


def set_by(store: Store, arns: Arns, way: str, **members: Any) -> dict[str, Any]:
    """An endpoint that got these members when it was made, or later."""
    if way == "create":
        return shown(store, create(store, arns, **members))
    endpoint_id = add_endpoint(store)
    modify(store, endpoint_id, **members)
    return shown(store, endpoint_id)


def test_what_is_not_said_is_as_with_aws(store: Store, arns: Arns) -> None:
    one = shown(store, create(store, arns))
    defaults = {
        "Description": "",
        "TransportProtocol": "udp",
        "VpnPort": 443,
        "DnsServers": [],
        "SplitTunnel": False,
        "SessionTimeoutHours": 24,
        "DisconnectOnSessionTimeout": True,
        "VpcId": None,
        "SecurityGroupIds": [],
        "SelfServicePortalUrl": None,
        "ClientConnectOptions": {"Enabled": False, "Status": {"Code": "applied"}},
        "ClientLoginBannerOptions": {"Enabled": False},
        "ClientRouteEnforcementOptions": {"Enforced": False},
        "EndpointIpAddressType": "ipv4",
        "TrafficIpAddressType": "ipv4",
    }
    assert {member: one[member] for member in defaults} == defaults


@BOTH_WAYS
@pytest.mark.parametrize(
    ("member", "value", "shown_as"),
    [
        ("Description", "the office", "the office"),
        ("VpnPort", 1194, 1194),
        ("VpnPort", 65535, 65535),
        ("SplitTunnel", True, True),
        ("SessionTimeoutHours", 1, 1),
        ("SessionTimeoutHours", 8760, 8760),
        ("DisconnectOnSessionTimeout", False, False),
        ("ClientConnectOptions", {"Enabled": False}, {"Enabled": False, "Status": {"Code": "applied"}}),
        (
            "ClientLoginBannerOptions",
            {"Enabled": True, "BannerText": "Be <good> & kind"},
            {"Enabled": True, "BannerText": "Be <good> & kind"},
        ),
        ("ClientLoginBannerOptions", {"Enabled": False, "BannerText": "x"}, {"Enabled": False}),
        ("ClientRouteEnforcementOptions", {"Enforced": True}, {"Enforced": True}),
        (
            "ConnectionLogOptions",
            {"Enabled": True, "CloudwatchLogGroup": "vpn", "CloudwatchLogStream": "s"},
            {
                "Enabled": True,
                "CloudwatchLogGroup": "vpn",
                "CloudwatchLogStream": "s",
                "IncludeAuthorizationPolicyContext": False,
            },
        ),
        (
            "ConnectionLogOptions",
            {"Enabled": False, "CloudwatchLogGroup": "vpn"},
            {"Enabled": False, "IncludeAuthorizationPolicyContext": False},
        ),
    ],
)
def test_a_member_is_shown_as_it_was_given(
    store: Store, arns: Arns, way: str, *, member: str, value: object, shown_as: object
) -> None:
    assert set_by(store, arns, way, **{member: value})[member] == shown_as


@BOTH_WAYS
@pytest.mark.parametrize(
    ("member", "value", "code", "words"),
    [
        ("Description", "x" * 256, "InvalidParameterValue", "256 characters"),
        ("VpnPort", 0, "InvalidParameterValue", "VpnPort: 0 is out of range"),
        ("VpnPort", 65536, "InvalidParameterValue", "VpnPort: 65536 is out of range"),
        ("SessionTimeoutHours", 0, "InvalidParameterValue", "SessionTimeoutHours: 0.0 is out of range"),
        ("SessionTimeoutHours", 8761, "InvalidParameterValue", "at most 8760 hours"),
        ("ServerCertificateArn", "arn:nothing", "InvalidParameterValue", "ServerCertificateArn: there is no"),
        ("ConnectionLogOptions", {"Enabled": True}, "MissingParameter", "CloudwatchLogGroup"),
        (
            "ConnectionLogOptions",
            {"Enabled": True, "CloudwatchLogGroup": "g" * 513},
            "InvalidParameterValue",
            "CloudwatchLogGroup has 513",
        ),
        (
            "ConnectionLogOptions",
            {"Enabled": True, "CloudwatchLogGroup": "nowhere"},
            "InvalidParameterValue",
            "there is no log group 'nowhere'. Use one of these: default, vpn.",
        ),
        (
            "ConnectionLogOptions",
            {"Enabled": True, "CloudwatchLogGroup": "vpn", "CloudwatchLogStream": "s" * 513},
            "InvalidParameterValue",
            "CloudwatchLogStream has 513",
        ),
        ("ClientConnectOptions", {"Enabled": True}, "UnsupportedOperation", "Disable it"),
        ("ClientLoginBannerOptions", {"Enabled": True}, "MissingParameter", "BannerText"),
        (
            "ClientLoginBannerOptions",
            {"Enabled": True, "BannerText": "x" * 1401},
            "InvalidParameterValue",
            "it can have 1400",
        ),
        ("TransitGatewayConfiguration", {"TransitGatewayId": "tgw-1"}, "UnsupportedOperation", "Transit Gateway"),
        ("TransitGatewayConfiguration", {}, "UnsupportedOperation", "Transit Gateway"),
        ("DevicePostureOptions", {"Enabled": True}, "UnsupportedOperation", "trust provider"),
        (
            "DevicePostureOptions",
            {"TrustProviders": [{"TrustProviderType": "jamf"}]},
            "UnsupportedOperation",
            "trust provider",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    store: Store, arns: Arns, way: str, *, member: str, value: object, code: str, words: str
) -> None:
    with refused(code, words):
        set_by(store, arns, way, **{member: value})


@BOTH_WAYS
def test_device_posture_that_is_off_is_no_matter(store: Store, arns: Arns, way: str) -> None:
    assert "DevicePostureOptions" not in set_by(store, arns, way, DevicePostureOptions={"Enabled": False})


@BOTH_WAYS
def test_a_portal_that_is_on_has_a_url(store: Store, arns: Arns, way: str) -> None:
    one = set_by(store, arns, way, SelfServicePortal="enabled")
    assert one["SelfServicePortalUrl"] == f"https://vpn.example.com/endpoints/{one['ClientVpnEndpointId']}"
    modify(store, one["ClientVpnEndpointId"], SelfServicePortal="disabled")
    assert shown(store, one["ClientVpnEndpointId"])["SelfServicePortalUrl"] is None


@BOTH_WAYS
def test_a_log_stream_is_invented_where_none_is_named(store: Store, arns: Arns, way: str) -> None:
    one = set_by(store, arns, way, ConnectionLogOptions={"Enabled": True, "CloudwatchLogGroup": "vpn"})
    assert one["ConnectionLogOptions"]["CloudwatchLogStream"] == one["ClientVpnEndpointId"]


@BOTH_WAYS
def test_a_server_certificate_has_to_be_in_force_and_one_of_a_server(store: Store, arns: Arns, way: str) -> None:
    with refused("InvalidParameterValue", "ServerCertificateArn names 'vpn.example.com', which expired"):
        set_by(store, arns, way, ServerCertificateArn=arns.server, now=NOW + YEAR_S)
    if way == "modify":
        return
    with refused("InvalidParameterValue", "is an authority"):
        set_by(store, arns, way, ServerCertificateArn=arns.root)


def test_the_server_certificate_can_be_changed(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, ServerCertificateArn=publish(store, SERVER))
    modify(store, endpoint_id, ServerCertificateArn=arns.server)
    assert shown(store, endpoint_id)["ServerCertificateArn"] == arns.server


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_transport_is_udp_or_tcp(store: Store, arns: Arns, transport: str) -> None:
    assert shown(store, create(store, arns, TransportProtocol=transport))["TransportProtocol"] == transport


@pytest.mark.parametrize("cidr", ["10.0.0.0/12", "10.20.0.0/22", "10.20.0.0/29"])
def test_a_client_range_is_large_or_small(store: Store, arns: Arns, cidr: str) -> None:
    assert shown(store, create(store, arns, ClientCidrBlock=cidr))["ClientCidrBlock"] == cidr


def test_a_client_range_is_written_canonically(store: Store, arns: Arns) -> None:
    assert shown(store, create(store, arns, ClientCidrBlock="10.20.3.7/22"))["ClientCidrBlock"] == "10.20.0.0/22"


@pytest.mark.parametrize(
    ("cidr", "code", "words"),
    [
        ("10.0.0.0/11", "InvalidParameterValue", "ClientCidrBlock: 10.0.0.0/11 is too large"),
        ("10.0.0.0/30", "InvalidParameterValue", "ClientCidrBlock: 10.0.0.0/30 is too small"),
        ("127.0.0.0/16", "InvalidParameterValue", "nobody may have"),
        ("somewhere", "InvalidParameterValue", "'somewhere' is no IPv4 network"),
        ("", "MissingParameter", "ClientCidrBlock is missing"),
        (None, "MissingParameter", "ClientCidrBlock is missing"),
    ],
)
def test_a_client_range_that_cannot_be_is_refused(
    store: Store, arns: Arns, cidr: str | None, code: str, words: str
) -> None:
    with refused(code, words):
        create(store, arns, ClientCidrBlock=cidr)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], "InvalidParameterValue", "there are 0"),
        (
            [{"Type": "directory-service-authentication", "ActiveDirectory": {"DirectoryId": "d-1"}}],
            "UnsupportedOperation",
            "directory-service-authentication",
        ),
        (
            [*authentication("arn:nothing"), {"Type": "federated-authentication"}],
            "UnsupportedOperation",
            "federated-authentication",
        ),
        ([*authentication("a"), *authentication("b")], "InvalidParameterValue", "there are 2"),
        ([{"Type": CERTIFICATES}], "MissingParameter", "ClientRootCertificateChainArn"),
        ([{"Type": CERTIFICATES, "MutualAuthentication": {}}], "MissingParameter", "ClientRootCertificateChainArn"),
        ([{}], "UnsupportedOperation", "Use certificate-authentication"),
        (authentication("arn:nothing"), "InvalidParameterValue", "there is no certificate 'arn:nothing'"),
    ],
)
def test_clients_log_in_by_certificate(
    store: Store, arns: Arns, options: list[dict[str, Any]], code: str, words: str
) -> None:
    with refused(code, words):
        create(store, arns, AuthenticationOptions=options)


def test_the_authority_s_arn_is_shown_under_aws_s_other_name(store: Store, arns: Arns) -> None:
    assert shown(store, create(store, arns))["AuthenticationOptions"] == [
        {"Type": CERTIFICATES, "MutualAuthentication": {"ClientRootCertificateChain": arns.root}}
    ]


@pytest.mark.parametrize("member", ["EndpointIpAddressType", "TrafficIpAddressType"])
def test_addresses_are_ipv4(store: Store, arns: Arns, member: str) -> None:
    assert shown(store, create(store, arns, **{member: "ipv4"}))[member] == "ipv4"
    for other in ("ipv6", "dual-stack"):
        with refused("UnsupportedOperation", f"{member}: there is no {other}"):
            create(store, arns, **{member: other})


def test_dns_servers_are_kept_in_their_order(store: Store, arns: Arns) -> None:
    assert shown(store, create(store, arns, DnsServers=["10.9.0.2", "10.9.0.1"]))["DnsServers"] == [
        "10.9.0.2",
        "10.9.0.1",
    ]


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        (["dns.example.com"], "DnsServers: 'dns.example.com' is no IPv4 address"),
        (["2001:db8::1"], "no IPv4 address"),
        (["10.0.0.1", "10.0.0.1"], "DnsServers: 10.0.0.1 stands in the list twice"),
        (["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"], "DnsServers: 5 are too many"),
    ],
)
def test_dns_servers_that_cannot_be_are_refused(store: Store, arns: Arns, servers: list[str], words: str) -> None:
    with refused("InvalidParameterValue", words):
        create(store, arns, DnsServers=servers)
    endpoint_id = create(store, arns)
    with refused("InvalidParameterValue", words):
        modify(store, endpoint_id, DnsServers={"CustomDnsServers": servers})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"CustomDnsServers": ["10.0.0.2"], "Enabled": True}, ["10.0.0.2"]),
        ({"CustomDnsServers": ["10.0.0.2"]}, ["10.0.0.2"]),
        ({"CustomDnsServers": ["10.0.0.2"], "Enabled": False}, []),
        ({"Enabled": False}, []),
        ({}, []),
    ],
)
def test_dns_servers_are_replaced_or_cleared(
    store: Store, arns: Arns, given: dict[str, Any], expected: list[str]
) -> None:
    endpoint_id = create(store, arns, DnsServers=["10.0.0.1"])
    modify(store, endpoint_id, DnsServers=given)
    assert shown(store, endpoint_id)["DnsServers"] == expected


def test_dns_servers_that_are_enabled_are_named(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns)
    with refused("MissingParameter", "CustomDnsServers"):
        modify(store, endpoint_id, DnsServers={"Enabled": True})


def test_a_modification_leaves_what_it_does_not_name(store: Store, arns: Arns) -> None:
    endpoint_id = create(
        store, arns, Description="first", SplitTunnel=True, DnsServers=["10.0.0.1"], SessionTimeoutHours=8
    )
    before = shown(store, endpoint_id)
    modify(store, endpoint_id, Description="second")
    assert shown(store, endpoint_id) == before | {"Description": "second"}


def test_an_empty_description_is_none(store: Store, arns: Arns) -> None:
    endpoint_id = create(store, arns, Description="first")
    modify(store, endpoint_id, Description="")
    assert shown(store, endpoint_id)["Description"] == ""


def test_what_was_possible_once_does_not_hold_up_other_changes(store: Store) -> None:
    add_endpoint(store, session_timeout_hours=10_000.0)
    modify(store, ENDPOINT_ID, Description="still here")
    assert shown(store, ENDPOINT_ID)["Description"] == "still here"


def test_all_that_is_impossible_is_said_at_once(store: Store, arns: Arns) -> None:
    with refused("InvalidParameterValue", "VpnPort: 0 is out of range. Use 1 to 65535. ClientCidrBlock: 10.0.0.0/30"):
        invoke(store, "CreateClientVpnEndpoint", **wanted(arns, VpnPort=0, ClientCidrBlock="10.0.0.0/30"))
