"""Gathers what this gateway's own files declare, and how it fares: what is then published."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from gateway.managed.declared_rows import DeclaredEndpoint
from gateway.managed.publishing import Declaration, PublishedCertificate
from gateway.pki import Authority, PkiError, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from gateway.config import Config
    from gateway.hostnet import HostProblem

__all__ = ["declare"]

logger = structlog.get_logger("store")


def declare(
    file: Path, config: Config, down: Mapping[str, str], problems: Iterable[HostProblem], started_at: float
) -> Declaration:
    """Gather it. `down` says why endpoints do not run, `problems` what the host lacks. Blocks."""
    known = tuple(problems)
    return Declaration(
        node=config.settings.node,
        file=file.absolute(),
        started_at=started_at,
        service=config.settings.api.service,
        networks=config.networks,
        endpoints=tuple(
            DeclaredEndpoint(
                spec,
                down.get(spec.name, ""),
                tuple(
                    (one.target_network, one.text) for one in known if one.endpoint == spec.name and one.target_network
                ),
            )
            for spec in config.spec.endpoints
        ),
        certificates=_certificates(config.settings.pki_dir),
    )


def _certificates(directory: Path) -> tuple[PublishedCertificate, ...]:
    """The authority of `portway pki` and the gateways' certificates that it has issued."""
    authority = Authority(directory)
    try:
        return tuple(_of(authority)) if authority.exists() else ()
    except (PkiError, OSError) as error:
        logger.warning("the certificates of the authority cannot be offered", error=str(error))
        return ()


def _of(authority: Authority) -> Iterator[PublishedCertificate]:
    root, now = authority.certificate(), datetime.now(UTC)
    yield PublishedCertificate(root)
    for issued in authority.certificates():
        names = (f"{issued.name}.crt", f"{issued.name}.key")
        is_usable = issued.role is Role.SERVER and issued.state(now) == "valid"
        if is_usable and all(authority.directory.exists(name) for name in names):
            certificate, key = (authority.directory.read(name) for name in names)
            yield PublishedCertificate(certificate + root, key)
