"""Whoever holds the secret is believed, for what is signed and as long as it is fresh; nobody else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.actions import ActionError
from gateway.api import signature
from gateway.api.signature import LONGEST_PRESIGNED, SKEW, SignedRequest, parse_claim_untrusted, verify
from tests.unit.gateway.api.signing import NOON, presigned, signed

KEY = "PWKAAAAAAAAAAAAAAAAA"
SECRET = "the secret that nobody knows"
SECOND = timedelta(seconds=1)


def check(request: SignedRequest, secret: str | None = SECRET, now: datetime = NOON) -> None:
    verify(request, parse_claim_untrusted(request, now), secret)


def refusal(request: SignedRequest, secret: str | None = SECRET, now: datetime = NOON) -> ActionError:
    with pytest.raises(ActionError) as caught:
        check(request, secret, now)
    return caught.value


def with_header(request: SignedRequest, name: str, value: str | None) -> SignedRequest:
    others = tuple(pair for pair in request.headers if pair[0] != name)
    return replace(request, headers=others if value is None else (*others, (name, value)))


def with_authorization(request: SignedRequest, old: str, new: str) -> SignedRequest:
    authorization = request.header("authorization") or ""
    assert old in authorization
    return with_header(request, "authorization", authorization.replace(old, new))


@pytest.mark.parametrize("service", ["ec2", "sts", "portway"])
def test_what_botocore_signs_is_believed(service: str) -> None:
    request = signed(KEY, SECRET, service=service)
    check(request)
    claim = parse_claim_untrusted(request, NOON)
    assert (claim.key_id, claim.service, claim.region, claim.signed_at) == (KEY, service, "local", NOON)


@given(query=st.text(max_size=30), body=st.binary(max_size=50))
def test_whatever_is_signed_is_believed(query: str, body: bytes) -> None:
    check(signed(KEY, SECRET, body=body, query=f"a={quote(query, safe='')}&b=%20%2B"))


def test_what_botocore_presigns_is_believed() -> None:
    check(presigned(KEY, SECRET))


@pytest.mark.parametrize("service", ["sts", "portway"])
def test_a_wrong_secret_and_an_unknown_key_are_told_apart_by_code(service: str) -> None:
    wrong = refusal(signed(KEY, "guessed", service=service))
    unknown = refusal(signed(KEY, SECRET, service=service), secret=None)
    assert (wrong.code, wrong.status) == ("SignatureDoesNotMatch", 403)
    assert (unknown.code, unknown.status) == ("InvalidClientTokenId", 403)


def test_ec2_does_not_tell_them_apart() -> None:
    wrong = refusal(signed(KEY, "guessed", service="ec2"))
    unknown = refusal(signed(KEY, SECRET, service="ec2"), secret=None)
    assert (wrong.code, wrong.status, wrong.message) == (unknown.code, unknown.status, unknown.message)
    assert (wrong.code, wrong.status) == ("AuthFailure", 401)


def test_nobody_can_sign_with_what_unknown_keys_are_compared_with() -> None:
    assert refusal(signed(KEY, signature._NOBODY), secret=None).code == "InvalidClientTokenId"


def test_an_unknown_key_costs_a_whole_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    original = signature._Signer.signature_of

    def noted(signer: signature._Signer, request: SignedRequest) -> str:
        computed.append(signer.credentials.access_key)
        return original(signer, request)

    monkeypatch.setattr(signature._Signer, "signature_of", noted)
    for secret in ("guessed", None):
        refusal(signed(KEY, SECRET), secret=secret)
    assert computed == [KEY, KEY]


@pytest.mark.parametrize(
    "changed",
    [
        replace(signed(KEY, SECRET), body=b"Action=Other"),
        replace(signed(KEY, SECRET), query="Action=Other"),
        replace(signed(KEY, SECRET), method="GET"),
        with_header(signed(KEY, SECRET), "host", "elsewhere"),
        with_header(signed(KEY, SECRET), "content-type", "text/plain"),
        with_authorization(signed(KEY, SECRET), "/local/", "/eu-central-1/"),
        replace(presigned(KEY, SECRET), query=presigned(KEY, SECRET).query.replace("Expires=3600", "Expires=3601")),
        replace(presigned(KEY, SECRET), query=presigned(KEY, SECRET).query.replace("GetCaller", "SetCaller")),
    ],
    ids=["body", "query", "method", "host", "content-type", "region", "lifetime", "presigned parameter"],
)
def test_nothing_that_is_signed_may_change(changed: SignedRequest) -> None:
    assert refusal(changed).code == "SignatureDoesNotMatch"


def test_headers_that_are_not_signed_may_come_and_go() -> None:
    check(with_header(signed(KEY, SECRET), "user-agent", "another"))


@pytest.mark.parametrize("offset", [SKEW + SECOND, -SKEW - SECOND], ids=["later", "earlier"])
def test_clocks_may_differ_by_five_minutes(offset: timedelta) -> None:
    request = signed(KEY, SECRET)
    inside = offset - SECOND if offset > timedelta(0) else offset + SECOND
    check(request, now=NOON + inside)
    assert refusal(request, now=NOON + offset).code == "RequestExpired"


def test_a_presigned_request_lives_as_long_as_it_says() -> None:
    request = presigned(KEY, SECRET, expires=60)
    check(request, now=NOON - SKEW)
    check(request, now=NOON + 60 * SECOND)
    assert refusal(request, now=NOON + 61 * SECOND).code == "RequestExpired"
    assert refusal(request, now=NOON - SKEW - SECOND).code == "RequestExpired"


@pytest.mark.parametrize(
    "request_",
    [
        signed(KEY, SECRET),
        *(presigned(KEY, SECRET, expires=int(one.total_seconds())) for one in (SECOND, LONGEST_PRESIGNED)),
    ],
    ids=["signed", "presigned for a second", "presigned for a day"],
)
def test_a_signature_is_remembered_for_longer_than_it_is_taken_anywhere(request_: SignedRequest) -> None:
    """Another gateway's clock may be late, and take what is over here."""
    claim = parse_claim_untrusted(request_, NOON)
    forgotten = datetime.fromtimestamp(claim.expires_at, UTC)
    assert refusal(request_, now=forgotten - SKEW + SECOND).code == "RequestExpired"
    check(request_, now=forgotten - SKEW)


@pytest.mark.parametrize("expires", [0, int(LONGEST_PRESIGNED.total_seconds()) + 1])
def test_nothing_is_presigned_for_no_time_or_for_more_than_a_day(expires: int) -> None:
    assert refusal(presigned(KEY, SECRET, expires=expires)).code == "IncompleteSignature"


def test_who_signs_in_both_ways_is_refused() -> None:
    """Which of the two is meant, a proxy and the API might see differently."""
    both = replace(signed(KEY, SECRET), query=presigned(KEY, SECRET).query)
    assert refusal(both).code == "IncompleteSignature"
    assert refusal(signed(KEY, SECRET, query="X-Amz-Signature=0")).code == "IncompleteSignature"


def test_a_body_without_a_signature_is_refused() -> None:
    unsigned = signed(KEY, SECRET, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert refusal(unsigned).code == "SignatureDoesNotMatch"


def test_a_body_may_be_named_by_its_digest() -> None:
    check(signed(KEY, SECRET, body=b"a=b", headers={"X-Amz-Content-SHA256": sha256(b"a=b").hexdigest()}))


def test_a_request_that_is_not_signed_is_told_so() -> None:
    error = refusal(SignedRequest("GET", "Action=GetCallerIdentity", (("host", "x"),), b""))
    assert (error.code, error.status) == ("MissingAuthenticationToken", 403)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (with_authorization(signed(KEY, SECRET), "AWS4-HMAC-SHA256", "AWS3"), "IncompleteSignature"),
        (with_authorization(signed(KEY, SECRET), "aws4_request", "aws5_request"), "IncompleteSignature"),
        (with_authorization(signed(KEY, SECRET), "Signature=", "Signature=0"), "IncompleteSignature"),
        (with_authorization(signed(KEY, SECRET), "Signature=", "Sign="), "IncompleteSignature"),
        (with_authorization(signed(KEY, SECRET), "host;", ""), "IncompleteSignature"),
        (with_authorization(signed(KEY, SECRET), ";x-amz-date", ""), "IncompleteSignature"),
        (with_authorization(signed(KEY, SECRET), "SignedHeaders=", "SignedHeaders=;"), "IncompleteSignature"),
        (with_authorization(signed(KEY, SECRET), "/20260601/", "/20260602/"), "SignatureDoesNotMatch"),
        (signed(KEY, SECRET, service="s3"), "SignatureDoesNotMatch"),
        (with_header(signed(KEY, SECRET), "x-amz-date", None), "IncompleteSignature"),
        (with_header(signed(KEY, SECRET), "x-amz-date", "20260632T120000Z"), "IncompleteSignature"),
        (with_header(signed(KEY, SECRET), "x-amz-date", "noon"), "IncompleteSignature"),
        (replace(signed(KEY, SECRET), headers=signed(KEY, SECRET).headers * 2), "IncompleteSignature"),
        (replace(presigned(KEY, SECRET), query="X-Amz-Signature=0"), "IncompleteSignature"),
    ],
)
def test_what_is_not_understood_is_refused(request_: SignedRequest, code: str) -> None:
    assert refusal(request_).code == code


TEXTS = st.text(st.characters(codec="latin-1"), max_size=30)
PARTS = st.sampled_from(["Credential=", "SignedHeaders=", "Signature=", ",", "/", "20260601", "aws4_request", "0" * 64])


@given(
    authorization=st.lists(st.one_of(TEXTS, PARTS), max_size=8).map("".join).map("AWS4-HMAC-SHA256 ".__add__),
    date=st.one_of(TEXTS, st.just("20260601T120000Z"), st.just("00000000T000000Z"), st.just("99991231T235959Z")),
)
def test_any_header_is_believed_or_refused(authorization: str, date: str) -> None:
    headers = (("host", "x"), ("authorization", authorization), ("x-amz-date", date))
    assert refusal(SignedRequest("POST", "", headers, b"")).status in (400, 403)


@given(query=st.lists(st.tuples(st.sampled_from(["Algorithm", "Credential", "Date", "Expires"]), TEXTS)))
def test_any_query_is_believed_or_refused(query: list[tuple[str, str]]) -> None:
    parameters = {"X-Amz-Signature": "0" * 64} | {f"X-Amz-{name}": value for name, value in query}
    assert refusal(SignedRequest("GET", urlencode(parameters), (("host", "x"),), b"")).status in (400, 403)


def test_years_at_either_end_are_refused() -> None:
    for moment in ("00010101T000000Z", "99991231T235959Z"):
        request = with_header(signed(KEY, SECRET), "x-amz-date", moment)
        request = with_authorization(request, "/20260601/", f"/{moment[:8]}/")
        assert refusal(request).code in ("IncompleteSignature", "RequestExpired")


def test_secrets_are_in_no_repr() -> None:
    request = signed(KEY, SECRET)
    claim = parse_claim_untrusted(request, NOON)
    assert claim.signature not in repr(claim)
    assert "Action" not in repr(replace(request, headers=()))
