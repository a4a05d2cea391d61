"""`portway certificate`: the certificates that endpoints may be made with."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from gateway.cli.files import read_pem
from gateway.cli.objects.service import Service, command

__all__ = ["app"]

app = typer.Typer(help="Certificates for endpoints.\n\nThose of `portway pki` are there already.")

COLUMNS = (
    ("Name", "Name"),
    ("Kind", "Kind"),
    ("Origin", "Origin"),
    ("Valid until", "NotAfter"),
    ("Used by", "InUseBy"),
    ("ARN", "CertificateArn"),
)


@command(
    app,
    "create",
    "portway certificate create server.crt --key server.key --chain issuers.crt",
    "portway certificate create ca.crt   # an authority for clients",
)
def create(
    service: Service,
    *,
    certificate: Annotated[Path, typer.Argument(readable=False, help="The certificate, in PEM.")],
    key: Annotated[Path | None, typer.Option("--key", readable=False, help="Its key; none for an authority.")] = None,
    chain: Annotated[Path | None, typer.Option("--chain", readable=False, help="Those of its issuers.")] = None,
    renews: Annotated[
        str | None, typer.Option("--renews", help="The ARN or name of an imported one that it takes the place of.")
    ] = None,
) -> None:
    """Import a certificate of a server with its key, or of an authority without."""
    kind = "authority" if key is None else "server"
    reply = service.call(
        "ImportCertificate",
        Certificate=read_pem(certificate),
        PrivateKey=read_pem(key) if key else None,
        CertificateChain=read_pem(chain) if chain else None,
        CertificateArn=service.certificate(renews, kind) if renews else None,
    )
    service.done(reply, f"{reply['CertificateArn']} is imported.")


@command(app, "list", "portway certificate list")
def list_certificates(service: Service) -> None:
    """List the certificates."""
    rows = service.list("ListCertificates", "CertificateSummaryList")
    service.show_list(rows, COLUMNS, nothing="No certificate. Make some with `portway pki`, or import one.")


CertificateArgument = Annotated[str, typer.Argument(help="Its ARN or name.")]
AuthorityOption = Annotated[bool, typer.Option("--authority", help="The name is an authority's.")]


@command(app, "show", "portway certificate show server")
def show(service: Service, certificate: CertificateArgument, authority: AuthorityOption = False) -> None:
    """Show all about a certificate."""
    arn = _arn(service, certificate, authority)
    service.show(service.call("DescribeCertificate", CertificateArn=arn)["Certificate"])


@command(app, "delete", "portway certificate delete old-server", "portway certificate delete 'Old CA' --authority")
def delete(service: Service, certificate: CertificateArgument, authority: AuthorityOption = False) -> None:
    """Delete an imported certificate that no endpoint uses."""
    arn = _arn(service, certificate, authority)
    reply = service.call("DeleteCertificate", CertificateArn=arn)
    service.done(reply, f"{arn} is deleted.")


def _arn(service: Service, certificate: str, authority: bool) -> str:
    return service.certificate(certificate, "authority" if authority else "server")
