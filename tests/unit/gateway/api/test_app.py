"""Strangers' HTTP: whatever comes, in whatever pieces and however often, is answered or ended, and holds up nobody."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest
from sqlalchemy import select

from gateway.actions import Action, Role
from gateway.api import app, listening
from gateway.store import StoreUnavailableError
from gateway.store.schema import access_key, audit
from tests.unit.gateway.api.keys import add_key
from tests.unit.gateway.api.signing import presigned, signed
from tests.unit.gateway.api.site import ApiSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.actions import Call
    from gateway.api.signature import SignedRequest
    from gateway.store import Store

IDENTITY = b"Action=GetCallerIdentity&Version=2011-06-15"
CREATE = b"Action=CreateAccessKey&Version=2026-11-01&Role=read-only"


def ask(site: ApiSite, request: SignedRequest) -> tuple[int, str]:
    """Send a request over HTTPS, octet by octet as it was signed."""
    trust = ssl.create_default_context(cafile=site.ca_file)
    connection = HTTPSConnection("127.0.0.1", site.port, context=trust, timeout=30)
    try:
        connection.request(request.method, f"/?{request.query}", request.body, dict(request.headers))
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def ask_socket(
    site: ApiSite,
    body: bytes | Iterator[bytes] = b"",
    *,
    method: str = "POST",
    target: str = "/",
    headers: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Send a request by the Unix socket."""
    connection = HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(site.socket))
    try:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def now() -> datetime:
    return datetime.now(UTC)


def audited(store: Store) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(audit).order_by(audit.c.id)))


# Signatures, over the wire


def test_a_wrong_signature_is_refused_and_leaves_no_trace(site: ApiSite) -> None:
    key_id, _ = add_key(site.store)
    status, text = ask(site, signed(key_id, "guessed", body=CREATE, service="portway", at=now()))
    assert status == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in text
    assert audited(site.store) == []


def test_a_replayed_change_is_refused(site: ApiSite) -> None:
    key_id, secret = add_key(site.store)
    request = signed(key_id, secret, body=CREATE, service="portway", at=now())
    assert ask(site, request)[0] == 200
    status, text = ask(site, request)
    assert status == 400
    assert "<Code>Throttling</Code>" in text
    assert len(ask_keys(site)) == 2


def ask_keys(site: ApiSite) -> list[Any]:
    with site.store.read() as connection:
        return list(connection.execute(select(access_key)))


@pytest.mark.parametrize("off", [timedelta(minutes=-6), timedelta(minutes=6)], ids=["slow", "fast"])
def test_a_clock_that_is_wrong_is_refused(site: ApiSite, off: timedelta) -> None:
    key_id, secret = add_key(site.store)
    status, text = ask(site, signed(key_id, secret, at=now() + off))
    assert status == 400
    assert "<Code>RequestExpired</Code>" in text


def test_a_presigned_address_is_enough(site: ApiSite) -> None:
    key_id, secret = add_key(site.store)
    assert ask(site, presigned(key_id, secret, at=now()))[0] == 200


def test_a_disabled_key_is_as_good_as_none(site: ApiSite) -> None:
    key_id, secret = add_key(site.store, disabled_at=1.0)
    status, text = ask(site, signed(key_id, secret, at=now()))
    assert status == 403
    assert "<Code>InvalidClientTokenId</Code>" in text


def test_a_key_is_good_for_the_service_that_it_signs_for(site: ApiSite) -> None:
    key_id, secret = add_key(site.store)
    status, text = ask(site, signed(key_id, secret, service="ec2", at=now()))
    assert status == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in text


def test_who_has_used_a_key_is_known(site: ApiSite) -> None:
    key_id, secret = add_key(site.store)
    ask(site, signed(key_id, secret, at=now()))
    site.callers.write_uses()
    (row,) = ask_keys(site)
    assert abs(row.last_used_at - now().timestamp()) < 3600


def test_an_honest_caller_who_is_quick_gets_through(store: Store, tmp_path: Path) -> None:
    """Two equal changes of one second have one signature; the SDK signs the second one anew."""
    delete = Action("DeleteClientVpnEndpoint", lambda _: {}, changes=True, role=Role.OPERATOR)
    with ApiSite(store, tmp_path, {"DeleteClientVpnEndpoint": delete}) as site:
        key_id, secret = add_key(site.store)
        client = site.client_with("ec2", key_id, secret, retries={"mode": "standard", "total_max_attempts": 8})
        for _ in range(3):
            client.delete_client_vpn_endpoint(ClientVpnEndpointId="cvpn-endpoint-0")
    assert [row.outcome for row in audited(store)].count("ok") == 3


# Forms of HTTP


def test_both_forms_of_a_request_are_understood(site: ApiSite) -> None:
    assert ask_socket(site, IDENTITY)[0] == 200
    assert ask_socket(site, method="GET", target=f"/?{IDENTITY.decode()}")[0] == 200
    assert ask_socket(site, b"Version=2011-06-15", target="/?Action=GetCallerIdentity")[0] == 200


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_both_versions_of_http_are_spoken(site: ApiSite, http2: bool) -> None:
    key_id, secret = add_key(site.store)
    host = f"127.0.0.1:{site.port}"
    trust = ssl.create_default_context(cafile=site.ca_file)
    with httpx.Client(verify=trust, http2=http2) as client:
        for _ in range(3):
            request = signed(key_id, secret, at=now(), host=host)
            response = client.post(f"https://{host}/", content=request.body, headers=dict(request.headers))
            assert (response.status_code, response.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("PUT", "/", 405), ("DELETE", "/", 405), ("GET", "/nothing", 404), ("GET", "//", 404)],
)
def test_other_methods_and_paths_are_refused_in_the_apis_own_form(
    site: ApiSite, method: str, target: str, status: int
) -> None:
    answered, text = ask_socket(site, method=method, target=target)
    assert answered == status
    assert "<Response><Errors><Error><Code>" in text


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MissingAction"),
        (b"Action=X&Version=1999-01-01", "InvalidAction"),
        (b"Action=X", "InvalidAction"),
        (b"Action=DescribeVpcs&Action=DescribeVpcs", "InvalidQueryParameter"),
        (b"\xff\xfe", "MalformedQueryString"),
        (gzip.compress(IDENTITY), "MalformedQueryString"),
        (b'{"Action": "DescribeVpcs"}', "MalformedQueryString"),
    ],
)
def test_what_is_no_call_is_refused(site: ApiSite, body: bytes, code: str) -> None:
    status, text = ask_socket(site, body)
    assert 400 <= status < 500
    assert f"<Code>{code}</Code>" in text


def test_hostile_text_comes_back_as_well_formed_xml(site: ApiSite) -> None:
    for text in ("<x>&\"']]>", "\x00\x1b\x7f\u2028\ufffe", "%", "\r\n\r\n"):
        body = urlencode({"Action": "DescribeClientVpnRoutes", "ClientVpnEndpointId": text, text: text}).encode()
        status, answer = ask_socket(site, body)
        assert status == 400
        ET.fromstring(answer)


# Sizes


def test_a_body_that_is_too_long_is_refused(site: ApiSite) -> None:
    status, text = ask_socket(site, IDENTITY + b"&x=" + b"x" * app.MAX_BODY)
    assert status == 413
    assert "<Code>RequestEntityTooLarge</Code>" in text


def test_a_body_that_says_less_than_it_has_is_refused(site: ApiSite) -> None:
    pieces = iter([IDENTITY, *(b"x" * 65536 for _ in range(app.MAX_BODY // 65536 + 1))])
    status, _ = ask_socket(site, pieces)
    assert status == 413


def test_a_long_body_that_is_allowed_is_read(site: ApiSite) -> None:
    pem = "x" * (app.MAX_BODY - 1000)
    fields = {"Action": "ImportClientVpnClientCertificateRevocationList", "ClientVpnEndpointId": "cvpn-endpoint-0"}
    status, text = ask_socket(site, urlencode({**fields, "CertificateRevocationList": pem}).encode())
    assert (status, "InvalidClientVpnEndpointId.NotFound" in text) == (400, True)
    (row,) = audited(site.store)
    assert len(row.parameters["CertificateRevocationList"]) < 2000


def test_headers_that_are_too_long_end_the_connection(site: ApiSite) -> None:
    status, _ = ask_socket(site, headers={"X-Long": "x" * (listening.HEADER_BYTES + 1)})
    assert status in (400, 431)
    assert ask_socket(site, IDENTITY)[0] == 200


# Time


def test_who_sends_slowly_is_told_and_holds_up_nobody(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_TIMEOUT_S", 0.5)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as slow:
        slow.connect(str(site.socket))
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nAction=")
        assert ask_socket(site, IDENTITY)[0] == 200
        slow.settimeout(30)
        assert slow.recv(65536).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("beginning", [b"", b"POST / HTTP/1.1\r\nHost: "], ids=["silent", "half a head"])
def test_who_says_nothing_is_let_go(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr(listening, "IDLE_TIMEOUT_S", 0.5)
    with ApiSite(store, tmp_path) as site, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as idle:
        idle.connect(str(site.socket))
        idle.sendall(beginning)
        idle.settimeout(30)
        assert idle.recv(1) == b""


def test_who_begins_no_tls_is_let_go(site: ApiSite) -> None:
    with socket.create_connection(("127.0.0.1", site.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        stranger.settimeout(30)
        while stranger.recv(65536):
            pass
    key_id, secret = add_key(site.store)
    assert ask(site, signed(key_id, secret, at=now()))[0] == 200


def test_long_bodies_wait_for_each_other_and_short_ones_do_not(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "TURN_TIMEOUT_S", 0.5)
    heads = []
    try:
        for _ in range(app.LARGE_BODIES):
            heads.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            heads[-1].connect(str(site.socket))
            heads[-1].sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {app.MAX_BODY}\r\n\r\nA".encode())
        answers = [ask_socket(site, b"x=" + b"x" * app.SMALL_BODY)[1] for _ in range(3)]
        assert "RequestLimitExceeded" in answers[-1]
        assert ask_socket(site, IDENTITY)[0] == 200
    finally:
        for head in heads:
            head.close()


def test_a_call_in_progress_is_answered_although_the_server_ends(store: Store, tmp_path: Path) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def run(_: Call) -> dict[str, Any]:
        begun.set()
        may_end.wait(30)
        return {"Vpcs": []}

    describe = Action("DescribeVpcs", run, changes=False, role=Role.READ_ONLY)
    with ThreadPoolExecutor(1) as pool:
        with ApiSite(store, tmp_path, {"DescribeVpcs": describe}) as site:
            answer = pool.submit(ask_socket, site, b"Action=DescribeVpcs")
            begun.wait(30)
            site.end()
            may_end.set()
        assert answer.result()[0] == 200


# Faults


def fail(_: Call) -> dict[str, Any]:
    raise RuntimeError("a mistake")


def be_away(_: Call) -> dict[str, Any]:
    raise StoreUnavailableError("the database is gone")


@pytest.mark.parametrize(
    ("run", "status", "code"), [(fail, 500, "InternalError"), (be_away, 503, "ServiceUnavailable")]
)
def test_faults_have_codes_and_no_details(store: Store, tmp_path: Path, run: Any, status: int, code: str) -> None:
    describe = Action("DescribeVpcs", run, changes=False, role=Role.READ_ONLY)
    with ApiSite(store, tmp_path, {"DescribeVpcs": describe}) as site:
        answered, text = ask_socket(site, b"Action=DescribeVpcs")
    assert answered == status
    assert f"<Code>{code}</Code>" in text
    assert "mistake" not in text
    assert "gone" not in text


# Many at once


def test_a_thousand_calls_at_once_are_all_answered(site: ApiSite) -> None:
    """Half of them change something: each is carried out once, and those who read do not wait for the others."""

    def call(number: int) -> int:
        return ask_socket(site, CREATE if number % 2 else IDENTITY)[0]

    with ThreadPoolExecutor(100) as pool:
        assert set(pool.map(call, range(1000))) == {200}
    assert len(ask_keys(site)) == 500
    assert [row.outcome for row in audited(site.store)] == ["ok"] * 500


def test_one_token_many_times_at_once_is_one_change(store: Store, tmp_path: Path) -> None:
    done = []

    def run(_: Call) -> dict[str, Any]:
        done.append(threading.get_ident())
        return {"Status": {"Code": "creating"}}

    create = Action("CreateClientVpnRoute", run, changes=True, role=Role.OPERATOR)
    fields = {"ClientVpnEndpointId": "x", "DestinationCidrBlock": "y", "TargetVpcSubnetId": "z", "ClientToken": "t"}
    body = urlencode({"Action": "CreateClientVpnRoute", **fields}).encode()
    with ApiSite(store, tmp_path, {"CreateClientVpnRoute": create}) as site, ThreadPoolExecutor(20) as pool:
        assert {answer[0] for answer in pool.map(lambda _: ask_socket(site, body), range(50))} == {200}
    assert len(done) == 1
