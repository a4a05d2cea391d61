"""Strangers' HTTP: whatever comes, in whatever pieces and however often, is answered or ended, and holds up nobody."""

from __future__ import annotations

import contextlib
import gzip
import re
import select
import socket
import ssl
import threading
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest

from gateway.actions import Action, Role
from gateway.api import app, conversation
from gateway.store import StoreUnavailableError
from tests.unit.gateway.api.asking import IDENTITY, ask, ask_socket, audited, now
from tests.unit.gateway.api.keys import add_key
from tests.unit.gateway.api.signing import signed
from tests.unit.gateway.api.site import ApiSite

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.actions import Call
    from gateway.store import Store


# Forms of HTTP


def test_both_forms_of_a_request_are_understood(site: ApiSite) -> None:
    assert ask_socket(site, IDENTITY)[0] == 200
    assert ask_socket(site, method="GET", target=f"/?{IDENTITY.decode()}")[0] == 200
    assert ask_socket(site, b"Version=2011-06-15", target="/?Action=GetCallerIdentity")[0] == 200


def test_a_connection_serves_one_request_after_the_other(site: ApiSite) -> None:
    key_id, secret = add_key(site.store)
    host = f"127.0.0.1:{site.port}"
    with httpx.Client(verify=ssl.create_default_context(cafile=site.ca_file), http2=True) as client:
        for _ in range(3):
            request = signed(key_id, secret, at=now(), host=host)
            response = client.post(f"https://{host}/", content=request.body, headers=dict(request.headers))
            assert (response.status_code, response.http_version) == (200, "HTTP/1.1")


@pytest.mark.parametrize(
    "protocol", ["h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", "websocket\r\nSec-WebSocket-Version: 13"]
)
def test_who_wants_another_protocol_is_answered_in_this_one(site: ApiSite, protocol: str) -> None:
    head = f"GET /?{IDENTITY.decode()} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: {protocol}\r\n\r\n"
    assert talk(site.socket, head.encode()).startswith(b"HTTP/1.1 200")


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0",
        b"Content-Length: 4\r\nContent-Length: 5",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
        b"Content-Length: +4",
        b"X-Y: z\r\n Content-Length: 4\r\nContent-Length: 0x4",
        b"Host: y",
    ],
)
def test_a_request_that_others_may_read_differently_is_refused_with_all_that_follows(
    site: ApiSite, head: bytes
) -> None:
    answer = talk(site.socket, b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n0\r\n\r\n" + SMUGGLED)
    assert re.match(rb"HTTP/1.1 (400|501) ", answer)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_requests_that_come_at_once_are_answered_in_their_order(site: ApiSite) -> None:
    first, second = (f"GET /?Action={action} HTTP/1.1\r\nHost: x\r\n" for action in ("First", "Second"))
    answer = talk(site.socket, f"{first}\r\n{second}Connection: close\r\n\r\n".encode())
    assert re.findall(rb"The action (\w+) is not valid", answer) == [b"First", b"Second"]


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
        (gzip.compress(IDENTITY, mtime=0), "MalformedQueryString"),
        (b'{"Action": "DescribeVpcs"}', "MalformedQueryString"),
    ],
)
def test_what_is_no_call_is_refused(site: ApiSite, body: bytes, code: str) -> None:
    status, text = ask_socket(site, body)
    assert 400 <= status < 500
    assert f"<Code>{code}</Code>" in text


UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "


@pytest.mark.parametrize(
    "beginning",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        UPGRADE + b"h2c\r\nHTTP2-Settings: %%%\r\n\r\n",
        UPGRADE + b"websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n",
        UPGRADE + b"websocket\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD / HTTP/1.0\r\n\r\n",
        b"",
    ],
)
def test_odd_octets_end_their_own_connection_and_no_other(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    beginning: bytes,
) -> None:
    monkeypatch.setattr(conversation, "IDLE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(conversation, "QUIET_TIMEOUT_S", 1.0)
    with ApiSite(store, tmp_path) as site:
        for junk in (b"", b"\x00" * 9, bytes(range(256)), b"\x88\x80" * 50):
            talk(site.socket, beginning + junk)
        assert ask_socket(site, IDENTITY)[0] == 200
    assert "Traceback" not in capsys.readouterr().out


def talk(path: Path, octets: bytes) -> bytes:
    """Say something, and hear what is said until the other end closes the connection."""
    heard = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.connect(str(path))
        stranger.settimeout(30)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            stranger.sendall(octets)
            while piece := stranger.recv(65536):
                heard += piece
    return heard


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
    status, _ = ask_socket(site, headers={"X-Long": "x" * (conversation.HEADER_BYTES + 1)})
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
    monkeypatch.setattr(conversation, "IDLE_TIMEOUT_S", 0.5)
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


@pytest.mark.parametrize("pieces", [1, 50, 5000])
def test_a_body_that_nobody_reads_does_not_keep_the_connection(site: ApiSite, pieces: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.connect(str(site.socket))
        stranger.settimeout(30)
        head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        with contextlib.suppress(OSError):
            stranger.sendall(head + b"1\r\nA\r\n" * pieces)
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(65536):
                pass


def test_who_takes_no_answer_is_let_go(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that fits into no buffer waits for its reader for a while, and not for ever."""
    monkeypatch.setattr(conversation, "WRITE_TIMEOUT_S", 0.5)
    describe = Action("DescribeVpcs", long_answer, changes=False, role=Role.READ_ONLY)
    with (
        ApiSite(store, tmp_path, {"DescribeVpcs": describe}) as site,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger,
    ):
        stranger.connect(str(site.socket))
        stranger.sendall(b"GET /?Action=DescribeVpcs HTTP/1.1\r\nHost: x\r\n\r\n")
        poll = select.poll()
        poll.register(stranger, select.POLLHUP)
        assert poll.poll(30_000)


def long_answer(_: Call) -> dict[str, Any]:
    return {"Vpcs": [{"VpcId": "x" * 1000}] * 20_000}


def test_who_sends_long_bodies_slowly_keeps_only_himself_waiting(
    site: ApiSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "TURN_TIMEOUT_S", 0.5)
    key_id, secret = add_key(site.store)
    long = signed(key_id, secret, body=IDENTITY + b"&x=" + b"x" * app.SMALL_BODY, at=now())
    heads = []
    try:
        for _ in range(app.LARGE_BODIES_EACH):
            heads.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            heads[-1].connect(str(site.socket))
            heads[-1].sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {app.MAX_BODY}\r\n\r\nA".encode())
        answers = [ask_socket(site, b"x=" + b"x" * app.SMALL_BODY)[1] for _ in range(3)]
        assert "RequestLimitExceeded" in answers[-1]
        assert ask_socket(site, IDENTITY)[0] == 200
        assert "UnknownParameter" in ask(site, long)[1], "from another address"
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
