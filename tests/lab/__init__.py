"""A network of namespaces with clients, a gateway and targets in it, and the programs that run there.

Used by the interop tests, the bench and the demo. Needs root, iproute2 and the stock `openvpn`.
"""

from tests.lab.authority import Issued, LabAuthority
from tests.lab.bad_path import BadPath, start_relay
from tests.lab.config import CONTROL_CHANNELS, Toml, build_toml, endpoint, gateway_config, rule
from tests.lab.gateway import PORTWAY, Gateway, Pki, portway
from tests.lab.namespace import Namespace
from tests.lab.network import OFFICE_HOST, OFFICE_NETWORK, VAULT_HOST, VAULT_NETWORK, WEB_PORT, Lab
from tests.lab.openvpn import (
    NULL_DEVICE,
    TRANSPORTS,
    Connected,
    OpenVpnClient,
    generate_key,
    openvpn_version,
    start_openvpn_server,
    without_inlined,
)
from tests.lab.process import LabError, Process, eventually
from tests.lab.site import PEOPLE, Site, make_pki

__all__ = [
    "CONTROL_CHANNELS",
    "NULL_DEVICE",
    "OFFICE_HOST",
    "OFFICE_NETWORK",
    "PEOPLE",
    "PORTWAY",
    "TRANSPORTS",
    "VAULT_HOST",
    "VAULT_NETWORK",
    "WEB_PORT",
    "BadPath",
    "Connected",
    "Gateway",
    "Issued",
    "Lab",
    "LabAuthority",
    "LabError",
    "Namespace",
    "OpenVpnClient",
    "Pki",
    "Process",
    "Site",
    "Toml",
    "build_toml",
    "endpoint",
    "eventually",
    "gateway_config",
    "generate_key",
    "make_pki",
    "openvpn_version",
    "portway",
    "rule",
    "start_openvpn_server",
    "start_relay",
    "without_inlined",
]
