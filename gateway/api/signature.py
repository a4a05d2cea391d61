"""Signature Version 4: who has signed a request, and whether it is what was signed.

    Authorization: AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=…, Signature=…
    or, presigned, the same as X-Amz-… parameters of the query

The canonical request is computed by botocore's signer, from what the request says that it has signed. A signature
covers at least the host, the time, all parameters and the body, and is good for five minutes around its time; a
presigned one for as long as it says, a day at most: that of a change is remembered for as long. An unknown key costs
what a wrong signature costs.

Source: AWS's "Signature Version 4 signing process". Must not know where keys come from.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from gateway.actions import ActionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Claim", "SignedRequest", "guess_service_untrusted", "parse_claim_untrusted", "verify"]

SKEW = timedelta(minutes=5)
LONGEST_PRESIGNED = timedelta(days=1)
SERVICES = frozenset({"ec2", "sts", "portway"})

_ALGORITHM = "AWS4-HMAC-SHA256"
_SCOPE = re.compile(
    r"(?P<key_id>[A-Za-z0-9_]{1,128})/(?P<date>[0-9]{8})/(?P<region>[a-z0-9-]{1,64})/(?P<service>[a-z0-9-]{1,64})/aws4_request"
)
_CLAIMED_SERVICE = re.compile(r"(?:/|%2[Ff])(?P<service>ec2|sts|portway)(?:/|%2[Ff])aws4_request")
_HEADER_NAMES = re.compile(r"[a-z0-9_-]{1,64}(?:;[a-z0-9_-]{1,64}){0,63}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_NOBODY = "there is no such key, and nothing is signed with this"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request, as far as its signature concerns it. The path is always `/`."""

    method: str
    query: str
    """As it came, undecoded."""
    headers: tuple[tuple[str, str], ...]
    """In lower case, in their order."""
    body: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """The value of a header; ActionError where there are several."""
        values = [value for other, value in self.headers if other == name]
        if len(values) > 1:
            raise _incomplete(f"There are {len(values)} headers {name}; there can be one.")
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its signature; nothing of it is proved yet."""

    key_id: str
    service: str
    region: str
    signed_at: datetime
    lifetime: timedelta
    """From `signed_at`; zero for a header's, which is good for as long as clocks may differ."""
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)
    is_presigned: bool

    @property
    def last_moment(self) -> datetime:
        """Until when it is taken. Raises `OverflowError` at the end of time."""
        return self.signed_at + (self.lifetime or SKEW)

    @property
    def expires_at(self) -> float:
        """When nobody takes it any more, in Unix seconds: other gateways' clocks may be late."""
        return (self.last_moment + SKEW).timestamp()


def guess_service_untrusted(request: SignedRequest) -> str:
    """The service that a request seems to be for, for the form in which it is refused; empty where it says none."""
    signed = (value for name, value in request.headers if name == "authorization")
    found = _CLAIMED_SERVICE.search(" ".join((*signed, request.query)))
    return found["service"] if found else ""


def parse_claim_untrusted(request: SignedRequest, now: datetime) -> Claim:
    """Read what a request says of its signature, and check what can be checked without a key. Raises `ActionError`."""
    parameters = dict(parse_qsl(request.query, keep_blank_values=True))
    if authorization := request.header("authorization"):
        if "X-Amz-Signature" in parameters:
            raise _incomplete("Sign with the header Authorization or in the address, not both.")
        claim = _parse_authorization(authorization, request)
    else:
        if "X-Amz-Signature" not in parameters:
            raise ActionError(
                "MissingAuthenticationToken", "The request is not signed. Sign it with an access key.", 403
            )
        claim = _parse_presigned(parameters)
    _check_coverage(claim)
    _check_payload(request)
    _check_time(claim, now)
    return claim


def verify(request: SignedRequest, claim: Claim, secret: str | None) -> None:
    """Check that the holder of this secret has signed; None stands for that of a key that is unknown or disabled.

    Raises `ActionError`. EC2 says `AuthFailure` whatever is wrong, other services say what.
    """
    signer = _Signer(claim, _NOBODY if secret is None else secret)
    is_right = hmac.compare_digest(signer.signature_of(request), claim.signature)
    if is_right and secret is not None:
        return
    if claim.service == "ec2":
        message = "The access key or the signature is wrong, or the key is disabled."
        raise ActionError("AuthFailure", message, 401)
    if secret is None:
        raise ActionError("InvalidClientTokenId", "There is no such access key, or it is disabled.", 403)
    message = "The signature is not what this key makes of this request. Check the secret, and what signs."
    raise ActionError("SignatureDoesNotMatch", message, 403)


class _Signer(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """botocore's signer, told what was signed instead of choosing it."""

    def __init__(self, claim: Claim, secret: str) -> None:
        super().__init__(Credentials(claim.key_id, secret), claim.service, claim.region)
        self._claim = claim

    def signature_of(self, request: SignedRequest) -> str:
        headers = HTTPHeaders()
        for name, value in request.headers:
            if name in self._claim.signed_headers:
                headers[name] = value  # adds: these are the headers of an e-mail message
        query = parse_qsl(request.query, keep_blank_values=True)
        parameters = [(name, value) for name, value in query if name != "X-Amz-Signature"]
        aws_request = AWSRequest(request.method, "https://signed/", headers=headers, data=request.body)
        aws_request.params = parameters  # pairs, which may repeat a name
        aws_request.context["timestamp"] = self._claim.signed_at.strftime(SIGV4_TIMESTAMP)
        text = self.string_to_sign(aws_request, self.canonical_request(aws_request))
        return str(self.signature(text, aws_request))

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers

    def payload(self, request: AWSRequest) -> str:
        return sha256(request.data).hexdigest()


def _parse_authorization(authorization: str, request: SignedRequest) -> Claim:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != _ALGORITHM:
        raise _incomplete(f"Sign with {_ALGORITHM}; nothing else is understood.")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    moment = request.header("x-amz-date")
    if moment is None:
        raise _incomplete("A signed request has the header X-Amz-Date.")
    return _build_claim(parts, moment, timedelta(0), is_presigned=False)


def _parse_presigned(parameters: Mapping[str, str]) -> Claim:
    prefix = "X-Amz-"
    parts = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    if parts.get("Algorithm") != _ALGORITHM:
        raise _incomplete(f"X-Amz-Algorithm has to be {_ALGORITHM}.")
    lifetime = parts.get("Expires", "")
    if (
        not re.fullmatch(r"[0-9]{1,7}", lifetime)
        or not timedelta(0) < timedelta(seconds=int(lifetime)) <= LONGEST_PRESIGNED
    ):
        raise _incomplete(f"X-Amz-Expires has to be 1 to {int(LONGEST_PRESIGNED.total_seconds())} seconds.")
    return _build_claim(parts, parts.get("Date", ""), timedelta(seconds=int(lifetime)), is_presigned=True)


def _build_claim(parts: Mapping[str, str], moment: str, lifetime: timedelta, *, is_presigned: bool) -> Claim:
    scope = _SCOPE.fullmatch(parts.get("Credential", ""))
    if scope is None:
        raise _incomplete("Credential has to be KEY/DATE/REGION/SERVICE/aws4_request.")
    if not _HEADER_NAMES.fullmatch(parts.get("SignedHeaders", "")):
        raise _incomplete("SignedHeaders has to name headers in lower case, with semicolons between them.")
    if not _SIGNATURE.fullmatch(parts.get("Signature", "")):
        raise _incomplete("Signature has to be 64 hexadecimal digits.")
    signed_at = _parse_moment(moment)
    if scope["date"] != moment[:8]:
        raise _mismatch(f"The credential's date is {scope['date']}, and that of the request {moment[:8]}.")
    if scope["service"] not in SERVICES:
        raise _mismatch(f"The credential is for the service {scope['service']}; use {', '.join(sorted(SERVICES))}.")
    return Claim(
        key_id=scope["key_id"],
        service=scope["service"],
        region=scope["region"],
        signed_at=signed_at,
        lifetime=lifetime,
        signed_headers=tuple(parts["SignedHeaders"].split(";")),
        signature=parts["Signature"],
        is_presigned=is_presigned,
    )


def _parse_moment(text: str) -> datetime:
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", text):
        raise _incomplete("The time of a signature is written as 20260601T120000Z.")
    try:
        return datetime.strptime(text, SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    except ValueError:
        raise _incomplete("The time of the signature is no time.") from None


def _check_coverage(claim: Claim) -> None:
    needed: Iterable[str] = ("host",) if claim.is_presigned else ("host", "x-amz-date")
    missing = [name for name in needed if name not in claim.signed_headers]
    if missing:
        raise _incomplete(f"These headers have to be signed as well: {', '.join(missing)}.")


def _check_payload(request: SignedRequest) -> None:
    """The header, where there is one, goes into the signature in the body's place, so it has to be the body's."""
    named = request.header("x-amz-content-sha256")
    if named is not None and named != sha256(request.body).hexdigest():
        raise _mismatch("X-Amz-Content-SHA256 is not that of the body; bodies without a signature are not taken.")


def _check_time(claim: Claim, now: datetime) -> None:
    try:
        first, last, _ = claim.signed_at - SKEW, claim.last_moment, claim.last_moment + SKEW
    except OverflowError:
        raise _incomplete("The time of the signature is no time.") from None
    if now < first:
        raise ActionError("RequestExpired", f"The request is signed for later. Here it is {now:%H:%M:%S} UTC.")
    if now > last:
        raise ActionError("RequestExpired", f"The request has expired. Here it is {now:%H:%M:%S} UTC.")


def _incomplete(sentence: str) -> ActionError:
    return ActionError("IncompleteSignature", sentence)


def _mismatch(sentence: str) -> ActionError:
    return ActionError("SignatureDoesNotMatch", sentence, 403)
