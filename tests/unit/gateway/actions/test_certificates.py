from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

import gateway.actions.certificates  # noqa: F401 - registers the actions
from gateway.actions.call import ActionError
from gateway.store.schema import certificate, crl
from tests.fuzz.strategies import damaged
from tests.unit.gateway.actions.authorities import ROOT, SERVER, publish, publish_both
from tests.unit.gateway.actions.harness import invoke, invoke_for_audit, limited_to, refused
from tests.unit.gateway.actions.rows import ENDPOINT_ID, add, add_endpoint
from tests.unit.gateway.certificate_maker import NOW, YEAR, Made, Recipe, make_ca, make_crl

if TYPE_CHECKING:
    from gateway.store import Store


def import_it(store: Store, own: Made, *chain: Made, key: Made | None = None, **more: Any) -> str:
    """Import a certificate; `key` is whose private key goes along."""
    parameters = {"Certificate": own.pem.decode()}
    if chain:
        parameters["CertificateChain"] = b"".join(made.pem for made in chain).decode()
    if key:
        parameters["PrivateKey"] = key.key_pem.decode()
    return str(invoke(store, "ImportCertificate", **parameters, **more)["CertificateArn"])


def described(store: Store, arn: str) -> dict[str, Any]:
    shown: dict[str, Any] = invoke(store, "DescribeCertificate", CertificateArn=arn)["Certificate"]
    return shown


def summaries(store: Store, **parameters: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = invoke(store, "ListCertificates", **parameters)["CertificateSummaryList"]
    return listed


def test_what_was_imported_is_described(store: Store) -> None:
    arn = import_it(store, SERVER, ROOT, key=SERVER)
    assert described(store, arn) == {
        "CertificateArn": arn,
        "Name": "vpn.example.com",
        "Origin": "imported",
        "Kind": "server",
        "NotBefore": "2025-06-01T12:00:00Z",
        "NotAfter": "2027-06-01T12:00:00Z",
        "CreatedAt": "2026-06-01T12:00:00Z",
        "InUseBy": [],
        "Subject": "CN=vpn.example.com",
        "Issuer": "CN=portway test root",
        "Serial": f"{SERVER.certificate.serial_number:x}",
        "CertificateChain": (SERVER.pem + ROOT.pem).decode(),
    }


def test_the_key_is_kept_sealed_and_never_shown(store: Store) -> None:
    reply, call = invoke_for_audit(
        store, "ImportCertificate", Certificate=SERVER.pem.decode(), PrivateKey=SERVER.key_pem.decode()
    )
    with store.read() as connection:
        (sealed,) = connection.scalars(select(certificate.c.private_key))
    assert store.vault.open(sealed) == SERVER.key_pem
    for shown in (reply, call.after, described(store, reply["CertificateArn"]), summaries(store)):
        assert "PRIVATE" not in str(shown)


def test_an_authority_is_imported_without_a_key(store: Store) -> None:
    assert described(store, import_it(store, ROOT))["Kind"] == "authority"


@pytest.mark.parametrize(
    ("own", "key", "words"),
    [
        (SERVER, ROOT, "does not belong to the key in PrivateKey"),
        (Recipe(issuer=ROOT, usages=None).make(), None, "serverAuth"),
        (Recipe(issuer=ROOT, ends=NOW).make(), None, "expired on 2026-06-01 12:00 UTC"),
        (Recipe(issuer=ROOT, begins=NOW + YEAR / 2).make(), None, "is not valid before"),
    ],
    ids=["another key", "no server", "expired", "not yet valid"],
)
def test_a_certificate_that_clients_would_refuse_is_refused(
    store: Store, own: Made, key: Made | None, words: str
) -> None:
    with refused("InvalidParameterValue", words):
        import_it(store, own, key=key or own)


def test_a_chain_out_of_order_is_refused(store: Store) -> None:
    with refused("InvalidParameterValue", "Certificate has its chain out of order"):
        import_it(store, SERVER, make_ca("other"), key=SERVER)


def test_an_expired_authority_is_refused(store: Store) -> None:
    with refused("InvalidParameterValue", "Certificate names 'root', which expired"):
        import_it(store, make_ca(ends=NOW))


def test_an_authority_s_key_is_refused(store: Store) -> None:
    with refused("InvalidParameterCombination", "Leave PrivateKey out"):
        import_it(store, ROOT, key=ROOT)


def test_a_server_s_certificate_without_its_key_is_refused(store: Store) -> None:
    with refused("MissingParameter", "PrivateKey"):
        import_it(store, SERVER)


@pytest.mark.parametrize("member", ["Certificate", "CertificateChain", "PrivateKey"])
def test_what_is_no_pem_is_refused(store: Store, member: str) -> None:
    good = {"Certificate": SERVER.pem.decode(), "PrivateKey": SERVER.key_pem.decode()}
    with refused("InvalidParameterValue", f"{member} holds no"):
        invoke(store, "ImportCertificate", **(good | {member: "rubbish"}))


def test_a_key_behind_a_passphrase_is_refused(store: Store) -> None:
    secret = SERVER.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
    with refused("InvalidParameterValue", "PrivateKey is encrypted"):
        invoke(store, "ImportCertificate", Certificate=SERVER.pem.decode(), PrivateKey=secret)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_certificate_is_imported_or_refused(store: Store, data: st.DataObject) -> None:
    damage = data.draw(damaged(SERVER.certificate.public_bytes(Encoding.DER)))
    pem = encoded(damage)
    try:
        invoke(store, "ImportCertificate", Certificate=pem, PrivateKey=SERVER.key_pem.decode())
    except ActionError as error:
        assert error.code in {"InvalidParameterValue", "InvalidParameterCombination"}  # noqa: PT017 - it need not raise


def encoded(der: bytes) -> str:
    from base64 import encodebytes

    return f"-----BEGIN CERTIFICATE-----\n{encodebytes(der).decode()}-----END CERTIFICATE-----\n"


def test_an_import_may_take_the_place_of_another(store: Store) -> None:
    arn = import_it(store, SERVER, key=SERVER)
    renewed = Recipe(name="vpn.example.com", issuer=ROOT, ends=NOW + 2 * YEAR).make()
    assert import_it(store, renewed, key=renewed, CertificateArn=arn) == arn
    assert described(store, arn)["NotAfter"] == "2028-05-31T12:00:00Z"
    assert len(summaries(store)) == 1


def test_gateways_look_again_only_where_something_took_a_place(store: Store) -> None:
    given = {"Certificate": SERVER.pem.decode(), "PrivateKey": SERVER.key_pem.decode()}
    reply, call = invoke_for_audit(store, "ImportCertificate", **given)
    assert not call.affects_gateways
    _, call = invoke_for_audit(store, "ImportCertificate", CertificateArn=reply["CertificateArn"], **given)
    assert call.affects_gateways
    assert call.before == call.after


def test_nothing_takes_the_place_of_what_is_not_there(store: Store) -> None:
    with refused("ResourceNotFound", "arn:nothing"):
        import_it(store, SERVER, key=SERVER, CertificateArn="arn:nothing")


def test_nothing_takes_the_place_of_the_built_in_authority_s(store: Store) -> None:
    arns = publish_both(store)
    with refused("UnsupportedOperation", "portway pki"):
        import_it(store, SERVER, key=SERVER, CertificateArn=arns.server)


def test_an_authority_does_not_take_the_place_of_a_server_s_certificate(store: Store) -> None:
    arn = import_it(store, SERVER, key=SERVER)
    with refused("InvalidParameterValue", "cannot turn"):
        import_it(store, ROOT, CertificateArn=arn)


def test_authorities_are_not_replaced_under_a_revocation_list_of_theirs(store: Store) -> None:
    arn = import_it(store, ROOT)
    add_endpoint(store, authentication_options=authentication(arn))
    pem = make_crl(ROOT).public_bytes(Encoding.PEM).decode()
    add(store, crl, endpoint_id=ENDPOINT_ID, pem=pem, status_code="active", imported_at=1.0)
    with refused("InvalidParameterValue", f"CN=portway test root in the revocation list of {ENDPOINT_ID}"):
        import_it(store, make_ca("other"), CertificateArn=arn)
    renewed = make_ca("portway test root", key=ROOT.key, ends=NOW + 2 * YEAR)
    import_it(store, renewed, CertificateArn=arn)
    assert described(store, arn)["NotAfter"] == "2028-05-31T12:00:00Z"


def test_certificates_are_listed_by_name_in_pages(store: Store) -> None:
    for number in range(7):
        publish(store, Recipe(name=f"host-{number}", issuer=ROOT).make())
    first = invoke(store, "ListCertificates", MaxResults=5)
    rest = invoke(store, "ListCertificates", MaxResults=5, NextToken=first["NextToken"])
    listed = [*first["CertificateSummaryList"], *rest["CertificateSummaryList"]]
    assert [one["Name"] for one in listed] == [f"host-{number}" for number in range(7)]
    assert {one["Origin"] for one in listed} == {"pki"}


def test_a_certificate_tells_who_uses_it_and_only_whom_the_caller_may_know(store: Store) -> None:
    arns = publish_both(store)
    add_endpoint(store, server_certificate_arn=arns.server, authentication_options=authentication(arns.root))
    for arn in (arns.server, arns.root):
        assert described(store, arn)["InUseBy"] == [ENDPOINT_ID]
    (one, _) = summaries(store, caller=limited_to("cvpn-endpoint-other"))
    assert one["InUseBy"] == []


def authentication(arn: str) -> list[dict[str, Any]]:
    return [{"Type": "certificate-authentication", "MutualAuthentication": {"ClientRootCertificateChainArn": arn}}]


def test_what_an_endpoint_uses_is_not_deleted(store: Store) -> None:
    arns = publish_both(store)
    add_endpoint(store, server_certificate_arn=arns.server, authentication_options=authentication(arns.root))
    for arn in (arns.server, arns.root):
        with refused("ResourceInUse", ENDPOINT_ID):
            invoke(store, "DeleteCertificate", CertificateArn=arn)


def test_what_an_endpoint_has_used_is_deleted(store: Store) -> None:
    arns = publish_both(store)
    add_endpoint(
        store, server_certificate_arn=arns.server, authentication_options=authentication(arns.root), ended_at=1.0
    )
    for arn in (arns.server, arns.root):
        assert invoke(store, "DeleteCertificate", CertificateArn=arn) == {}
    assert summaries(store) == []


@pytest.mark.parametrize("name", ["DescribeCertificate", "DeleteCertificate"])
def test_what_is_not_there_is_not_found(store: Store, name: str) -> None:
    with refused("ResourceNotFound", "arn:nothing"):
        invoke(store, name, CertificateArn="arn:nothing")


def test_the_audit_log_learns_what_was_deleted(store: Store) -> None:
    arn = publish(store, SERVER)
    _, call = invoke_for_audit(store, "DeleteCertificate", CertificateArn=arn)
    assert call.before["CertificateArn"] == arn
    assert call.resource_id == arn.rpartition("/")[2]
    assert not call.affects_gateways
