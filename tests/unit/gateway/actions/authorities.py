"""Certificates that tests of actions use: an authority, a server's, and both in a store."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.actions.certificate_store import publish_certificate
from gateway.store import Store  # noqa: TC001 - the dataclass's users construct it
from tests.unit.gateway.actions.harness import NOW, SETTINGS
from tests.unit.gateway.certificate_maker import Made, Recipe, make_ca

ROOT = make_ca("portway test root")
SERVER = Recipe(name="vpn.example.com", issuer=ROOT).make()


@dataclass(frozen=True)
class Arns:
    root: str
    server: str


def publish(store: Store, *chain: Made, with_key: bool = True) -> str:
    """Offer a certificate, followed by its issuers."""
    with store.write() as connection:
        return publish_certificate(
            connection,
            store.vault,
            SETTINGS,
            chain=b"".join(made.pem for made in chain),
            private_key=chain[0].key_pem if with_key else None,
            now=NOW,
        )


def publish_both(store: Store) -> Arns:
    """Offer an authority and a server's certificate of it."""
    return Arns(publish(store, ROOT, with_key=False), publish(store, SERVER, ROOT))
