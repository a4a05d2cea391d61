"""`portway crl`: which client certificates of an endpoint are revoked."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from gateway.cli.files import read_pem
from gateway.cli.objects.service import EndpointOption, Service, command
from gateway.cli.reporting import fail

__all__ = ["app"]

app = typer.Typer(help="Revocation lists of endpoints.")


@command(app, "create", "portway crl create pki/crl.pem --endpoint staff")
def create(
    service: Service,
    *,
    file: Annotated[Path, typer.Argument(readable=False, help="The list, in PEM.")],
    endpoint: EndpointOption = None,
) -> None:
    """Put a list in the place of the one that an endpoint has. Sessions of revoked certificates end."""
    text = read_pem(file)
    endpoint_id = service.endpoint(endpoint)
    reply = service.call(
        "ImportClientVpnClientCertificateRevocationList",
        ClientVpnEndpointId=endpoint_id,
        CertificateRevocationList=text,
    )
    service.done(reply, f"{endpoint_id} has the list of {file}.")


@command(app, "show", "portway crl show --endpoint staff | openssl crl -noout -text")
def show(service: Service, endpoint: EndpointOption = None) -> None:
    """Print the list that an endpoint has."""
    reply = service.call(
        "ExportClientVpnClientCertificateRevocationList", ClientVpnEndpointId=service.endpoint(endpoint)
    )
    if not reply.get("CertificateRevocationList"):
        raise fail("The endpoint has no list: nothing is revoked.")
    service.done(reply, reply["CertificateRevocationList"].rstrip("\n"))


@command(app, "delete", "portway crl delete --endpoint staff")
def delete(service: Service, endpoint: EndpointOption = None) -> None:
    """Take away the list that an endpoint has. Whoever was revoked may connect again."""
    endpoint_id = service.endpoint(endpoint)
    reply = service.call("DeleteClientVpnClientCertificateRevocationList", ClientVpnEndpointId=endpoint_id)
    service.done(reply, f"{endpoint_id} has no list any more: nothing is revoked.")
