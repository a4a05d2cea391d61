"""A gateway that serves what a store asks for, on a host that only remembers."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from gateway.actions.loading import load_actions
from gateway.config import load_config
from gateway.managed.controller import Controller
from gateway.managed.last_known import LastKnown
from gateway.managed.rounds import Rounds
from gateway.object_ids import subnet_id
from gateway.reload import Reconciler, prepare
from gateway.store import schema
from tests.lab.config import build_toml, gateway_config
from tests.unit.gateway.actions.harness import invoke
from tests.unit.gateway.fleet_world import fleet_world
from tests.unit.gateway.world import pki

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Row, Table

    from gateway.hostnet import HostProblem
    from gateway.managed.statuses import Outcome
    from gateway.store import Store
    from policy import EndpointSpec
    from tests.lab.config import Toml
    from tests.unit.gateway.fleet_world import FleetWorld

load_actions()

OFFICE = {"name": "office", "cidr": "10.20.0.0/24", "interface": "eth1", "next_hop": "10.20.0.254"}
LAB = {"name": "lab", "cidr": "10.30.0.0/24", "interface": "eth2"}
OFFICE_ID = subnet_id("office")
LAB_ID = subnet_id("lab")


class ManagedWorld:
    """A fleet, its configuration file and a store, with what goes between them."""

    def __init__(self, directory: Path, store: Store, fleet: FleetWorld) -> None:
        self.store = store
        self.fleet = fleet
        self.host_problems: tuple[HostProblem, ...] = ()
        self.now = time.time()
        self.speaks = True
        self._directory = directory
        self._file = directory / "config.toml"
        if not (directory / "pki").exists():
            (directory / "pki").symlink_to(pki().path)
        (directory / "state").mkdir(exist_ok=True)

    async def start(self, *endpoints: Toml, networks: tuple[Toml, ...] = (OFFICE, LAB), **sections: Any) -> None:
        """Start what the file declares, and bring it to the store."""
        self.write(*endpoints, networks=networks, **sections)
        config = load_config(self._file)
        terms = await prepare(config, self.fleet.host)
        await self.fleet.fleet.start(tuple(terms.values()))
        self.reconciler = Reconciler(self._file, config, self.fleet.fleet, self.fleet.host)
        self.controller = Controller(
            self.reconciler, self.fleet.fleet, self.store.vault, unix_time=lambda: self.now, now=lambda: self.now
        )
        self.last_known = LastKnown(self._directory / "state", self.store.vault)
        self.rounds = self.new_rounds(self.store)
        await self.round(shows_own=True)

    def new_rounds(self, store: Store) -> Rounds:
        return Rounds(
            store,
            self.controller,
            self.last_known,
            self.reconciler,
            self.fleet.fleet,
            speaks=lambda: self.speaks,
            file=self._file,
            unix_time=lambda: self.now,
        )

    def write(self, *endpoints: Toml, networks: tuple[Toml, ...] = (OFFICE, LAB), **sections: Any) -> None:
        config = gateway_config(self._directory / "state", *endpoints) | {"network": list(networks)} | sections
        self._file.write_text(build_toml(config))

    async def reload(self, *endpoints: Toml, networks: tuple[Toml, ...] = (OFFICE, LAB), **sections: Any) -> None:
        self.write(*endpoints, networks=networks, **sections)
        await self.reconciler.reload()
        await self.round(shows_own=True)

    async def round(self, *, shows_own: bool = False) -> dict[str, Outcome]:
        return dict(await self.rounds.go(self.host_problems, shows_own=shows_own))

    # What callers do

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        self.now += 1
        return invoke(self.store, action, now=self.now, **parameters)

    def create(self, **changes: Any) -> str:
        """An endpoint without target networks."""
        root, server = self.arns()
        parameters = {
            "ServerCertificateArn": server,
            "AuthenticationOptions": [
                {
                    "Type": "certificate-authentication",
                    "MutualAuthentication": {"ClientRootCertificateChainArn": root},
                }
            ],
            "ConnectionLogOptions": {"Enabled": False},
            "ClientCidrBlock": "10.90.0.0/22",
            "SplitTunnel": True,
        }
        return str(self.call("CreateClientVpnEndpoint", **(parameters | changes))["ClientVpnEndpointId"])

    def associate(self, endpoint_id: str, subnet: str = OFFICE_ID) -> str:
        reply = self.call("AssociateClientVpnTargetNetwork", ClientVpnEndpointId=endpoint_id, SubnetId=subnet)
        return str(reply["AssociationId"])

    def disassociate(self, endpoint_id: str, association_id: str) -> None:
        self.call("DisassociateClientVpnTargetNetwork", ClientVpnEndpointId=endpoint_id, AssociationId=association_id)

    def authorize(self, endpoint_id: str, cidr: str = "10.20.0.0/24", group: str = "") -> None:
        who = {"AccessGroupId": group} if group else {"AuthorizeAllGroups": True}
        self.call("AuthorizeClientVpnIngress", ClientVpnEndpointId=endpoint_id, TargetNetworkCidr=cidr, **who)

    def revoke(self, endpoint_id: str, cidr: str = "10.20.0.0/24", group: str = "") -> None:
        who = {"AccessGroupId": group} if group else {"RevokeAllGroups": True}
        self.call("RevokeClientVpnIngress", ClientVpnEndpointId=endpoint_id, TargetNetworkCidr=cidr, **who)

    def route(self, endpoint_id: str, cidr: str, subnet: str = OFFICE_ID) -> None:
        self.call(
            "CreateClientVpnRoute",
            ClientVpnEndpointId=endpoint_id,
            DestinationCidrBlock=cidr,
            TargetVpcSubnetId=subnet,
        )

    def delete_route(self, endpoint_id: str, cidr: str, subnet: str = OFFICE_ID) -> None:
        self.call(
            "DeleteClientVpnRoute",
            ClientVpnEndpointId=endpoint_id,
            DestinationCidrBlock=cidr,
            TargetVpcSubnetId=subnet,
        )

    def modify(self, endpoint_id: str, **changes: Any) -> None:
        self.call("ModifyClientVpnEndpoint", ClientVpnEndpointId=endpoint_id, **changes)

    def delete(self, endpoint_id: str) -> None:
        self.call("DeleteClientVpnEndpoint", ClientVpnEndpointId=endpoint_id)

    # What stands there then

    def arns(self) -> tuple[str, str]:
        """The ARNs of the authority and of a server certificate of its."""
        found = self.rows(schema.certificate)
        return (
            next(row.arn for row in found if row.private_key is None),
            next(row.arn for row in found if row.private_key is not None),
        )

    def rows(self, table: Table) -> list[Row[Any]]:
        with self.store.read() as connection:
            return list(connection.execute(select(table)))

    def statuses(self, table: Table) -> dict[Any, tuple[str, str]]:
        """Status and message of every row that was made at run time, by its id, destination or endpoint."""
        files = {row.id for row in self.rows(schema.endpoint) if row.origin == "file"}
        found = {}
        for row in self.rows(table):
            fields = row._asdict()
            if fields.get("endpoint_id", fields.get("id")) not in files:
                name = fields.get("destination_cidr", fields.get("id", fields.get("endpoint_id")))
                found[name] = (row.status_code, row.status_message)
        return found

    def spec(self, endpoint_id: str) -> EndpointSpec:
        """What an endpoint runs with."""
        return next(one.spec for one in self.fleet.fleet.endpoints if one.spec.name == endpoint_id)


@asynccontextmanager
async def managed_world(
    directory: Path, store: Store, *endpoints: Toml, **sections: Any
) -> AsyncIterator[ManagedWorld]:
    async with fleet_world() as fleet:
        world = ManagedWorld(directory, store, fleet)
        await world.start(*endpoints, **sections)
        yield world
