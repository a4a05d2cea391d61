"""What a connection tells its owner, and why connections end.

Every event is a value; the owner drains them with `next_event()` after each call that may produce some.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

    from tunnel.data_keys import DataKey
    from tunnel.peer_info import PeerInfo

__all__ = [
    "AuthenticationRequested",
    "CloseReason",
    "Closed",
    "Established",
    "Event",
    "ExitRequested",
    "KeyActivated",
    "KeyDerived",
    "KeyExpired",
]


class CloseReason(enum.Enum):
    """Why a connection ended; the value is the reason code in the connection log."""

    CLIENT_EXIT = "client-exit"
    """The client said that it leaves."""
    STREAM_CLOSED = "stream-closed"
    """The client's TCP connection ended."""
    IDLE = "idle-timeout"
    """Nothing arrived from the client for the idle time-out."""
    SESSION_TIMEOUT = "session-timeout"
    """The longest duration of a session is over."""
    TERMINATED = "terminated"
    """An administrator ended the session."""
    SHUTDOWN = "gateway-shutdown"
    """The gateway stops or restarts this endpoint."""
    RECONFIGURED = "reconfigured"
    """A change of the configuration concerns this session; the client is asked to reconnect."""
    REPLACED = "replaced"
    """The same client made a new connection."""
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    """The handshake, or a renegotiation, was not complete in time."""
    TLS_FAILED = "tls-failed"
    """TLS failed for a reason that has no code of its own."""
    NO_COMMON_TLS = "no-common-tls-version"
    """Client and gateway share no TLS version or cipher suite."""
    NO_CERTIFICATE = "no-client-certificate"
    """The client presented no certificate."""
    UNKNOWN_CA = "unknown-ca"
    """The client's certificate does not chain to the endpoint's client root."""
    CERTIFICATE_EXPIRED = "certificate-expired"
    """The client's certificate, or one of its issuers, is past its end."""
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    """The client's certificate, or one of its issuers, is before its beginning."""
    CERTIFICATE_REVOKED = "certificate-revoked"
    """The client's certificate is on the revocation list."""
    CERTIFICATE_WRONG_USAGE = "certificate-wrong-usage"
    """The client's certificate is not for client authentication."""
    CERTIFICATE_REFUSED = "certificate-refused"
    """The client's certificate is refused for another reason: weak key, bad signature, unusable name."""
    CRL_UNUSABLE = "crl-unusable"
    """The revocation list is missing, expired or not signed by the client's issuer."""
    IDENTITY_CHANGED = "identity-changed"
    """A renegotiation presented another certificate or user than the session began with."""
    PROTOCOL_ERROR = "protocol-error"
    """The client broke the OpenVPN protocol inside the authenticated channel."""
    UNSUPPORTED_CLIENT = "unsupported-client"
    """The client's configuration asks for what the gateway does not do: tap, compression, fragment, p2p."""
    NO_COMMON_CIPHER = "no-common-cipher"
    """Client and gateway share no data cipher."""
    POOL_EXHAUSTED = "pool-exhausted"
    """No free address in the client range."""
    CLIENT_LIMIT = "client-limit"
    """The endpoint has as many sessions as it may."""
    AUTHENTICATION_FAILED = "authentication-failed"
    """The gateway refused who the client says it is."""
    INTERNAL_ERROR = "internal-error"
    """A fault in the gateway ended this connection, and only this one."""


@dataclass(frozen=True, slots=True)
class AuthenticationRequested:
    """The client has proved its certificate and sent its key-method-2 block: decide with `authorize` or `refuse`."""

    certificate: x509.Certificate | None
    """The client's own, as verified by TLS."""
    username: str
    password: str
    """Never log it; empty where the client sent none."""
    peer_info: PeerInfo
    renegotiation: bool
    """False for the first time, True for each renegotiation of a connection that was authorised before."""

    def __repr__(self) -> str:
        return f"AuthenticationRequested(username={self.username!r}, renegotiation={self.renegotiation})"


@dataclass(frozen=True, slots=True)
class KeyDerived:
    """A data key exists: the plane must accept packets under it before anything more is sent."""

    key: DataKey


@dataclass(frozen=True, slots=True)
class KeyActivated:
    """The client is known to hold this key: the plane may send under it."""

    key_id: int


@dataclass(frozen=True, slots=True)
class KeyExpired:
    """This key's transition window is over: the plane must forget it."""

    key_id: int


@dataclass(frozen=True, slots=True)
class Established:
    """PUSH_REPLY was acknowledged: the client is configured."""


@dataclass(frozen=True, slots=True)
class ExitRequested:
    """The client says that it leaves; the connection goes on to answer acknowledgements for a few seconds."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over: nothing more will come out of it."""

    reason: CloseReason
    text: str
    """A sentence for the log."""


Event = AuthenticationRequested | KeyDerived | KeyActivated | KeyExpired | Established | ExitRequested | Closed
