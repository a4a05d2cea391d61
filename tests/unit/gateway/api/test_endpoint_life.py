"""The life of an endpoint, as boto3 sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.actions.certificate_store import publish_certificate
from tests.unit.gateway.api.site import SETTINGS
from tests.unit.gateway.certificate_maker import Made, Recipe, make_ca, make_crl

if TYPE_CHECKING:
    from tests.unit.gateway.api.site import ApiSite

NOW = datetime.now(UTC)
BEGIN, END = NOW - timedelta(days=1), NOW + timedelta(days=2)
ROOT = make_ca("root", begins=BEGIN, ends=END)
SERVER = Recipe(name="vpn.example.com", issuer=ROOT, begins=BEGIN, ends=END).make()


def publish(site: ApiSite, *chain: Made, with_key: bool) -> str:
    with site.store.write() as connection:
        return publish_certificate(
            connection,
            site.store.vault,
            SETTINGS,
            chain=b"".join(made.pem for made in chain),
            private_key=chain[0].key_pem if with_key else None,
            now=NOW.timestamp(),
        )


@pytest.fixture
def wanted(site: ApiSite) -> dict[str, Any]:
    """What an endpoint has to have."""
    root = publish(site, ROOT, with_key=False)
    return {
        "ClientCidrBlock": "10.20.0.0/22",
        "ServerCertificateArn": publish(site, SERVER, ROOT, with_key=True),
        "AuthenticationOptions": [
            {"Type": "certificate-authentication", "MutualAuthentication": {"ClientRootCertificateChainArn": root}}
        ],
        "ConnectionLogOptions": {"Enabled": True, "CloudwatchLogGroup": "vpn"},
    }


def refusal(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_an_endpoint_is_made_shown_changed_and_deleted(site: ApiSite, wanted: dict[str, Any]) -> None:
    ec2 = site.client()
    tags = [{"ResourceType": "client-vpn-endpoint", "Tags": [{"Key": "Name", "Value": "office"}]}]
    made = ec2.create_client_vpn_endpoint(**wanted, DnsServers=["10.9.0.1", "10.9.0.2"], TagSpecifications=tags)
    endpoint_id = made["ClientVpnEndpointId"]
    assert made["Status"]["Code"] == "pending-associate"

    (shown,) = ec2.describe_client_vpn_endpoints(ClientVpnEndpointIds=[endpoint_id])["ClientVpnEndpoints"]
    assert shown["DnsServers"] == ["10.9.0.1", "10.9.0.2"]
    assert shown["Tags"] == [{"Key": "Name", "Value": "office"}]
    assert shown["ConnectionLogOptions"] == {
        "Enabled": True,
        "CloudwatchLogGroup": "vpn",
        "CloudwatchLogStream": endpoint_id,
        "IncludeAuthorizationPolicyContext": False,
    }
    root = wanted["AuthenticationOptions"][0]["MutualAuthentication"]["ClientRootCertificateChainArn"]
    assert shown["AuthenticationOptions"][0]["MutualAuthentication"] == {"ClientRootCertificateChain": root}

    changed = ec2.modify_client_vpn_endpoint(
        ClientVpnEndpointId=endpoint_id, DnsServers={"Enabled": False}, SplitTunnel=True, VpnPort=1194
    )
    assert changed["Return"] is True
    (now,) = ec2.describe_client_vpn_endpoints()["ClientVpnEndpoints"]
    assert now == shown | {"DnsServers": [], "SplitTunnel": True, "VpnPort": 1194}

    assert ec2.delete_client_vpn_endpoint(ClientVpnEndpointId=endpoint_id)["Status"]["Code"] == "deleting"


def test_a_repeated_creation_makes_one_endpoint(site: ApiSite, wanted: dict[str, Any]) -> None:
    ec2 = site.client()
    made = [ec2.create_client_vpn_endpoint(**wanted, ClientToken="once") for _ in range(2)]
    assert made[0]["ClientVpnEndpointId"] == made[1]["ClientVpnEndpointId"]
    with pytest.raises(ClientError) as caught:
        ec2.create_client_vpn_endpoint(**(wanted | {"ClientCidrBlock": "10.30.0.0/22"}), ClientToken="once")
    assert refusal(caught) == "IdempotentParameterMismatch"


def test_a_revocation_list_goes_in_and_comes_out(site: ApiSite, wanted: dict[str, Any]) -> None:
    ec2 = site.client()
    endpoint_id = ec2.create_client_vpn_endpoint(**wanted)["ClientVpnEndpointId"]
    pem = make_crl(ROOT, begins=BEGIN, ends=END).public_bytes(Encoding.PEM).decode()
    ec2.import_client_vpn_client_certificate_revocation_list(
        ClientVpnEndpointId=endpoint_id, CertificateRevocationList=pem
    )
    exported = ec2.export_client_vpn_client_certificate_revocation_list(ClientVpnEndpointId=endpoint_id)
    assert (exported["CertificateRevocationList"], exported["Status"]["Code"]) == (pem, "pending")
    expired = make_crl(ROOT, begins=NOW - timedelta(days=2), ends=NOW - timedelta(days=1))
    with pytest.raises(ClientError) as caught:
        ec2.import_client_vpn_client_certificate_revocation_list(
            ClientVpnEndpointId=endpoint_id,
            CertificateRevocationList=expired.public_bytes(Encoding.PEM).decode(),
        )
    assert refusal(caught) == "InvalidParameterValue"
    assert "due for renewal" in str(caught.value)


def test_the_profile_comes_as_it_was_made(site: ApiSite, wanted: dict[str, Any]) -> None:
    ec2 = site.client()
    endpoint_id = ec2.create_client_vpn_endpoint(**wanted)["ClientVpnEndpointId"]
    profile = ec2.export_client_vpn_client_configuration(ClientVpnEndpointId=endpoint_id)["ClientConfiguration"]
    lines = profile.splitlines()
    assert "remote vpn.example.com 443 udp" in lines
    assert {"<ca>", "</ca>", "<tls-crypt>", "</tls-crypt>"} <= set(lines)


def test_tags_are_set_listed_and_removed(site: ApiSite, wanted: dict[str, Any]) -> None:
    ec2 = site.client()
    endpoint_id = ec2.create_client_vpn_endpoint(**wanted)["ClientVpnEndpointId"]
    strange = {"Key": "a <b> & 'c'", "Value": 'quote " and\ttab'}
    ec2.create_tags(Resources=[endpoint_id], Tags=[strange, {"Key": "empty", "Value": ""}])
    pages = ec2.get_paginator("describe_tags").paginate(Filters=[{"Name": "resource-id", "Values": [endpoint_id]}])
    listed = [(tag["Key"], tag["Value"]) for tag in pages.search("Tags[]")]
    assert listed == [(strange["Key"], strange["Value"]), ("empty", "")]
    ec2.delete_tags(Resources=[endpoint_id], Tags=[{"Key": "empty"}])
    (shown,) = ec2.describe_client_vpn_endpoints()["ClientVpnEndpoints"]
    assert shown["Tags"] == [strange]
