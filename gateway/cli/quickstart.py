"""`portway quickstart`: from nothing to a running gateway and a profile, by the same steps that a person would take."""

from __future__ import annotations

import os
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import pki
from gateway.cli.api_process import api_beside
from gateway.cli.profile import profile as make_profile
from gateway.cli.reporting import fail, failing_with_sentences, say
from gateway.cli.serve import serve as run_gateway
from gateway.hostnet import HostNetworkError, read_host_facts
from gateway.pki import Authority, PkiError
from gateway.quickstart import QuickstartError, build_config, choose_pool, find_uplink

if TYPE_CHECKING:
    from gateway.quickstart import Uplink
    from policy import HostFacts

__all__ = ["quickstart"]

_SERVER = "server"


def quickstart(
    state: Annotated[Path, typer.Option(readable=False, help="Where everything is kept.")] = Path("/var/lib/portway"),
    config: Annotated[
        Path | None, typer.Option(readable=False, help="The configuration, if not config.toml beside the rest.")
    ] = None,
    client: Annotated[str, typer.Option(help="Who the first profile is for.")] = "laptop",
    serve: Annotated[bool, typer.Option(help="Run the gateway and the API as well.")] = True,
) -> None:
    """Set up a first gateway, and run it with the API beside it.

    Makes an authority, a certificate for the gateway and one for a client, a configuration for the network that this
    host's default route leaves by, and the client's profile. Nothing that exists is changed: a second start runs what
    the first has made.
    """
    state = state.absolute()
    config = (config or state / "config.toml").absolute()
    if not _is_there(config):
        with failing_with_sentences(QuickstartError, HostNetworkError, PkiError):
            facts = read_host_facts()
            uplink = find_uplink(facts)
            _make_certificates(state / "pki", uplink, client)
            _write_config(config, state, facts, uplink)
    path = state / f"{client}.ovpn"
    if not _is_there(path):
        make_profile(client, config=config, output=path)
    say(f"Configuration: {config}\nProfile:       {path}   (for any OpenVPN client; it holds a private key)")
    if serve:
        with api_beside(config):
            run_gateway(config)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise fail(
            f"{path} cannot be looked for: {error.strerror}. Run this as root, or choose another --state."
        ) from None


def _make_certificates(directory: Path, uplink: Uplink, client: str) -> None:
    """What is missing of authority, gateway certificate and client certificate."""
    authority = Authority(directory)
    if not authority.exists():
        pki.init(directory)
    issued = {certificate.name for certificate in authority.certificates()}
    if _SERVER not in issued:
        pki.server(_SERVER, directory, san=[str(uplink.address.ip)])
    if client not in issued:
        pki.client(client, directory)


def _write_config(path: Path, state: Path, facts: HostFacts, uplink: Uplink) -> None:
    addresses = (address for interface in facts.interfaces for address in interface.addresses)
    pool = choose_pool(address.network for address in addresses if isinstance(address, IPv4Interface))
    text = build_config(uplink, pool, state=state, pki=state / "pki")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise fail(f"{path} cannot be written: {error.strerror}.") from None
    say(f"Clients get addresses from {pool} and reach {uplink.address.network} by {uplink.interface}.")
