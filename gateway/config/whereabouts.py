"""Where the gateway and its API listen, for the commands that ask them.

Reads three keys of `config.toml` and nothing else: who asks need not be able to read the gateway's keys, and can ask
for a reload of a file with a mistake in it, which the daemon then tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gateway.config.files import Surroundings
from gateway.config.models import Gateway
from gateway.config.models_service import Api
from gateway.config.problems import ConfigError
from gateway.config.reading import read_toml
from gateway.config.section import Section
from gateway.config.sentences import problems_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Whereabouts", "find_processes"]

_KEYS = {"gateway": ("state_dir", "control_socket"), "api": ("socket",)}


class _Sections(Section):
    gateway: Gateway = Gateway()
    api: Api = Api()


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The Unix sockets of the two processes."""

    control_socket: Path
    api_socket: Path


def find_processes(path: Path) -> Whereabouts:
    """Read where the processes of a configuration listen. Raises `ConfigError` where the file does not say."""
    raw = read_toml(path)
    known = {name: _only(keys, raw[name]) for name, keys in _KEYS.items() if name in raw}
    directory = path.absolute().parent
    surroundings = Surroundings(directory, datetime.now(UTC), read_files=False)
    try:
        sections = _Sections.model_validate(known, context=surroundings)
    except ValidationError as error:
        raise ConfigError(problems_of(error, _Sections, raw)) from None
    state_dir = directory / sections.gateway.state_dir
    return Whereabouts(state_dir / sections.gateway.control_socket, state_dir / sections.api.socket)


def _only(keys: tuple[str, ...], section: Any) -> Any:
    """A section with these keys; what is no section, as it is, to be found wrong."""
    return {key: section[key] for key in keys if key in section} if isinstance(section, dict) else section
