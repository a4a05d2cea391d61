"""The inputs of the test vectors: computed by an implementation that also reproduces OpenVPN's own vectors."""

from __future__ import annotations

from pathlib import Path

from tunnel.replay_window import ReplayId
from tunnel.static_key import StaticKey

__all__ = ["CAPTURED", "CLIENT", "KEY", "REPLAY_ID", "SERVER"]

KEY = StaticKey(bytes(range(256)))
CLIENT = bytes.fromhex("0102030405060708")
SERVER = bytes.fromhex("1112131415161718")
REPLAY_ID = ReplayId(time=0x65000000, packet_id=1)

CAPTURED = Path(__file__).parent / "captured"
"""Files made by OpenVPN itself."""
