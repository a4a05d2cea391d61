"""What is agreed with one client: cipher, key derivation, flags; and whom the gateway cannot serve.

The inputs are the client's peer info and its options string ("OCC"), both as sent in key method 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunnel.errors import HandshakeError
from tunnel.events import CloseReason
from tunnel.peer_info import IvProto

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunnel.data_keys import Cipher
    from tunnel.peer_info import PeerInfo

__all__ = ["Negotiated", "answer_options_string", "negotiate"]

MAX_OPTIONS_STRING = 511
"""OpenVPN clients keep 512 octets for it, the NUL included."""

_UNPRINTABLE = re.compile(r"[^ -~]+")


@dataclass(frozen=True, slots=True)
class Negotiated:
    """How one connection works, from its first key to its end."""

    cipher: Cipher
    tls_ekm: bool
    """Data keys come from the TLS exporter; otherwise from OpenVPN's PRF."""
    dynamic_tls_crypt: bool
    """Control packets of renegotiations are protected by a key from the first TLS session."""
    data_v2: bool
    """Data packets carry a peer id."""
    cc_exit: bool
    """The client says EXIT in the control channel, and takes `protocol-flags`."""
    compress_stub_v2: bool
    """The client's configuration turns compression on: tell it to leave packets as they are."""


def negotiate(
    peer_info: PeerInfo,
    options: str,
    *,
    data_ciphers: Sequence[Cipher],
    tls_ekm: bool = True,
    dynamic_tls_crypt: bool = True,
) -> Negotiated:
    """Settle what can be settled with this client.

    Raises `HandshakeError` with a sentence for its user where the client cannot be served: for the client to
    read it, it goes out as AUTH_FAILED.
    """
    occ = _parse_options(options)
    _refuse_unsupported(peer_info, occ)
    proto = peer_info.proto
    cc_exit = IvProto.CC_EXIT_NOTIFY in proto
    return Negotiated(
        cipher=_choose_cipher(peer_info, occ.get("cipher"), data_ciphers),
        tls_ekm=tls_ekm and IvProto.TLS_KEY_EXPORT in proto,
        dynamic_tls_crypt=dynamic_tls_crypt and cc_exit and IvProto.DYN_TLS_CRYPT in proto,
        data_v2=IvProto.DATA_V2 in proto,
        cc_exit=cc_exit,
        compress_stub_v2="comp-lzo" in occ,
    )


def _parse_options(options: str) -> dict[str, str]:
    """`V4,dev-type tun,cipher X,comp-lzo` as a mapping of first words to the rest."""
    pairs = (option.partition(" ") for option in options.split(","))
    return {name: value for name, _, value in pairs}


def _refuse_unsupported(peer_info: PeerInfo, occ: dict[str, str]) -> None:
    reason = None
    if occ.get("dev-type") == "tap":
        reason = "dev tap is not supported by this gateway: use dev tun"
    elif "mtu-dynamic" in occ:
        reason = "fragment is not supported by this gateway: remove it from the profile"
    elif "comp-lzo" in occ and not peer_info.has_stub_v2:
        reason = "compression is not supported by this gateway: remove comp-lzo and compress from the profile"
    elif IvProto.NCP_P2P in peer_info.proto:
        reason = "peer-to-peer mode is not supported by this gateway: use client (or pull) in the profile"
    if reason is not None:
        raise HandshakeError(CloseReason.UNSUPPORTED_CLIENT, reason)


def _choose_cipher(peer_info: PeerInfo, configured: str | None, offered: Sequence[Cipher]) -> Cipher:
    """The gateway's first cipher that the client has (OpenVPN `ncp_get_best_cipher`)."""
    known = peer_info.ciphers or ((configured.upper(),) if configured else ())
    for cipher in offered:
        if cipher.value in known:
            return cipher
    ours, theirs = ":".join(cipher.value for cipher in offered), _printable(":".join(known))[:200] or "none named"
    raise HandshakeError(
        CloseReason.NO_COMMON_CIPHER,
        f"Data channel cipher negotiation failed (no shared cipher): gateway {ours}; client {theirs}",
    )


def answer_options_string(options: str) -> str:
    """The server's options string for a client's: an echo, which no client warns about.

    Never empty: OpenVPN 2.4 and 2.5 end the handshake over that.
    """
    answer = _printable(options).replace("tls-client", "tls-server").replace("_CLIENT", "_SERVER")[:MAX_OPTIONS_STRING]
    return answer or "V4,dev-type tun,tls-server"


def _printable(text: str) -> str:
    """A stranger's text without what could do harm in a log or a terminal."""
    return _UNPRINTABLE.sub("", text)
