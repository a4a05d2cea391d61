"""`portway explain`: why a packet passes, or not."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.daemon_access import SocketOption, ask_daemon
from gateway.cli.options import ConfigOption, JsonOption  # noqa: TC001 - typer reads the annotations
from gateway.cli.reporting import fail, failing_with_sentences, print_json
from gateway.config import ConfigError, load_config
from gateway.control_requests import explanation_document
from gateway.object_ids import endpoint_id, is_endpoint_id
from policy import explain as explain_policy

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["explain"]

_DESTINATION = re.compile(r"(?P<address>[0-9.]+)(?::(?P<port>[0-9]{1,5})(?:/(?P<protocol>tcp|udp))?)?")


def explain(  # noqa: PLR0917 - typer passes all of them by name
    config: ConfigOption,
    to: Annotated[str, typer.Option("--to", metavar="ADDR[:PORT/PROTO]", help="The packet's destination.")],
    session: Annotated[str | None, typer.Option("--id", help="Whose packet: a connected session's id.")] = None,
    groups: Annotated[
        str | None, typer.Option("--groups", help="Whose packet: groups, separated by commas; empty for none.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", "-e", help="The endpoint's name, or its id; needed where there are several."),
    ] = None,
    socket: SocketOption = None,
    json: JsonOption = False,
) -> None:
    """Say whether a packet would pass, and why.

    Names the route, the rule and the security group that decide, and what would have to change for the packet to pass.
    Rules hold for every protocol and port; security groups look at them. The exit status is 0 whatever the verdict is.

    With --id the running gateway is asked about a client that is connected. With --groups the answer comes from the
    configuration, so that a rule can be tried out before it is in force; or, with --socket and for an endpoint that was
    made at run time, by its id, from the running gateway.
    """
    destination = _parse_destination(to)
    if (session is None) == (groups is None):
        raise fail("Say whose packet it is: either --id or --groups.")
    if session is not None:
        document = ask_daemon(config, socket, {"request": "explain", "id": session, **destination})
    else:
        document = None if socket else _explain_by_file(config, endpoint, _split(groups), destination)
        if document is None:
            asked = {"request": "explain", "groups": _split(groups), "endpoint": endpoint, **destination}
            document = ask_daemon(config, socket, asked)
    if json:
        print_json(document)
    else:
        typer.echo(document["text"])


def _explain_by_file(
    config: Path, name: str | None, groups: list[str], destination: dict[str, Any]
) -> dict[str, Any] | None:
    """None for the id of an endpoint that the file does not declare."""
    with failing_with_sentences(ConfigError):
        spec = load_config(config).spec
    chosen = [one for one in spec.endpoints if name in (None, one.name, endpoint_id(one.name))]
    if not chosen and name is not None and is_endpoint_id(name):
        return None
    if not spec.endpoints:
        raise fail("The configuration declares no endpoint. Say with --endpoint the id of one made at run time.")
    if len(chosen) != 1:
        names = ", ".join(endpoint.name for endpoint in spec.endpoints)
        missing = f'There is no endpoint "{name}" in the configuration. ' if name else ""
        raise fail(f"{missing}Say with --endpoint which one is meant: {names}, or the id of one made at run time.")
    address = IPv4Address(destination["destination"])
    explanation = explain_policy(chosen[0], frozenset(groups), address, destination["port"], destination["protocol"])
    return explanation_document(explanation)


def _parse_destination(text: str) -> dict[str, Any]:
    """Take `10.20.0.9`, `10.20.0.9:443` or `10.20.0.9:443/tcp` apart."""
    found = _DESTINATION.fullmatch(text)
    try:
        address = IPv4Address(found["address"] if found else text)
    except AddressValueError as error:
        raise fail(f"{text} is not an IPv4 address, or one with a port: 10.20.0.9, 10.20.0.9:443/tcp.") from error
    port = int(found["port"]) if found and found["port"] else None
    if port is not None and port > 65535:
        raise fail(f"{port} is no port: they end at 65535.")
    return {"destination": str(address), "port": port, "protocol": found["protocol"] if found else None}


def _split(groups: str | None) -> list[str]:
    return [group.strip() for group in (groups or "").split(",") if group.strip()]
