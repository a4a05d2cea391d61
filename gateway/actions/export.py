"""The profile that clients of an endpoint begin with: everything but their own certificate and key, as with AWS."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from gateway.actions.call import ActionError, Call, action
from gateway.actions.certificate_store import authorities_in
from gateway.actions.control_channel_keys import TLS_CRYPT, open_control_channel_keys
from gateway.actions.endpoint_shapes import endpoint_name
from gateway.actions.objects import find_endpoint
from gateway.config.endpoint_options import EndpointOptions
from gateway.endpoint_spec import endpoint_spec
from gateway.profile import ProfileError, build_profile, find_server_authority
from gateway.store.schema import certificate, route
from policy import Route, ServerCertificate

if TYPE_CHECKING:
    from sqlalchemy import Row

    from policy import EndpointSpec

__all__ = ["export_configuration"]


@action("ExportClientVpnClientConfiguration")
def export_configuration(call: Call) -> dict[str, Any]:
    """Build the profile. Raises `UnsupportedOperation` where none can be built."""
    row = find_endpoint(call, call.parameters["ClientVpnEndpointId"])
    if row.origin == "file" and not row.settings.get("control_channel"):
        raise ActionError(
            "UnsupportedOperation",
            f"The endpoint {row.id} accepts keys only that are each client's own, or kept in {row.declared_in}. "
            f"Run `portway profile NAME --endpoint {row.name}` there: it makes complete profiles.",
        )
    host = endpoint_name(call, row)
    if not host:
        raise ActionError(
            "UnsupportedOperation",
            "Where clients find this gateway is not configured. Set public_hostname in [endpoint_defaults], "
            "or dns_suffix in [api].",
        )
    spec = _spec(call, row)
    try:
        authority = find_server_authority(spec, _other_authorities(call))
        text = build_profile(spec, None, [host], server_authority=authority)
    except ProfileError as error:
        raise ActionError("UnsupportedOperation", str(error)) from error
    return {"ClientConfiguration": text}


def _spec(call: Call, row: Row[Any]) -> EndpointSpec:
    """As much of the endpoint as a client has to know."""
    options = EndpointOptions.readable(row.settings)
    spec = endpoint_spec(row.id, row._asdict(), options, call.settings.endpoint_defaults)
    keys = open_control_channel_keys(call.vault, row.control_channel_keys)
    return replace(
        spec,
        server_certificate=ServerCertificate(_chain(call, row.server_certificate_arn).encode(), b""),
        authentication=replace(spec.authentication, client_root_certificate_chain=_client_roots(call, row)),
        control_channel=replace(spec.control_channel, tls_crypt_key=keys.get(TLS_CRYPT)),
        routes=_routes(call, row),
    )


def _chain(call: Call, arn: str) -> str:
    chain = call.connection.scalars(select(certificate.c.chain).where(certificate.c.arn == arn)).one_or_none()
    if chain is None:
        raise ActionError("UnsupportedOperation", f"There is no certificate {arn} any more. Give the endpoint another.")
    return str(chain)


def _client_roots(call: Call, row: Row[Any]) -> bytes:
    arns = [option["MutualAuthentication"]["ClientRootCertificateChainArn"] for option in row.authentication_options]
    authorities = [authority for arn in arns for authority in authorities_in(_chain(call, arn))]
    return b"".join(authority.public_bytes(Encoding.PEM) for authority in authorities)


def _other_authorities(call: Call) -> bytes:
    """All that there are, so that a server's certificate without its issuers finds them."""
    chains = call.connection.scalars(select(certificate.c.chain).where(certificate.c.private_key.is_(None)))
    return "".join(chains).encode()


def _routes(call: Call, row: Row[Any]) -> tuple[Route, ...]:
    rows = call.connection.execute(
        select(route.c.destination_cidr, route.c.subnet_id)
        .where(route.c.endpoint_id == row.id, route.c.status_code != "deleting")
        .order_by(route.c.destination_cidr, route.c.subnet_id)
    )
    found = []
    for one in rows:
        with suppress(ValueError):  # what another hand has written: the gateway has no such route either, and says so
            found.append(Route(IPv4Network(one.destination_cidr), one.subnet_id))
    return tuple(found)
