"""Certificates for endpoints: importing them, listing those that there are, and removing those that nobody uses.

What AWS has in a service of its own. Keys go in and never come out.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from sqlalchemy import delete, insert, select, update

from gateway.actions.call import ActionError, Call, action
from gateway.actions.certificate_store import authorities_in, certificate_arn, refuse_problems, row_values
from gateway.actions.listing import paginate
from gateway.actions.objects import is_visible
from gateway.config.certificates import (
    client_root_problems,
    coverage_problems,
    is_authority,
    server_certificate_problems,
)
from gateway.config.pem import parse_certificates, parse_crls, parse_private_key
from gateway.config.problems import WrongValue
from gateway.config.values import printable
from gateway.store.schema import certificate, crl, endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from sqlalchemy import Row

__all__ = ["delete_certificate", "describe_certificate", "import_certificate", "list_certificates"]


@action("ImportCertificate", changes=True)
def import_certificate(call: Call) -> dict[str, Any]:
    """Take a server's certificate with its key, or authorities without; with `CertificateArn`, in the place of one.

    Raises `InvalidParameterValue` for what clients would refuse, and `ResourceNotFound`.
    """
    certificates = _parsed(call, "Certificate", parse_certificates)
    certificates += _parsed(call, "CertificateChain", parse_certificates) if _given(call, "CertificateChain") else ()
    key = _parsed(call, "PrivateKey", parse_private_key) if _given(call, "PrivateKey") else None
    _check(call, certificates, key)
    sealed = call.vault.seal(call.parameters["PrivateKey"].encode()) if key is not None else None
    values = {**row_values(certificates), "private_key": sealed}
    arn = call.parameters.get("CertificateArn")
    if arn:
        _replace(call, _find(call, arn), values)
    else:
        arn = certificate_arn(call.settings, uuid.uuid4())
        call.connection.execute(insert(certificate).values(arn=arn, origin="imported", created_at=call.now, **values))
        call.affects_gateways = False
    call.resource_id = arn.rpartition("/")[2]
    call.after = _summary(call, _find(call, arn), _users(call))
    return {"CertificateArn": arn}


@action("ListCertificates")
def list_certificates(call: Call) -> dict[str, Any]:
    """List all certificates in short."""
    users = _users(call)
    page, token = paginate(call, call.connection.execute(select(certificate)), key=lambda row: (row.name, row.arn))
    return {"CertificateSummaryList": [_summary(call, row, users) for row in page], "NextToken": token}


@action("DescribeCertificate")
def describe_certificate(call: Call) -> dict[str, Any]:
    """Show a certificate. Raises `ResourceNotFound`."""
    row = _find(call, call.parameters["CertificateArn"])
    own = x509.load_pem_x509_certificate(row.chain.encode())
    return {
        "Certificate": {
            **_summary(call, row, _users(call)),
            "Subject": printable(own.subject.rfc4514_string()),
            "Issuer": printable(own.issuer.rfc4514_string()),
            "Serial": f"{own.serial_number:x}",
            "NotBefore": _time(own.not_valid_before_utc.timestamp()),
            "CertificateChain": row.chain,
        }
    }


@action("DeleteCertificate", changes=True)
def delete_certificate(call: Call) -> dict[str, Any]:
    """Remove a certificate. Raises `ResourceInUse` and `ResourceNotFound`."""
    row = _find(call, call.parameters["CertificateArn"])
    users = _users(call)
    call.resource_id = row.arn.rpartition("/")[2]
    call.before = _summary(call, row, users)
    call.affects_gateways = False
    if users.get(row.arn):
        raise ActionError("ResourceInUse", f"{row.arn} is used by {', '.join(users[row.arn])}.")
    call.connection.execute(delete(certificate).where(certificate.c.arn == row.arn))
    return {}


def _given(call: Call, member: str) -> bool:
    return bool(call.parameters.get(member))


def _parsed(call: Call, member: str, parse: Callable[[bytes], Any]) -> Any:
    try:
        return parse(call.parameters[member].encode())
    except WrongValue as wrong:
        refuse_problems(member, wrong.sentences)
        raise


def _check(call: Call, certificates: Sequence[x509.Certificate], key: PrivateKeyTypes | None) -> None:
    now = datetime.fromtimestamp(call.now, UTC)
    if is_authority(certificates[0]):
        if key is not None:
            raise ActionError(
                "InvalidParameterCombination",
                "Certificate is an authority, whose key has no business here. Leave PrivateKey out.",
            )
        refuse_problems("Certificate", client_root_problems(certificates, None, now))
        return
    if key is None:
        raise ActionError("MissingParameter", "A server's certificate is of no use without its key. Add PrivateKey.")
    problems = server_certificate_problems(certificates, key, now)
    refuse_problems("Certificate", (problem.replace("server_key", "PrivateKey") for problem in problems))


def _replace(call: Call, row: Row[Any], values: Mapping[str, Any]) -> None:
    """Renew one that was imported: whoever uses it uses the new one from now on."""
    if row.origin != "imported":
        raise ActionError(
            "UnsupportedOperation", f"{row.arn} belongs to the built-in authority. Renew it with `portway pki`."
        )
    if (row.private_key is None) != (values["private_key"] is None):
        raise ActionError(
            "InvalidParameterValue", f"{row.arn} cannot turn from an authority into a server's certificate, or back."
        )
    users = _users(call)
    _check_lists(call, users.get(row.arn, ()), values["chain"])
    call.before = _summary(call, row, users)
    call.connection.execute(update(certificate).where(certificate.c.arn == row.arn).values(**values))


def _check_lists(call: Call, endpoint_ids: Iterable[str], chain: str) -> None:
    """Endpoints that trust these authorities may have revocation lists of the former ones, and let nobody in then."""
    authorities = authorities_in(chain)
    lists = call.connection.execute(select(crl.c.endpoint_id, crl.c.pem).where(crl.c.endpoint_id.in_(endpoint_ids)))
    for row in lists if authorities else ():
        name = f"the revocation list of {row.endpoint_id}"
        problems = coverage_problems(authorities, parse_crls(row.pem.encode()))
        refuse_problems("Certificate", (problem.replace("certificate_revocation_list", name) for problem in problems))


def _find(call: Call, arn: str) -> Row[Any]:
    row = call.connection.execute(select(certificate).where(certificate.c.arn == arn)).one_or_none()
    if row is None:
        raise ActionError("ResourceNotFound", f"There is no certificate {arn!r}.")
    return row


def _users(call: Call) -> dict[str, list[str]]:
    """The endpoints that use each certificate."""
    users: dict[str, list[str]] = {}
    rows = call.connection.execute(
        select(endpoint.c.id, endpoint.c.server_certificate_arn, endpoint.c.authentication_options)
        .where(endpoint.c.ended_at.is_(None))
        .order_by(endpoint.c.id)
    )
    for row in rows:
        roots = {
            option.get("MutualAuthentication", {}).get("ClientRootCertificateChainArn", "")
            for option in row.authentication_options
        }
        for arn in roots | {row.server_certificate_arn}:
            users.setdefault(arn, []).append(row.id)
    return users


def _summary(call: Call, row: Row[Any], users: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        "CertificateArn": row.arn,
        "Name": row.name,
        "Origin": row.origin,
        "Kind": "authority" if row.private_key is None else "server",
        "NotAfter": _time(row.not_after),
        "CreatedAt": _time(row.created_at),
        "InUseBy": [user for user in users.get(row.arn, ()) if is_visible(call, user)],
    }


def _time(unix_s: float) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
