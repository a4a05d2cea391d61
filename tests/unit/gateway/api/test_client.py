"""Portway's own client: by the socket and by HTTPS, with sentences where it fails."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from gateway.api.client import ApiClient, ApiClientError
from tests.unit.gateway.api.keys import add_key
from tests.unit.gateway.api.site import REGION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.gateway.api.site import ApiSite


def remote(site: ApiSite, **changes: Any) -> ApiClient:
    key_id, secret = add_key(site.store)
    given = {"key_id": key_id, "secret": secret, "region": REGION, "ca_file": site.ca_file, **changes}
    return ApiClient.at_url(site.url, **given)


def test_who_calls_by_the_socket_needs_no_key(site: ApiSite) -> None:
    assert ApiClient.at_socket(site.socket).call("GetCallerIdentity")["UserId"].startswith("socket:")


def test_who_calls_from_elsewhere_signs(site: ApiSite) -> None:
    client = remote(site)
    assert client.call("GetCallerIdentity")["UserId"].startswith("PWKA")
    assert client.call("ListAccessKeys")["AccessKeys"]
    assert client.call("DescribeClientVpnEndpoints") == {"ClientVpnEndpoints": []}


def test_all_pages_are_read(site: ApiSite) -> None:
    for _ in range(12):
        add_key(site.store)
    client = ApiClient.at_socket(site.socket)
    whole = client.call("ListAccessKeys")
    page = client.call("ListAccessKeys", MaxResults=5)
    assert (len(whole["AccessKeys"]), whole.get("NextToken")) == (12, None)
    assert len(page["AccessKeys"]) == 5
    assert page["NextToken"]


def test_parameters_that_are_none_are_not_said(site: ApiSite) -> None:
    client = ApiClient.at_socket(site.socket)
    assert client.call("CreateAccessKey", Role="admin", Description=None)["AccessKey"]["Description"] == ""


@pytest.mark.parametrize(
    ("operation", "parameters", "code"),
    [
        ("DescribeClientVpnRoutes", {"ClientVpnEndpointId": "cvpn-endpoint-0"}, "InvalidClientVpnEndpointId.NotFound"),
        ("DeleteAccessKey", {"AccessKeyId": "PWKANOBODY"}, "NoSuchEntity"),
        ("DescribeClientVpnRoutes", {}, "InvalidCall"),
        ("RunInstances", {}, "InvalidCall"),
    ],
)
def test_refusals_have_codes(site: ApiSite, operation: str, parameters: dict[str, Any], code: str) -> None:
    with pytest.raises(ApiClientError) as caught:
        ApiClient.at_socket(site.socket).call(operation, **parameters)
    assert caught.value.code == code
    assert caught.value.message


def test_a_wrong_secret_is_refused(site: ApiSite) -> None:
    with pytest.raises(ApiClientError) as caught:
        remote(site, secret="guessed").call("ListAccessKeys")
    assert caught.value.code == "SignatureDoesNotMatch"


def test_a_server_of_another_authority_is_not_trusted(site: ApiSite) -> None:
    with pytest.raises(ApiClientError) as caught:
        remote(site, ca_file=None).call("ListAccessKeys")
    assert caught.value.code == "NotTrusted"
    assert caught.value.message.startswith(f"The certificate of {site.url}/ cannot be trusted: ")


def test_nobody_there_is_said_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(ApiClientError, match=r"no\.sock") as caught:
        ApiClient.at_socket(tmp_path / "no.sock").call("GetCallerIdentity")
    assert caught.value.code == "NotRunning"


def test_a_socket_that_is_for_others_is_told_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)  # root may use every socket
    with pytest.raises(ApiClientError, match="for root and the gateway's own user") as caught:
        ApiClient.at_socket(tmp_path / "api.sock").call("GetCallerIdentity")
    assert caught.value.code == "NotPermitted"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8443", "vpn.example.com", "https://"])
def test_only_https_is_spoken(url: str) -> None:
    with pytest.raises(ApiClientError, match="no address of an API"):
        ApiClient.at_url(url, "key", "secret")


def test_an_authority_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    for name in ("ca.crt", "missing.crt"):
        with pytest.raises(ApiClientError, match=name):
            ApiClient.at_url("https://127.0.0.1", "key", "secret", ca_file=tmp_path / name)


def test_another_kind_of_server_is_recognised(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "other.sock"))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                received = b""
                while b"Action=" not in received:
                    received += connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ApiClientError, match="none of the API"):
            ApiClient.at_socket(tmp_path / "other.sock").call("GetCallerIdentity")
        thread.join()
