"""The command `portway`: one function or sub-command per module, put together here.

Owns the list of commands. Every module imports what it needs and nothing else, so that `portway pki` works on a host
that cannot run the gateway.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.api import api
from gateway.cli.check import check
from gateway.cli.connections import connections
from gateway.cli.explain import explain
from gateway.cli.objects import (
    access_key,
    association,
    audit,
    certificate,
    connection,
    crl,
    declaration,
    endpoint,
    log,
    network,
    route,
    rule,
    security_group,
    tag,
    usage,
)
from gateway.cli.options import examples
from gateway.cli.pki import app as pki_app
from gateway.cli.profile import profile
from gateway.cli.quickstart import quickstart
from gateway.cli.reload import reload
from gateway.cli.serve import serve
from gateway.cli.status import status
from gateway.cli.terminate import terminate

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["app", "main"]

EXAMPLES: dict[Callable[..., None], tuple[str, ...]] = {
    quickstart: ("portway quickstart --state /srv/vpn", "portway quickstart --no-serve --client ana"),
    serve: ("portway serve --config /etc/portway/config.toml",),
    api: ("portway api --config /etc/portway/config.toml",),
    check: ("portway check --config config.toml", "portway check --no-host   # of a configuration for another host"),
    profile: (
        "portway profile ana --remote vpn.example.com > ana.ovpn",
        "portway profile ana --endpoint main --protection tls-crypt --output ana.ovpn",
    ),
    connections: ("portway connections", "portway connections --json | jq -r '.[].common_name'"),
    terminate: ("portway terminate --user ana", "portway terminate --id cvpn-connection-3c5bda0d166df6895"),
    status: ("portway status", "portway status --json | jq '.endpoints[].sessions'"),
    explain: (
        "portway explain --groups engineering,sales --to 10.20.0.7:443/tcp",
        "portway explain --id cvpn-connection-3c5bda0d166df6895 --to 10.20.0.7",
    ),
    reload: ("portway reload",),
}
"""The commands, in the order of `portway --help`, each with command lines to copy."""

app = typer.Typer(name="portway", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
for command, lines in EXAMPLES.items():
    app.command(epilog=examples(*lines))(command)
app.add_typer(pki_app, name="pki")
declaration.register(app)
OBJECTS = {
    "endpoint": endpoint.app,
    "network": network.app,
    "association": association.app,
    "route": route.app,
    "rule": rule.app,
    "security-group": security_group.app,
    "connection": connection.app,
    "crl": crl.app,
    "certificate": certificate.app,
    "tag": tag.app,
    "access-key": access_key.app,
    "log": log.app,
    "usage": usage.app,
    "audit": audit.app,
}
"""What is made, changed and asked for while the gateway runs, by the name of its commands."""
for name, group in OBJECTS.items():
    app.add_typer(group, name=name, no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"portway {metadata.version('portway')}")
        raise typer.Exit


@app.callback(
    epilog=examples(
        "portway pki init && portway pki server server --san vpn.example.com && portway pki client ana",
        "portway check && portway serve",
        "portway profile ana --remote vpn.example.com > ana.ovpn",
    )
)
def portway(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A remote-access VPN gateway for stock OpenVPN clients.

    `portway quickstart` sets up a first gateway by itself. `serve` runs one by its configuration file; `connections`,
    `terminate`, `status`, `explain` and `reload` speak with it while it runs, as root or as its own user. Every command
    has --help. The exit status is 0 when all is well, 1 with a sentence on standard error when it is not, and 2 when
    the command line is not understood.
    """


def main() -> None:
    """Run the command line."""
    app()
