"""The command `portway`: one function or sub-command per module, put together here.

Owns the list of commands. Every module imports what it needs and nothing else, so that `portway pki` works on a host
that cannot run the gateway.
"""

from __future__ import annotations

import typer

from gateway.cli.check import check
from gateway.cli.connections import connections
from gateway.cli.explain import explain
from gateway.cli.pki import app as pki_app
from gateway.cli.profile import profile
from gateway.cli.quickstart import quickstart
from gateway.cli.reload import reload
from gateway.cli.serve import serve
from gateway.cli.status import status
from gateway.cli.terminate import terminate

__all__ = ["app", "main"]

app = typer.Typer(
    name="portway",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A remote-access VPN gateway for stock OpenVPN clients.",
)
for command in (quickstart, serve, check, profile, connections, terminate, status, explain, reload):
    app.command()(command)
app.add_typer(pki_app, name="pki")


def main() -> None:
    """Run the command line."""
    app()
