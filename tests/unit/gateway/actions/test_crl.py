from __future__ import annotations

from base64 import encodebytes
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

import gateway.actions.crl  # noqa: F401 - registers the actions
from gateway.actions.call import ACTIONS, ActionError, Role
from gateway.actions.settings import Quotas
from gateway.store.schema import crl
from tests.fuzz.strategies import damaged
from tests.unit.gateway.actions.authorities import ROOT, SERVER, Arns, publish
from tests.unit.gateway.actions.endpoint_calls import authentication
from tests.unit.gateway.actions.harness import SETTINGS, invoke, invoke_for_audit, limited_to, refused
from tests.unit.gateway.actions.rows import ENDPOINT_ID, FILE_ENDPOINT_ID, add, add_endpoint, add_file_endpoint
from tests.unit.gateway.certificate_maker import NOW, YEAR, Made, make_ca, make_crl

if TYPE_CHECKING:
    from gateway.store import Store

IMPORT = "ImportClientVpnClientCertificateRevocationList"
EXPORT = "ExportClientVpnClientCertificateRevocationList"
DELETE = "DeleteClientVpnClientCertificateRevocationList"
DAY = timedelta(days=1)


def pem_of(*lists: x509.CertificateRevocationList) -> str:
    return b"".join(one.public_bytes(Encoding.PEM) for one in lists).decode()


def revoking(count: int) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ROOT.certificate.subject)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
    )
    for serial in range(1, count + 1):
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY).build()
        builder = builder.add_revoked_certificate(one)
    return builder.sign(ROOT.key, hashes.SHA256())


GOOD = revoking(2).public_bytes(Encoding.DER)


def import_it(store: Store, pem: str, **more: Any) -> dict[str, Any]:
    return invoke(store, IMPORT, ClientVpnEndpointId=ENDPOINT_ID, CertificateRevocationList=pem, **more)


def exported(store: Store, endpoint_id: str = ENDPOINT_ID, **more: Any) -> dict[str, Any]:
    return invoke(store, EXPORT, ClientVpnEndpointId=endpoint_id, **more)


@pytest.fixture(autouse=True)
def endpoint(store: Store, arns: Arns) -> None:
    add_endpoint(store, server_certificate_arn=arns.server, authentication_options=authentication(arns.root))


def test_what_was_imported_is_exported_and_waits_for_gateways(store: Store) -> None:
    pem = pem_of(make_crl(ROOT))
    assert import_it(store, f"some text\n{pem}") == {"Return": True}
    assert exported(store) == {"CertificateRevocationList": pem, "Status": {"Code": "pending"}}


def test_an_endpoint_without_a_list_exports_none(store: Store) -> None:
    assert exported(store) == {}


def test_a_list_takes_the_place_of_the_former(store: Store) -> None:
    import_it(store, pem_of(revoking(1)))
    with store.write() as connection:
        connection.execute(update(crl).values(status_code="active", status_message="x"))
    newer = pem_of(revoking(2))
    import_it(store, newer)
    assert exported(store) == {"CertificateRevocationList": newer, "Status": {"Code": "pending"}}


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (make_crl(ROOT, ends=NOW), "was due for renewal on 2026-06-01 12:00 UTC, so every login would fail"),
        (make_crl(ROOT, begins=NOW + DAY), "begins only on 2026-06-02 12:00 UTC"),
        (make_crl(make_ca("stranger")), "holds no authority that signed the list of CN=stranger"),
        (make_crl(ROOT, key=SERVER.key), "holds no authority that signed the list of CN=portway test root"),
    ],
    ids=["expired", "not yet valid", "another authority's", "signed by another key"],
)
def test_a_list_that_would_lock_everybody_out_is_refused(
    store: Store, one: x509.CertificateRevocationList, words: str
) -> None:
    with refused("InvalidParameterValue", words):
        import_it(store, pem_of(one))
    assert exported(store) == {}


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        ("", "holds no revocation list"),
        ("rubbish", "holds no revocation list"),
        (ROOT.pem.decode(), "holds no revocation list"),
        ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----", "is damaged"),
    ],
)
def test_what_is_no_list_is_refused(store: Store, pem: str, words: str) -> None:
    with refused("InvalidParameterValue", words):
        import_it(store, pem)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_list_is_imported_or_refused(store: Store, data: st.DataObject) -> None:
    damage = data.draw(damaged(GOOD))
    pem = f"-----BEGIN X509 CRL-----\n{encodebytes(damage).decode()}-----END X509 CRL-----\n"
    try:
        import_it(store, pem)
    except ActionError as error:
        assert error.code == "InvalidParameterValue"  # noqa: PT017 - it need not raise


def test_there_are_only_so_many_entries_in_all_lists_together(store: Store) -> None:
    three = replace(SETTINGS, quotas=Quotas(crl_entries=3))
    import_it(store, pem_of(revoking(3)), settings=three)
    for lists in ([revoking(4)], [revoking(2), revoking(2)]):
        with refused("ClientVpnCertificateRevocationListLimitExceeded", "has 4 entries, and the limit is 3"):
            import_it(store, pem_of(*lists), settings=three)
    import_it(store, pem_of(revoking(4)), settings=replace(SETTINGS, quotas=Quotas(crl_entries=0)))


def two_authorities(store: Store) -> tuple[Made, Made]:
    """An endpoint whose clients come from either of two authorities."""
    first, second = make_ca("first"), make_ca("second")
    arn = publish(store, first, second, with_key=False)
    add_endpoint(
        store, "cvpn-endpoint-two", client_cidr_block="10.30.0.0/22", authentication_options=authentication(arn)
    )
    return first, second


def test_each_authority_has_a_list(store: Store) -> None:
    first, second = two_authorities(store)
    both = pem_of(make_crl(first), make_crl(second))
    with refused("InvalidParameterValue", "'second', which has no list in CertificateRevocationList"):
        invoke(
            store, IMPORT, ClientVpnEndpointId="cvpn-endpoint-two", CertificateRevocationList=pem_of(make_crl(first))
        )
    invoke(store, IMPORT, ClientVpnEndpointId="cvpn-endpoint-two", CertificateRevocationList=both)
    assert exported(store, "cvpn-endpoint-two")["CertificateRevocationList"] == both


def test_the_list_of_a_file_s_endpoint_is_shown_and_not_changed(store: Store) -> None:
    add_file_endpoint(store)
    add(store, crl, endpoint_id=FILE_ENDPOINT_ID, pem="a list", status_code="active", imported_at=1.0)
    assert exported(store, FILE_ENDPOINT_ID) == {"CertificateRevocationList": "a list", "Status": {"Code": "active"}}
    with refused("UnsupportedOperation", "/etc/portway/config.toml"):
        invoke(store, IMPORT, ClientVpnEndpointId=FILE_ENDPOINT_ID, CertificateRevocationList=pem_of(make_crl(ROOT)))

    with refused("UnsupportedOperation", "/etc/portway/config.toml"):
        invoke(store, DELETE, ClientVpnEndpointId=FILE_ENDPOINT_ID)


def test_a_list_can_be_taken_away_once(store: Store) -> None:
    import_it(store, pem_of(revoking(1)))
    reply, call = invoke_for_audit(store, DELETE, ClientVpnEndpointId=ENDPOINT_ID)
    assert reply == {"Return": True}
    assert exported(store) == {}
    assert ([one["Entries"] for one in call.before], call.after, call.affects_gateways) == ([1], None, True)
    with refused("InvalidClientVpnCertificateRevocationListNotFound", ENDPOINT_ID):
        invoke(store, DELETE, ClientVpnEndpointId=ENDPOINT_ID)


def test_who_may_import_a_list_may_take_it_away() -> None:
    assert ACTIONS[DELETE].role is ACTIONS[IMPORT].role is Role.OPERATOR


def test_what_a_caller_may_not_know_of_is_not_found(store: Store) -> None:
    stranger = limited_to("cvpn-endpoint-other")
    with refused("InvalidClientVpnEndpointId.NotFound"):
        invoke(store, DELETE, ClientVpnEndpointId=ENDPOINT_ID, caller=stranger)
    with refused("InvalidClientVpnEndpointId.NotFound"):
        exported(store, caller=stranger)
    with refused("InvalidClientVpnEndpointId.NotFound"):
        import_it(store, pem_of(make_crl(ROOT)), caller=stranger)


def test_the_audit_log_learns_of_lists_in_short(store: Store) -> None:
    import_it(store, pem_of(revoking(1)))
    _, call = invoke_for_audit(
        store, IMPORT, ClientVpnEndpointId=ENDPOINT_ID, CertificateRevocationList=pem_of(make_crl(ROOT))
    )
    (before,), (after,) = call.before, call.after
    assert (before["Entries"], after["Entries"]) == (1, 0)
    assert after == {
        "Issuer": "CN=portway test root",
        "Entries": 0,
        "LastUpdate": (NOW - YEAR).isoformat(),
        "NextUpdate": (NOW + YEAR).isoformat(),
    }
    assert call.affects_gateways
