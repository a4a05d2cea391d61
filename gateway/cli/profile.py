"""`portway profile`: a client's complete profile, on standard output or in a file of its own."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.files import write_new
from gateway.cli.options import ConfigOption  # noqa: TC001 - typer reads the annotations
from gateway.cli.reporting import failing_with_sentences, say
from gateway.config import Config, ConfigError, load_config
from gateway.config.values import is_host
from gateway.pki import Authority, PkiError
from gateway.profile import Credentials, ProfileError, build_profile, find_server_authority
from policy import ControlChannelProtection

if TYPE_CHECKING:
    from policy import EndpointSpec

__all__ = ["profile"]


def profile(  # noqa: PLR0917 - typer passes all of them by name
    name: Annotated[str, typer.Argument(metavar="NAME", help="The client, as `portway pki client` named it.")],
    config: ConfigOption,
    endpoint: Annotated[
        str, typer.Option("--endpoint", "-e", help="The endpoint's name; needed where there are several.")
    ] = "",
    remote: Annotated[
        list[str] | None,
        typer.Option(
            "--remote",
            "-r",
            help="A name or address that clients reach the gateway by, in place of public_hostname; may be repeated.",
        ),
    ] = None,
    protection: Annotated[
        ControlChannelProtection | None,
        typer.Option(
            "--protection",
            help="One that the endpoint accepts, if not its first. OpenVPN 2.4 knows no tls-crypt-v2.",
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", readable=False, help="The authority's directory, if not the configuration's pki_dir."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", readable=False, help="A new file for the profile, readable by its owner only."),
    ] = None,
) -> None:
    """Print a profile for a stock OpenVPN client.

    It holds everything that the client needs and works unedited in OpenVPN 2.4 to 2.7 and OpenVPN Connect: addresses,
    certificates, and the client's private key, so hand it over as you would a password. The client tries the first
    remote by the first transport, then the others.
    """
    with failing_with_sentences(ConfigError, PkiError, ProfileError):
        loaded = load_config(config)
        spec = _choose_endpoint(loaded, endpoint)
        authority = Authority(directory or loaded.settings.pki_dir)
        text = _profile(spec, authority, name, _check_remotes(remote or []), protection)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_new(output, text)
        say(f"The profile is in {output}.")


def _profile(
    endpoint: EndpointSpec,
    authority: Authority,
    name: str,
    remotes: list[str],
    protection: ControlChannelProtection | None,
) -> str:
    files = authority.client_files(name)
    chosen = protection or endpoint.control_channel.accept[0]
    needs_key = chosen is ControlChannelProtection.TLS_CRYPT_V2
    credentials = Credentials(
        name=name,
        certificate=files.certificate.decode(),
        private_key=files.private_key.decode(),
        tls_crypt_v2_key=authority.client_tls_crypt_v2_key(name) if needs_key else "",
    )
    server_authority = find_server_authority(endpoint, files.authority)
    return build_profile(endpoint, credentials, remotes, server_authority=server_authority, protection=chosen)


def _choose_endpoint(config: Config, name: str) -> EndpointSpec:
    endpoints = config.spec.endpoints
    names = ", ".join(endpoint.name for endpoint in endpoints)
    if not name and len(endpoints) == 1:
        return endpoints[0]
    if not endpoints:
        raise ProfileError(
            "The configuration declares no endpoint: those made at run time export profiles of their own."
        )
    if not name:
        raise ProfileError(f"There are several endpoints ({names}): say with --endpoint for which the profile is.")
    try:
        return config.spec.endpoint(name)
    except KeyError:
        raise ProfileError(f'There is no endpoint "{name}". There are: {names}.') from None


def _check_remotes(remotes: list[str]) -> list[str]:
    for remote in remotes:
        if not is_host(remote):
            raise ProfileError(f"{remote!r} is neither a DNS name nor an address; the port is the endpoint's own.")
    return remotes
