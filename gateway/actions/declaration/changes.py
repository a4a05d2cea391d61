"""What applying a declaration does, line by line, and in whose name an action runs.

Owns the lines of a plan. Must not know endpoints.
"""

from __future__ import annotations

import enum
import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from gateway.actions.call import ActionError
from gateway.config.declaration import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.actions.call import Call

__all__ = ["Change", "Detail", "Kind", "Work", "refuse"]

_TICK_S = 1e-6
"""What one object is younger than the one before it: where age decides, the file's order does."""
_MEMBER = re.compile(r"([A-Za-z]\w+)([.\w\[\]]*): (.*)", re.DOTALL)
_KEYS: Final = {
    "ClientCidrBlock": "client_cidr_block",
    "TransportProtocol": "transport_protocol",
    "VpnPort": "vpn_port",
    "DnsServers": "dns_servers",
    "SessionTimeoutHours": "session_timeout_hours",
    "CloudwatchLogGroup": "connection_log.group",
    "ServerCertificateArn": "server_certificate",
    "ClientRootCertificateChainArn": "authentication.client_root_certificate_chain",
    "SecurityGroupIds": "security_groups",
    "VpcId": "vpc",
}
"""Members that sentences begin with, by what a file calls them."""


class Kind(enum.Enum):
    """What becomes of an object."""

    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    REPLACE = "replace"
    """It takes the place of another one, which goes in the same moment."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One value that changes; None where there was none, or is to be none."""

    key: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """A line of a plan."""

    kind: Kind
    what: str
    """The object, as `endpoint "staff": route 10.30.0.0/16 to "office"`."""
    key_path: str = ""
    """Where the file asks for it; empty for what it does not name."""
    details: tuple[Detail, ...] = ()

    @property
    def owner(self) -> str:
        """The endpoint or group that it is about, or about a part of."""
        return self.what.partition('": ')[0].removesuffix('"')

    def __str__(self) -> str:
        line = f"{self.kind.value} {self.what}"
        return f"{self.key_path} ({line})" if self.key_path else line


@dataclass(slots=True)
class Work:
    """A declaration while it is applied."""

    call: Call
    changes: list[Change] = field(default_factory=list)
    """In the order in which they are made."""
    notes: list[str] = field(default_factory=list)
    """What is not done, and why."""
    _ticks: int = 0

    @contextmanager
    def change(self, change: Change) -> Iterator[None]:
        """Do what a line says. What is refused inside is refused in the name of the line."""
        self.changes.append(change)
        try:
            yield
        except ActionError as error:
            raise ActionError(error.code, _placed(change, error.message), error.status) from error

    def by_owner(self) -> list[Change]:
        """The changes as people read them: those of one endpoint or group together."""
        groups: dict[str, list[Change]] = {}
        for change in self.changes:
            groups.setdefault(change.owner, []).append(change)
        return [change for group in groups.values() for change in group]

    def run(self, action: Callable[[Call], dict[str, Any]], **parameters: Any) -> dict[str, Any]:
        """Carry out an action as a caller would."""
        return action(self.with_parameters(**parameters))

    def with_parameters(self, **parameters: Any) -> Call:
        """A call of the same caller in the same transaction."""
        self._ticks += 1
        now = self.call.now + self._ticks * _TICK_S
        return replace(self.call, parameters=parameters, now=now, before=None, after=None)


def refuse(key_path: str, sentence: str, code: str = "InvalidParameterValue") -> ActionError:
    """What the file asks for cannot be; to be raised."""
    return ActionError(code, f"{key_path}: {sentence}")


def _placed(change: Change, message: str) -> str:
    """The sentence behind its place in the file; a member or key that it begins with is a key there."""
    found = _MEMBER.fullmatch(message)
    if found is not None and change.key_path:
        key = found[1] if found[1] in Endpoint.model_fields else _KEYS.get(found[1])
        if key is not None:
            return f"{change.key_path}.{key}{found[2]}: {found[3]}"
    return f"{change}: {message}"
