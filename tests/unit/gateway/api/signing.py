"""Requests signed by botocore, at a time and in a form that the test chooses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest import mock
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.api.signature import SignedRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FORM", "NOON", "presigned", "signed"]

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded; charset=utf-8"
HOST = "127.0.0.1:8443"


def signed(
    key_id: str,
    secret: str,
    *,
    method: str = "POST",
    body: bytes = b"Action=GetCallerIdentity&Version=2011-06-15",
    query: str = "",
    service: str = "sts",
    region: str = "local",
    at: datetime = NOON,
    headers: Mapping[str, str] | None = None,
    host: str = HOST,
) -> SignedRequest:
    """A request with the header Authorization."""
    given = {"Host": host, "Content-Type": FORM, **(headers or {})}
    request = AWSRequest(method, f"https://{host}/{'?' if query else ''}{query}", headers=given, data=body)
    with mock.patch("botocore.auth.get_current_datetime", return_value=at):
        SigV4Auth(Credentials(key_id, secret), service, region).add_auth(request)
    return _as_received(method, query, request, body)


def presigned(
    key_id: str,
    secret: str,
    *,
    query: str = "Action=GetCallerIdentity&Version=2011-06-15",
    service: str = "sts",
    at: datetime = NOON,
    expires: int = 3600,
    host: str = HOST,
) -> SignedRequest:
    """A request that is signed in its address."""
    request = AWSRequest("GET", f"https://{host}/?{query}", headers={"Host": host})
    with mock.patch("botocore.auth.get_current_datetime", return_value=at):
        SigV4QueryAuth(Credentials(key_id, secret), service, "local", expires=expires).add_auth(request)
    return _as_received("GET", urlsplit(request.url).query, request, b"")


def _as_received(method: str, query: str, request: AWSRequest, body: bytes) -> SignedRequest:
    headers = tuple((name.lower(), str(value)) for name, value in request.headers.items())
    return SignedRequest(method, query, headers, body)
