"""Configurations for the gateway in the lab, as plain dictionaries that a test changes before they are written.

The `office` is for the group engineering, the `vault` for the group finance; both are routed, so that what keeps
somebody out is a rule and not a missing route.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from tests.lab.network import OFFICE_NETWORK, VAULT_NETWORK

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CONTROL_CHANNELS", "Toml", "build_toml", "endpoint", "gateway_config", "rule"]

Toml = dict[str, Any]

CONTROL_CHANNELS = ("tls-crypt-v2", "tls-crypt", "tls-auth", "none")


def gateway_config(state: Path, *endpoints: Toml) -> Toml:
    """A whole configuration, with its state and its control socket under one directory.

    PORTWAY_TEST_PLANE says which data plane it asks for, so that everything can be tested with either.
    """
    plane = os.environ.get("PORTWAY_TEST_PLANE", "auto")
    return {"gateway": {"state_dir": str(state), "node": "lab", "plane": plane}, "endpoint": list(endpoints)}


def endpoint(**changes: Any) -> Toml:
    """An endpoint that takes every client on port 443; keys in `changes` replace whole values."""
    settings: Toml = {
        "name": "main",
        "client_cidr_block": "10.80.0.0/22",
        "server_certificate": "pki/server.crt",
        "server_key": "pki/server.key",
        "public_hostname": "198.18.1.1",
        "authentication": {
            "type": "certificate-authentication",
            "client_root_certificate_chain": "pki/ca.crt",
            "certificate_revocation_list": "pki/crl.pem",
            "groups_from": "subject.OU",
        },
        "control_channel": {
            "accept": list(CONTROL_CHANNELS),
            "tls_crypt_key": "pki/tls-crypt.key",
            "tls_auth_key": "pki/tls-auth.key",
            "tls_crypt_v2_server_key": "pki/tls-crypt-v2.key",
        },
        "target_network": [
            {"name": "office", "interface": "office", "cidr": OFFICE_NETWORK},
            {"name": "vault", "interface": "vault", "cidr": VAULT_NETWORK},
        ],
        "route": [
            {"destination": OFFICE_NETWORK, "target": "office"},
            {"destination": VAULT_NETWORK, "target": "vault"},
        ],
        "authorization_rule": [rule(OFFICE_NETWORK, "engineering"), rule(VAULT_NETWORK, "finance")],
    }
    return settings | changes


def rule(destination: str, group: str | None = None) -> Toml:
    """An authorization rule for one group, or for all."""
    return {"destination": destination} | ({"all": True} if group is None else {"group": group})


def build_toml(table: Toml, path: str = "") -> str:
    """A table as TOML: plain values first, then tables and arrays of tables under their full names.

    JSON writes strings, numbers, booleans and arrays of these the way TOML reads them.
    """
    plain, nested = [], []
    for key, value in table.items():
        name = f"{path}.{key}" if path else key
        match value:
            case dict():
                nested.append(f"[{name}]\n{build_toml(value, name)}")
            case [dict(), *_]:
                nested += [f"[[{name}]]\n{build_toml(item, name)}" for item in value]
            case _:
                plain.append(f"{key} = {json.dumps(value)}\n")
    return "".join(plain) + "\n" + "".join(nested)
