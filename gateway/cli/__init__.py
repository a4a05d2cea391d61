"""The command `portway`: one function or sub-command per module, put together here.

Owns the list of commands. Each module is imported for its own commands only, and imports what it needs and nothing
else: so `portway --help` is there at once, and `portway pki` works on a host that cannot run the gateway.
"""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.lazy import Command, group_of
from gateway.cli.options import examples

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = {
    "quickstart": Command(
        "gateway.cli.quickstart:quickstart",
        "Set up a first gateway, and run it with the API beside it.",
        ("portway quickstart --state /srv/vpn", "portway quickstart --no-serve --client ana"),
    ),
    "serve": Command(
        "gateway.cli.serve:serve",
        "Run the gateway, in the foreground.",
        ("portway serve --config /etc/portway/config.toml",),
    ),
    "api": Command(
        "gateway.cli.api:api",
        "Serve the API, in the foreground.",
        ("portway api --config /etc/portway/config.toml",),
    ),
    "check": Command(
        "gateway.cli.check:check",
        "Say what is wrong with a configuration, before it runs.",
        ("portway check --config config.toml", "portway check --no-host   # of a configuration for another host"),
    ),
    "profile": Command(
        "gateway.cli.profile:profile",
        "Print a profile for a stock OpenVPN client.",
        (
            "portway profile ana --remote vpn.example.com > ana.ovpn",
            "portway profile ana --endpoint main --protection tls-crypt --output ana.ovpn",
        ),
    ),
    "connections": Command(
        "gateway.cli.connections:connections",
        "List the clients that are connected.",
        ("portway connections", "portway connections --json | jq -r '.[].common_name'"),
    ),
    "terminate": Command(
        "gateway.cli.terminate:terminate",
        "End a session, or all sessions of a user.",
        ("portway terminate --user ana", "portway terminate --id cvpn-connection-3c5bda0d166df6895"),
    ),
    "status": Command(
        "gateway.cli.status:status",
        "Say how the gateway is.",
        ("portway status", "portway status --json | jq '.endpoints[].sessions'"),
    ),
    "explain": Command(
        "gateway.cli.explain:explain",
        "Say whether a packet would pass, and why.",
        (
            "portway explain --groups engineering,sales --to 10.20.0.7:443/tcp",
            "portway explain --id cvpn-connection-3c5bda0d166df6895 --to 10.20.0.7",
        ),
    ),
    "reload": Command(
        "gateway.cli.reload:reload", "Have the gateway load its configuration again.", ("portway reload",)
    ),
    "plan": Command(
        "gateway.cli.objects.declaration:plan",
        "Show what applying a file would do.",
        ("portway plan endpoints.toml", "portway plan endpoints.toml --json | jq -r .Digest"),
    ),
    "apply": Command(
        "gateway.cli.objects.declaration:apply",
        "Make endpoints what a file says: all or nothing.",
        (
            "portway apply endpoints.toml",
            "portway apply endpoints.toml --expect $(portway plan endpoints.toml --json | jq -r .Digest)",
        ),
    ),
    "export": Command(
        "gateway.cli.objects.declaration:export",
        "Print endpoints as a file for `portway apply`.",
        ("portway export > endpoints.toml", "portway export --output endpoints.toml"),
    ),
    "pki": Command("gateway.cli.pki:app", "A small certificate authority, for those who have none."),
    "endpoint": Command("gateway.cli.objects.endpoint:app", "Endpoints: what clients connect to."),
    "network": Command("gateway.cli.objects.network:app", "Networks that endpoints may lead to."),
    "association": Command("gateway.cli.objects.association:app", "Which networks an endpoint leads to."),
    "route": Command("gateway.cli.objects.route:app", "Where an endpoint's traffic goes."),
    "rule": Command("gateway.cli.objects.rule:app", "Who may reach what."),
    "security-group": Command("gateway.cli.objects.security_group:app", "Stateful filters by protocol and port."),
    "connection": Command("gateway.cli.objects.connection:app", "Connections of clients."),
    "crl": Command("gateway.cli.objects.crl:app", "Revocation lists of endpoints."),
    "certificate": Command("gateway.cli.objects.certificate:app", "Certificates for endpoints."),
    "tag": Command("gateway.cli.objects.tag:app", "Tags on objects."),
    "access-key": Command("gateway.cli.objects.access_key:app", "Access keys for the API."),
    "log": Command("gateway.cli.objects.log:app", "The connection log."),
    "usage": Command("gateway.cli.objects.usage:app", "Hours of associations and connections."),
    "audit": Command("gateway.cli.objects.audit:app", "Who changed what, and when."),
    "completion": Command(
        "gateway.cli.completion:completion",
        "Print what a shell completes commands by.",
        (
            "source <(portway completion bash)   # in ~/.bashrc",
            "portway completion zsh > /usr/local/share/zsh/site-functions/_portway",
            "portway completion fish > ~/.config/fish/completions/portway.fish",
        ),
    ),
}
"""The commands, in the order of `portway --help`."""

app = typer.Typer(
    name="portway",
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415 - half of what the other commands take to start

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
    `terminate`, `status`, `explain` and `reload` speak with it while it runs, as root or as its own user.

    From `endpoint` to `audit`, commands speak with the API: they make, list, show, modify and delete what is not in the
    configuration file, on this host or, with --api-url, elsewhere. `plan` and `apply` do the same by a file.

    Every command has --help. The exit status is 0 when all is well, 1 with a sentence on standard error when it is not,
    and 2 when the command line is not understood.
    """


def main() -> None:
    """Run the command line."""
    app(prog_name="portway")  # which `python -m gateway` is as well
