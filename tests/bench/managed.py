"""Portway whose endpoints are made at run time: its API, alone or beside a daemon, and one endpoint over everybody.

Owns what stands before anything is measured. Everything but the connections of clients that nobody needs to connect is
made by the API, as its callers make it.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from gateway.api.client import ApiClientError
from gateway.config import load_config
from gateway.object_ids import subnet_id
from gateway.store import open_store, schema
from tests.bench.servers import CLIENTS, PORT
from tests.lab import OFFICE_NETWORK, LabError, build_toml, eventually, gateway_config
from tests.lab.api import Api
from tests.lab.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.api.client import ApiClient
    from tests.bench.servers import Material
    from tests.lab import Lab, Toml

__all__ = ["API_ADDRESS", "Endpoint", "add_connections", "managed_config", "start_api", "store_url"]

API_ADDRESS = "127.0.0.1:8443"
RULES_IN = IPv4Network("172.16.0.0/12")
SETTLE_S = 30


@contextmanager
def store_url(engine: str) -> Iterator[str]:
    """Where a store of this engine can be, SQLite's default or a PostgreSQL of the measurement's own."""
    if engine == "sqlite":
        yield ""
        return
    with Postgres() as server:
        yield server.url(server.create_database())


def managed_config(lab: Lab, directory: Path, *, store: str = "", plane: str = "auto") -> Toml:
    """A configuration without endpoints: the office as a network that they may have, and where the API is."""
    config = gateway_config(directory / "state")
    config["gateway"]["plane"] = plane
    return config | {
        "store": {"url": store},
        "api": {"listen": [API_ADDRESS]},
        "network": [{"name": "office", "interface": "office", "cidr": OFFICE_NETWORK}],
        "endpoint_defaults": {"public_hostname": lab.gateway_address()},
    }


def start_api(lab: Lab, directory: Path, config: Toml) -> Api:
    """The API's process in the gateway's namespace; it needs no daemon."""
    path = directory / "config.toml"
    path.write_text(build_toml(config))
    return Api(lab.gateway, path, log=lab.log("api"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that the API has made."""

    api: ApiClient
    id: str

    @classmethod
    def create(cls, api: ApiClient, material: Material) -> Endpoint:
        """For every client of the measurement's authority, without target networks and rules."""
        server = api.call(
            "ImportCertificate",
            Certificate=material.server.certificate.read_text(),
            PrivateKey=material.server.key.read_text(),
            CertificateChain=material.ca.read_text(),
        )
        root = api.call("ImportCertificate", Certificate=material.ca.read_text())
        authority = {"ClientRootCertificateChainArn": root["CertificateArn"]}
        made = api.call(
            "CreateClientVpnEndpoint",
            ClientCidrBlock=str(CLIENTS),
            ServerCertificateArn=server["CertificateArn"],
            AuthenticationOptions=[{"Type": "certificate-authentication", "MutualAuthentication": authority}],
            ConnectionLogOptions={"Enabled": True, "CloudwatchLogGroup": "default"},
            VpnPort=PORT,
            SplitTunnel=True,
        )
        return cls(api, str(made["ClientVpnEndpointId"]))

    def change(self, action: str, **parameters: Any) -> None:
        """Carry out an action on this endpoint."""
        self.api.call(action, ClientVpnEndpointId=self.id, **parameters)

    def associate(self) -> None:
        """Lead it to the office, and wait until it runs: by then the daemon has to be there."""
        self.change("AssociateClientVpnTargetNetwork", SubnetId=subnet_id("office"))

        def is_available() -> bool:
            (shown,) = self.api.call("DescribeClientVpnEndpoints", ClientVpnEndpointIds=[self.id])["ClientVpnEndpoints"]
            return bool(shown["Status"]["Code"] == "available")

        eventually(is_available, within_s=SETTLE_S, what="the endpoint is available")

    def authorize_everybody(self, cidr: str = OFFICE_NETWORK) -> None:
        self.change("AuthorizeClientVpnIngress", TargetNetworkCidr=cidr, AuthorizeAllGroups=True)

    def revoke_everybody(self, cidr: str = OFFICE_NETWORK) -> None:
        self.change("RevokeClientVpnIngress", TargetNetworkCidr=cidr, RevokeAllGroups=True)

    def authorize_groups(self, count: int) -> None:
        """Add as many rules, each for a network and a group of its own."""
        for number, network in zip(range(count), RULES_IN.subnets(new_prefix=24), strict=False):
            group = f"group-{number:03}"
            self.change("AuthorizeClientVpnIngress", TargetNetworkCidr=str(network), AccessGroupId=group)

    def connected(self) -> int:
        """How many connections the API shows as active."""
        shown = self.api.call("DescribeClientVpnConnections", ClientVpnEndpointId=self.id)["Connections"]
        return sum(each["Status"]["Code"] == "active" for each in shown)

    def write_tls_crypt_key(self, path: Path) -> None:
        """The key that its clients need before TLS begins, from the profile that the API exports."""
        reply = self.api.call("ExportClientVpnClientConfiguration", ClientVpnEndpointId=self.id)
        found = re.search(r"<tls-crypt>\n(.*?)</tls-crypt>", reply["ClientConfiguration"], re.DOTALL)
        if found is None:
            raise LabError("the exported profile has no key for tls-crypt")
        path.write_text(found[1])


def wait_for_daemon(api: ApiClient) -> None:
    """The daemon publishes the networks that endpoints may have; wait until they are there."""

    def has_network() -> bool:
        try:
            return bool(api.call("DescribeSubnets")["Subnets"])
        except ApiClientError:
            return False

    eventually(has_network, within_s=SETTLE_S, what="the daemon has published its networks")


def add_connections(config: Path, endpoint_id: str, count: int) -> None:
    """Put as many connections into the store as if so many clients had connected, as a gateway writes them."""
    settings = load_config(config).settings.store
    store = open_store(settings.url, settings.key_file)
    now = time.time()
    rows = [_connection(endpoint_id, number, now) for number in range(count)]
    try:
        with store.write() as transaction:
            transaction.execute(insert(schema.connection), rows)
    finally:
        store.close()


def _connection(endpoint_id: str, number: int, now: float) -> dict[str, Any]:
    return {
        "id": f"cvpn-connection-{number:017x}",
        "endpoint_id": endpoint_id,
        "node": "lab",
        "status_code": "active",
        "common_name": f"client-{number:05}",
        "groups": ["engineering", f"group-{number % 200:03}"],
        "client_ip": str(CLIENTS[number + 2]),
        "device_ip": str(IPv4Address("198.18.1.2")),
        "device_port": 1024 + number,
        "transport_protocol": "udp",
        "device_type": "linux",
        "client_version": "2.6.14",
        "established_at": now - number,
        "updated_at": now,
        "ingress_bytes": 1_000_003 * number,
        "egress_bytes": 10_000_019 * number,
        "ingress_packets": 1_009 * number,
        "egress_packets": 10_007 * number,
    }
