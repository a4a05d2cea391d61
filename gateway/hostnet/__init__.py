"""Everything that Portway does to the host's network, and how it puts it back.

`HostNetwork` is the face for the daemon. Behind it, each module owns one thing: `routing` and `tunnel_device` plan
and apply what goes through netlink, `firewall` the nftables table, `forwarding` whose packets the kernel forwards,
`leftovers` what dead daemons left, `reconciler` the order of it all. `netlink`, `nft` and `monitor` are the only
modules that talk to the kernel.
"""

from gateway.hostnet.errors import HostNetworkError, KernelRefusedError, NftablesError
from gateway.hostnet.facts import read_host_facts
from gateway.hostnet.network import HostNetwork
from gateway.hostnet.records import Device, HostProblem

__all__ = [
    "Device",
    "HostNetwork",
    "HostNetworkError",
    "HostProblem",
    "KernelRefusedError",
    "NftablesError",
    "read_host_facts",
]
