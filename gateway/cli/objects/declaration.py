"""`portway plan`, `apply` and `export`: the endpoints of the store as a file, and a file as what they are to be."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.files import write_new
from gateway.cli.objects.plan_text import plan_text
from gateway.cli.objects.service import Service, calling_api
from gateway.cli.reporting import fail, say
from gateway.cli.toml_text import build_toml
from gateway.config.declaration_files import read_declaration

__all__ = ["apply", "export", "plan"]

FileArgument = Annotated[
    Path, typer.Argument(readable=False, help="The declaration: a file of the shape of config.toml.")
]
PruneOption = Annotated[
    bool, typer.Option("--prune", help="Delete the endpoints and security groups that the file does not name.")
]


@calling_api
def plan(service: Service, file: FileArgument, *, prune: PruneOption = False) -> None:
    """Show what applying a file would do.

    That is what is created, changed and deleted, who gains and loses access to what, and which connected users notice.
    Nothing is changed. The digest that is shown makes `portway apply --expect` do this and nothing else.
    """
    reply = _apply(service, file, prune=prune, Plan=True)
    service.done(reply, f"{plan_text(reply)}\n\nDigest: {reply['Digest']}")


@calling_api
def apply(
    service: Service,
    file: FileArgument,
    *,
    prune: PruneOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    expect: Annotated[
        str | None, typer.Option("--expect", help="The digest of a plan; where another would come out, do nothing.")
    ] = None,
) -> None:
    """Make endpoints what a file says: all or nothing.

    Endpoints that it does not name stay as they are. What it names gets exactly the networks, routes, rules and tags
    that it has there. On a terminal, the plan is shown first, and carried out once you agree.
    """
    if yes or expect:
        reply = _apply(service, file, prune=prune, ExpectedDigest=expect)
        service.done(reply, plan_text(reply))
        return
    if not _is_terminal():
        raise fail("Nobody can be asked here. Say --yes, or --expect with the digest of a plan.")
    planned = _apply(service, file, prune=prune, Plan=True)
    if not planned.get("Changes"):
        service.done(planned, plan_text(planned))
        return
    say(plan_text(planned))
    if not typer.confirm("Apply this?", err=True):
        raise fail("Nothing is changed.")
    reply = _apply(service, file, prune=prune, ExpectedDigest=planned["Digest"])
    service.done(reply, "Applied.")


@calling_api
def export(
    service: Service,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", readable=False, help="A file to write, which must not exist.")
    ] = None,
) -> None:
    """Print endpoints as a file for `portway apply`.

    These are the endpoints that were made at run time, and the security groups. Certificates are named by their ARNs;
    keys stay in the store.
    """
    document = json.loads(service.call("ExportConfiguration")["Document"])
    if service.json and output is None:
        service.show(document)
        return
    text = build_toml(document)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_new(output, text)
    say(f"The endpoints are in {output}.")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _apply(service: Service, file: Path, *, prune: bool, **more: Any) -> dict[str, Any]:
    document = json.dumps(read_declaration(file))
    return service.call("ApplyConfiguration", Document=document, Prune=prune, **more)
