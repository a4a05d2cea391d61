"""Asks the API of a test as plainly as can be: a request at a time, each on a connection of its own."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from gateway.store.schema import access_key, audit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.api.signature import SignedRequest
    from gateway.store import Store
    from tests.unit.gateway.api.site import ApiSite


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


def keys_of(site: ApiSite) -> list[Any]:
    with site.store.read() as connection:
        return list(connection.execute(select(access_key)))
