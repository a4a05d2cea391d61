"""`portway pki`: the small certificate authority on the command line."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.options import examples
from gateway.cli.reporting import failing_with_sentences, say
from gateway.pki import Authority, IssuedCertificate, KeyType, PkiError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""A small certificate authority, for those who have none.

    Keeps everything in one directory, ./pki unless --dir says otherwise: the authority (ca.crt, ca.key), the revocation
    list (crl.pem), the keys of the control channel, and NAME.crt and NAME.key of whoever was issued a certificate. All
    files have mode 0600, and no certificate or key is ever overwritten. Each of these commands renews the revocation
    list in time, and a running gateway does too.
    """,
    epilog=examples(
        "portway pki init",
        "portway pki server server --san vpn.example.com",
        "portway pki client ana --group engineering --group sales",
        "portway pki revoke ana && portway reload",
    ),
)

DirectoryOption = Annotated[Path, typer.Option("--dir", readable=False, help="Where the authority keeps its files.")]
KeyTypeOption = Annotated[KeyType, typer.Option("--key-type", help="The kind of key.")]
DaysOption = Annotated[int | None, typer.Option("--days", help="How long the certificate lives; 825 if not given.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The certificate's common name.")]

_DEFAULT_DIRECTORY = Path("pki")
_WIDTH_IN_FILES = 300
"""Columns, where nobody's terminal sets a limit: serial numbers must not be cut short."""


@app.command("init")
def init(
    directory: DirectoryOption = _DEFAULT_DIRECTORY,
    common_name: Annotated[str, typer.Option("--name", help="The authority's own name.")] = "Portway CA",
    key_type: KeyTypeOption = KeyType.ECDSA_P256,
) -> None:
    """Make the authority and the control-channel keys.

    The revocation list begins empty. Whoever gets at ca.key can log in as anybody.
    """
    with failing_with_sentences(PkiError):
        Authority(directory).init(common_name=common_name, key_type=key_type)
    say(f"The authority is in {directory}. Keep ca.key safe: who has it can log in as anybody.")


@app.command("server")
def server(
    name: NameArgument,
    directory: DirectoryOption = _DEFAULT_DIRECTORY,
    san: Annotated[
        list[str] | None, typer.Option("--san", help="A further DNS name or address of the gateway; may be repeated.")
    ] = None,
    days: DaysOption = None,
    key_type: KeyTypeOption = KeyType.ECDSA_P256,
) -> None:
    """Issue a gateway's certificate: NAME.crt and NAME.key.

    Profiles have the client ask for NAME, whatever address it comes to; others may go by the alternative names.
    """
    with _authority(directory) as authority:
        issued = authority.issue_server(name, alternative_names=san or (), days=days, key_type=key_type)
    _say_issued(directory, issued)


@app.command("client")
def client(
    name: NameArgument,
    directory: DirectoryOption = _DEFAULT_DIRECTORY,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="A group that the client is in; may be repeated.")
    ] = None,
    days: DaysOption = None,
    key_type: KeyTypeOption = KeyType.ECDSA_P256,
) -> None:
    """Issue a client's certificate: NAME.crt and NAME.key.

    Its groups are what authorization rules ask for. `portway profile NAME` then prints the client's profile.
    """
    with _authority(directory) as authority:
        issued = authority.issue_client(name, groups=group or (), days=days, key_type=key_type)
    _say_issued(directory, issued)


@app.command("revoke")
def revoke(name: NameArgument, directory: DirectoryOption = _DEFAULT_DIRECTORY) -> None:
    """Revoke a certificate.

    Its files move into the directory `revoked`. A running gateway acts on it with `portway reload`: it ends the
    sessions of the certificate and takes no new ones.
    """
    with _authority(directory) as authority:
        issued = authority.revoke(name)
    say(f"{issued.name} ({issued.serial}) is revoked, and its files are in {directory / 'revoked'}.")


@app.command("list")
def list_certificates(directory: DirectoryOption = _DEFAULT_DIRECTORY) -> None:
    """List what was issued, the oldest first."""
    with _authority(directory) as authority:
        certificates = authority.certificates()
    table = Table("Name", "Role", "State", "Groups", "Expires", "Serial", box=None, pad_edge=False)
    now = datetime.now(UTC)
    for issued in certificates:
        expires = f"{issued.not_after:%Y-%m-%d}"
        groups = ", ".join(issued.groups)
        table.add_row(issued.name, issued.role.value, issued.state(now), groups, expires, issued.serial)
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else _WIDTH_IN_FILES).print(table)


@contextlib.contextmanager
def _authority(directory: Path) -> Iterator[Authority]:
    """Open the authority; every command renews a revocation list that is past half of its life."""
    with failing_with_sentences(PkiError):
        authority = Authority(directory)
        if authority.renew_crl():
            say(f"Renewed {directory / 'crl.pem'}.")
        yield authority


def _say_issued(directory: Path, issued: IssuedCertificate) -> None:
    say(f"{directory / issued.name}.crt and .key are made, and valid until {issued.not_after:%Y-%m-%d}.")
