"""Every reason code of the connection log, with what it means to the person who reads it.

A code is the value of an enum member: `tunnel.events.CloseReason` for whatever had become a connection, and
`RefusalReason` here for what never did. It owns the explanations and nothing else.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from tunnel import CloseReason

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXPLANATIONS", "ReasonCode", "RefusalReason"]


class RefusalReason(enum.Enum):
    """Why an attempt was turned away before it was a connection."""

    WRONG_CONTROL_KEY = "wrong-control-key"
    """The control channel's protection (tls-auth, tls-crypt, tls-crypt-v2) does not match the endpoint's keys."""
    CONTROL_KEY_EXPIRED = "control-key-expired"
    """The client's tls-crypt-v2 key is older than the endpoint allows."""
    TOO_MANY_HANDSHAKES = "too-many-handshakes"
    """Too many handshakes are in flight, in all or from this network."""


ReasonCode = CloseReason | RefusalReason

EXPLANATIONS: Mapping[ReasonCode, str] = MappingProxyType(
    {
        CloseReason.CLIENT_EXIT: "The client said that it leaves.",
        CloseReason.STREAM_CLOSED: "The client's TCP connection ended without a word before.",
        CloseReason.IDLE: "Nothing arrived from the client for twice the keepalive time-out.",
        CloseReason.SESSION_TIMEOUT: "The session reached session_timeout_hours: its user may log in again, or the "
        "client reconnects by itself, as disconnect_on_session_timeout says.",
        CloseReason.TERMINATED: "An administrator ended the session; the client may connect again.",
        CloseReason.SHUTDOWN: "The gateway stopped or restarted the endpoint; clients reconnect by themselves.",
        CloseReason.RECONFIGURED: "A changed configuration concerns this session; the client reconnects by itself.",
        CloseReason.REPLACED: "The same client made a new connection, or its name reached sessions_per_client.",
        CloseReason.HANDSHAKE_TIMEOUT: "The handshake or a renegotiation took too long: packets are lost, or the "
        "client gave up.",
        CloseReason.TLS_FAILED: "TLS failed for a reason without a code of its own; the failure reason quotes OpenSSL.",
        CloseReason.NO_COMMON_TLS: "Client and gateway share no TLS version or cipher suite: update the client.",
        CloseReason.NO_CERTIFICATE: "The client presented no certificate: its profile lacks cert and key.",
        CloseReason.UNKNOWN_CA: "The certificate does not chain to client_root_certificate_chain.",
        CloseReason.CERTIFICATE_EXPIRED: "The certificate or one of its issuers is past its end: issue a new one.",
        CloseReason.CERTIFICATE_NOT_YET_VALID: "The certificate is not valid yet: look at the clocks on both sides.",
        CloseReason.CERTIFICATE_REVOKED: "The certificate is on the revocation list.",
        CloseReason.CERTIFICATE_WRONG_USAGE: "The certificate is not for client authentication: a server's, or without "
        "clientAuth in its extended key usage.",
        CloseReason.CERTIFICATE_REFUSED: "The certificate is refused for another reason: a weak key, a bad signature, "
        "a name that cannot be used.",
        CloseReason.CRL_UNUSABLE: "The revocation list is missing, expired or not signed by the issuer: renew it.",
        CloseReason.IDENTITY_CHANGED: "A renegotiation presented another certificate than the session began with.",
        CloseReason.PROTOCOL_ERROR: "The client broke the OpenVPN protocol inside the authenticated channel.",
        CloseReason.UNSUPPORTED_CLIENT: "The client's configuration asks for what the gateway does not do: tap, "
        "compression, fragment, static keys.",
        CloseReason.NO_COMMON_CIPHER: "Client and gateway share no data cipher: see data_ciphers.",
        CloseReason.POOL_EXHAUSTED: "No free address in client_cidr_block: enlarge it.",
        CloseReason.CLIENT_LIMIT: "The endpoint has max_clients sessions.",
        CloseReason.AUTHENTICATION_FAILED: "The gateway refused who the client says it is.",
        CloseReason.INTERNAL_ERROR: "A fault in the gateway ended this session; the daemon's log has the details.",
        RefusalReason.WRONG_CONTROL_KEY: "The packets do not match the endpoint's control channel keys: an old "
        "profile, another server's, or a scanner. Not more than one record a minute for each source network.",
        RefusalReason.CONTROL_KEY_EXPIRED: "The tls-crypt-v2 key is older than tls_crypt_v2_max_age_days: issue a new "
        "profile. Limited like wrong-control-key.",
        RefusalReason.TOO_MANY_HANDSHAKES: "max_half_open or max_half_open_per_prefix is reached: a flood, or very "
        "many clients at once. Limited like wrong-control-key.",
    }
)
