"""A first configuration for a host that has none: the network of its default route, for all who have a certificate.

What the host looks like comes in, the text of a configuration goes out. It must not know certificates, nor who
writes the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policy import HostFacts

__all__ = ["QuickstartError", "Uplink", "build_config", "choose_pool", "find_uplink", "parse_default_interface"]

_ROUTES = Path("/proc/net/route")
_POOLS = [IPv4Network(f"10.{second}.0.0/22") for second in (80, 81, 82, 83, *range(200, 210))]
"""Private ranges that home routers, container networks and clouds rarely begin with."""

_FILES = ("server.crt", "server.key", "ca.crt", "crl.pem", "tls-crypt.key", "tls-crypt-v2.key")


class QuickstartError(Exception):
    """No first configuration can be made for this host; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """The interface that the default route leaves by, with its address."""

    interface: str
    address: IPv4Interface


def parse_default_interface(routes: str) -> str:
    """Return the interface of the default route with the least metric; `routes` is what /proc/net/route holds.

    Raises QuickstartError where there is none.
    """
    # proc(5): Iface Destination Gateway Flags RefCnt Use Metric Mask …, numbers in hexadecimal but for the metric.
    rows = [line.split() for line in routes.splitlines()[1:]]
    defaults = [(int(row[6]), row[0]) for row in rows if row[1] == row[7] == "00000000"]
    if not defaults:
        raise QuickstartError(
            "This host has no default route, so there is no telling which network clients should reach. "
            "Write a configuration by hand: config.example.toml shows every key."
        )
    return min(defaults)[1]


def find_uplink(facts: HostFacts, routes: str | None = None) -> Uplink:
    """Return the interface of the default route and its first IPv4 address; QuickstartError where it has none."""
    name = parse_default_interface(_ROUTES.read_text() if routes is None else routes)
    interface = facts.interface(name)
    for address in interface.addresses if interface else ():
        if isinstance(address, IPv4Interface):
            return Uplink(name, address)
    raise QuickstartError(f"The interface of the default route, {name}, has no IPv4 address.")


def choose_pool(taken: Iterable[IPv4Network]) -> IPv4Network:
    """Return a range for clients that overlaps none of these networks."""
    taken = tuple(taken)
    for pool in _POOLS:
        if not any(pool.overlaps(network) for network in taken):
            return pool
    raise QuickstartError("Every range that clients could be given is in use on this host. Choose one by hand.")


def build_config(uplink: Uplink, pool: IPv4Network, *, state: Path, pki: Path) -> str:
    """Return the text of a configuration with one endpoint that leads to the uplink's network."""
    network = uplink.address.network
    file = {name: json.dumps(str(pki / name)) for name in _FILES}
    return f"""\
# Made by `portway quickstart`; from now on it is yours. config.example.toml explains every key, `portway check` finds
# what is wrong, and a running gateway takes over what has changed when it gets SIGHUP.

[gateway]
state_dir = {json.dumps(str(state))}
pki_dir = {json.dumps(str(pki))}

# What `aws ec2` and `portway` may associate endpoints with that they make at run time.
[[network]]
name = "uplink"
interface = "{uplink.interface}"
cidr = "{network}"

# What these endpoints have where the API has no word for it: where clients find them, and what names their groups.
[endpoint_defaults]
public_hostname = "{uplink.address.ip}"
groups_from = "subject.OU"

[[endpoint]]
name = "main"
public_hostname = "{uplink.address.ip}"
transport_protocol = ["udp", "tcp"]
vpn_port = 443
client_cidr_block = "{pool}"
server_certificate = {file["server.crt"]}
server_key = {file["server.key"]}
split_tunnel = true

[endpoint.authentication]
type = "certificate-authentication"
client_root_certificate_chain = {file["ca.crt"]}
certificate_revocation_list = {file["crl.pem"]}
groups_from = "subject.OU"

[endpoint.control_channel]
accept = ["tls-crypt-v2", "tls-crypt"]
tls_crypt_key = {file["tls-crypt.key"]}
tls_crypt_v2_server_key = {file["tls-crypt-v2.key"]}

[[endpoint.target_network]]
name = "uplink"
interface = "{uplink.interface}"
cidr = "{network}"
nat = true

[[endpoint.route]]
destination = "{network}"
target = "uplink"

[[endpoint.authorization_rule]]
destination = "{network}"
all = true
"""
