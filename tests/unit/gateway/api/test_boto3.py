"""boto3, as it comes, against the API over loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from gateway.actions import Role

if TYPE_CHECKING:
    from tests.unit.gateway.api.site import ApiSite


def test_the_caller_is_who_has_the_key(site: ApiSite) -> None:
    identity = site.client("sts").get_caller_identity()
    assert identity["Account"] == "123456789012"
    assert identity["UserId"].startswith("PWKA")


def test_lists_are_paged_by_botos_paginator(site: ApiSite) -> None:
    pages = site.client().get_paginator("describe_client_vpn_endpoints").paginate()
    assert list(pages.search("ClientVpnEndpoints[].ClientVpnEndpointId")) == []


def test_a_dry_run_says_that_it_would_have_succeeded(site: ApiSite) -> None:
    with pytest.raises(ClientError) as caught:
        site.client().describe_client_vpn_endpoints(DryRun=True)
    assert caught.value.response["Error"]["Code"] == "DryRunOperation"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def test_a_read_only_key_changes_nothing(site: ApiSite) -> None:
    with pytest.raises(ClientError) as caught:
        site.client("ec2", Role.READ_ONLY).delete_client_vpn_endpoint(ClientVpnEndpointId="cvpn-endpoint-0")
    assert caught.value.response["Error"]["Code"] == "UnauthorizedOperation"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
