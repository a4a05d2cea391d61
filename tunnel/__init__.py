"""The OpenVPN protocol and its data plane, and nothing else: no users, no policy, no configuration files.

FrontDoor          what becomes of first packets; it admits, and keeps nothing
ServerConnection   one client's control channel, sans-IO; what it says comes as events
DataPlane          sockets, TUN device and data packets behind one interface; `tunnel.pyplane` has one in Python

What is listed here is what others may use.
"""

from __future__ import annotations

from tunnel.connection import ServerConfig, ServerConnection
from tunnel.data_channel import WearLimits
from tunnel.data_keys import Cipher
from tunnel.errors import KeyFileError, LocalError
from tunnel.events import (
    AuthenticationRequested,
    Closed,
    CloseReason,
    Established,
    Event,
    ExitRequested,
    KeyActivated,
    KeyDerived,
    KeyExpired,
)
from tunnel.front_door import Admission, FrontDoor, FrontDoorKeys, Ignored, IgnoreReason, Reply
from tunnel.negotiation import Negotiated
from tunnel.plane import AccessTable, DataPlane, Path, Peer, PlaneEvents, Traffic, Transport
from tunnel.plane_settings import PlaneSettings, StreamLimits
from tunnel.push import PushSettings
from tunnel.sockets import check_free
from tunnel.static_key import KeyDirection, StaticKey, build_static_key, generate_static_key, parse_static_key
from tunnel.tls import TlsServerContext
from tunnel.tls_crypt_v2 import (
    Metadata,
    ServerKey,
    build_client_key,
    build_server_key,
    generate_client_key,
    generate_server_key,
    parse_server_key,
)

__all__ = [
    "AccessTable",
    "Admission",
    "AuthenticationRequested",
    "Cipher",
    "CloseReason",
    "Closed",
    "DataPlane",
    "Established",
    "Event",
    "ExitRequested",
    "FrontDoor",
    "FrontDoorKeys",
    "IgnoreReason",
    "Ignored",
    "KeyActivated",
    "KeyDerived",
    "KeyDirection",
    "KeyExpired",
    "KeyFileError",
    "LocalError",
    "Metadata",
    "Negotiated",
    "Path",
    "Peer",
    "PlaneEvents",
    "PlaneSettings",
    "PushSettings",
    "Reply",
    "ServerConfig",
    "ServerConnection",
    "ServerKey",
    "StaticKey",
    "StreamLimits",
    "TlsServerContext",
    "Traffic",
    "Transport",
    "WearLimits",
    "build_client_key",
    "build_server_key",
    "build_static_key",
    "check_free",
    "generate_client_key",
    "generate_server_key",
    "generate_static_key",
    "parse_server_key",
    "parse_static_key",
]
