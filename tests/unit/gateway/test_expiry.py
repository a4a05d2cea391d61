from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.expiry import Expiry, ExpiryKind, Urgency, expiries
from tests.unit.gateway.world import make_spec

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_everything_that_ends_is_listed_the_soonest_first() -> None:
    found = expiries(make_spec())
    assert sorted(expiry.what.split(" (")[0] for expiry in found) == [
        "client root certificate",
        "revocation list",
        "server certificate",
    ]
    assert [expiry.ends for expiry in found] == sorted(expiry.ends for expiry in found)


def test_an_endpoint_without_a_revocation_list_has_none_that_ends() -> None:
    spec = make_spec()
    spec = replace(spec, authentication=replace(spec.authentication, certificate_revocation_list=None))
    assert not any("revocation" in expiry.what for expiry in expiries(spec))


def test_urgency_rises_as_the_end_comes_near() -> None:
    expiry = Expiry("main", ExpiryKind.SERVER_CERTIFICATE, "server certificate", NOW, timedelta(days=30))
    assert expiry.urgency(NOW - timedelta(days=31)) is Urgency.NONE
    assert expiry.urgency(NOW - timedelta(days=30)) is Urgency.SOON
    assert expiry.urgency(NOW) is Urgency.EXPIRED
