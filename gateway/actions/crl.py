"""The revocation list of an endpoint: which of its authorities' certificates are no longer good.

A list that would lock everybody out is refused here, where somebody still looks: OpenSSL lets nobody in by a list that
is due for renewal, that is not in force yet, or that another authority signed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import delete, insert, select, update

from gateway.actions.call import ActionError, Call, action
from gateway.actions.certificate_store import authorities_in, refuse_problems
from gateway.actions.objects import find_endpoint, status_shape
from gateway.config.certificates import coverage_problems, crl_problems
from gateway.config.pem import parse_crls
from gateway.config.problems import WrongValue
from gateway.config.values import printable
from gateway.store.schema import certificate, crl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509
    from sqlalchemy import Row

__all__ = ["delete_crl", "export_crl", "import_crl"]

_MEMBER = "CertificateRevocationList"


@action("ImportClientVpnClientCertificateRevocationList", changes=True)
def import_crl(call: Call) -> dict[str, Any]:
    """Put a list, or one for each authority, in the place of what is there.

    Raises `InvalidParameterValue` for one that would lock clients out, and
    `ClientVpnCertificateRevocationListLimitExceeded`.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_change=True)
    lists = _parsed(call)
    _check_size(call, lists)
    refuse_problems(_MEMBER, crl_problems(lists, datetime.fromtimestamp(call.now, UTC)))
    problems = coverage_problems(_authorities(call, owner), lists)
    refuse_problems(
        "The client root certificate chain",
        (problem.replace("certificate_revocation_list", _MEMBER) for problem in problems),
    )
    call.after = [_record(one) for one in lists]
    _put(call, owner.id, "".join(one.public_bytes(Encoding.PEM).decode() for one in lists))
    return {"Return": True}


@action("ExportClientVpnClientCertificateRevocationList")
def export_crl(call: Call) -> dict[str, Any]:
    """Give back the list with its status; an endpoint without one has neither."""
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"])
    row = _find(call, owner.id)
    return {} if row is None else {"CertificateRevocationList": row.pem, "Status": status_shape(row)}


@action("DeleteClientVpnClientCertificateRevocationList", changes=True)
def delete_crl(call: Call) -> dict[str, Any]:
    """Take the list away: nothing is revoked any more, and who was may connect again. AWS has no such action.

    Raises `InvalidClientVpnCertificateRevocationListNotFound`.
    """
    owner = find_endpoint(call, call.parameters["ClientVpnEndpointId"], for_change=True)
    former = _find(call, owner.id)
    if former is None:
        raise ActionError(
            "InvalidClientVpnCertificateRevocationListNotFound", f"The endpoint {owner.id} has no revocation list."
        )
    call.before = _records_in(former.pem)
    call.connection.execute(delete(crl).where(crl.c.endpoint_id == owner.id))
    return {"Return": True}


def _parsed(call: Call) -> Sequence[x509.CertificateRevocationList]:
    try:
        return parse_crls(call.parameters[_MEMBER].encode())
    except WrongValue as wrong:
        refuse_problems(_MEMBER, wrong.sentences)
        raise


def _check_size(call: Call, lists: Sequence[x509.CertificateRevocationList]) -> None:
    limit = call.settings.quotas.crl_entries
    entries = sum(len(one) for one in lists)
    if limit and entries > limit:
        raise ActionError(
            "ClientVpnCertificateRevocationListLimitExceeded",
            f"{_MEMBER} has {entries} entries, and the limit is {limit}. Raise `crl_entries` in [api.quotas].",
        )


def _authorities(call: Call, owner: Row[Any]) -> list[x509.Certificate]:
    arns = [option["MutualAuthentication"]["ClientRootCertificateChainArn"] for option in owner.authentication_options]
    chains = call.connection.scalars(select(certificate.c.chain).where(certificate.c.arn.in_(arns)))
    return [authority for chain in chains for authority in authorities_in(chain)]


def _find(call: Call, endpoint_id: str) -> Row[Any] | None:
    return call.connection.execute(select(crl).where(crl.c.endpoint_id == endpoint_id)).one_or_none()


def _put(call: Call, endpoint_id: str, pem: str) -> None:
    former = _find(call, endpoint_id)
    values = {"pem": pem, "status_code": "pending", "status_message": "", "imported_at": call.now}
    if former is None:
        call.connection.execute(insert(crl).values(endpoint_id=endpoint_id, **values))
    else:
        call.before = _records_in(former.pem)
        call.connection.execute(update(crl).where(crl.c.endpoint_id == endpoint_id).values(**values))


def _records_in(pem: str) -> list[dict[str, Any]]:
    return [_record(one) for one in parse_crls(pem.encode())]


def _record(one: x509.CertificateRevocationList) -> dict[str, Any]:
    """A list as the audit log has it: a whole one may be a megabyte."""
    return {
        "Issuer": printable(one.issuer.rfc4514_string()),
        "Entries": len(one),
        "LastUpdate": one.last_update_utc.isoformat(),
        "NextUpdate": one.next_update_utc.isoformat() if one.next_update_utc else None,
    }
