"""A network of namespaces with clients, a gateway and targets in it, and the programs that run there.

Used by the interop tests, the bench and the demo. Needs root, iproute2 and the stock `openvpn`.
"""

from tests.lab.authority import Issued, LabAuthority
from tests.lab.gateway import Gateway
from tests.lab.namespace import Namespace
from tests.lab.network import OFFICE_HOST, OFFICE_NETWORK, VAULT_HOST, VAULT_NETWORK, WEB_PORT, Lab
from tests.lab.openvpn import (
    NULL_DEVICE,
    Connected,
    OpenVpnClient,
    generate_key,
    openvpn_version,
    start_openvpn_server,
)
from tests.lab.process import LabError, Process, Usage, eventually, usage

__all__ = [
    "NULL_DEVICE",
    "OFFICE_HOST",
    "OFFICE_NETWORK",
    "VAULT_HOST",
    "VAULT_NETWORK",
    "WEB_PORT",
    "Connected",
    "Gateway",
    "Issued",
    "Lab",
    "LabAuthority",
    "LabError",
    "Namespace",
    "OpenVpnClient",
    "Process",
    "Usage",
    "eventually",
    "generate_key",
    "openvpn_version",
    "start_openvpn_server",
    "usage",
]
