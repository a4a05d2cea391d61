"""A lab with Portway in it: certificates, a running gateway, and clients with the profiles that Portway exports."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from tests.lab.config import endpoint, gateway_config
from tests.lab.gateway import Gateway, Pki, portway
from tests.lab.network import OFFICE_HOST, VAULT_HOST, Lab
from tests.lab.openvpn import OpenVpnClient

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.lab.config import Toml

__all__ = ["PEOPLE", "Site", "make_pki"]

PEOPLE = {
    "alice": ("engineering",),
    "bob": ("finance",),
    "carol": ("engineering", "finance"),
    "dave": (),
}
"""The clients that every site knows, with their groups."""


def make_pki(directory: Path, key_type: str = "ecdsa-p256") -> Pki:
    """Certificates for a gateway and for PEOPLE, as `portway pki` makes them."""
    pki = Pki(directory, key_type)
    for name, groups in PEOPLE.items():
        pki.client(name, *groups)
    return pki


class Site:
    """One lab and one daemon for as long as the `with` block lasts.

    `pki` is a directory to start from; the site works on a copy, so that what it revokes stays revoked only here.
    """

    def __init__(self, directory: Path, pki: Path, *endpoints: Toml, clients: int = 1) -> None:
        self.directory = directory
        self.pki = directory / "pki"
        shutil.copytree(pki, self.pki)
        self.config_file = directory / "config.toml"
        self.config = gateway_config(directory / "state", *(endpoints or (endpoint(),)))
        self.lab = Lab(directory, clients=clients)
        self._stack = ExitStack()
        self._profiles: dict[tuple[str, ...], Path] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.lab)
            self.lab.start_web_servers()
            self.start_gateway()
            stack.callback(self._stop_gateway)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.gateway.tail())
        self._stack.close()

    def start_gateway(self, *wrapper: str) -> None:
        """Start the daemon, by way of a wrapper command if there is one; the daemon before must have ended."""
        log = self.lab.log("gateway")
        self.gateway = Gateway(self.lab.gateway, self.directory, self.config, log=log, wrapper=wrapper)

    def revoke(self, name: str) -> None:
        """Revoke a client's certificate, as an administrator does, and have the daemon reload."""
        portway("pki", "revoke", name, "--dir", self.pki)
        self.gateway.reload()

    def _stop_gateway(self) -> None:
        self.gateway.stop()

    def profile(self, name: str, *, protection: str = "", endpoint: str = "", host: int = 1) -> Path:
        """What `portway profile` exports, in a file."""
        key = (name, protection, endpoint, str(host))
        if key not in self._profiles:
            path = self.directory / f"{'-'.join(filter(None, key))}.ovpn"
            choices = {
                "--protection": protection,
                "--endpoint": endpoint or self.config["endpoint"][0]["name"],
                "--remote": self.lab.gateway_address(host),
            }
            options = [item for option, value in choices.items() if value for item in (option, value)]
            portway("profile", name, "--config", self.config_file, "--output", path, *options)
            self._profiles[key] = path
        return self._profiles[key]

    def client(
        self, name: str, *options: str | Path, protection: str = "", endpoint: str = "", host: int = 1
    ) -> OpenVpnClient:
        """A stock client that has just been started with its exported profile, on one of the client hosts."""
        profile = self.profile(name, protection=protection, endpoint=endpoint, host=host)
        return OpenVpnClient(self.lab.clients[host - 1], profile, *options, log=self.lab.log(f"client-{name}"))

    def reaches_office(self, client: OpenVpnClient) -> bool:
        return client.ping(OFFICE_HOST)

    def reaches_vault(self, client: OpenVpnClient) -> bool:
        return client.ping(VAULT_HOST)
