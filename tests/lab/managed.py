"""A lab whose endpoints are made at run time: the gateway's store, and what callers do there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from gateway.actions import Call, Caller, Face, Role
from gateway.actions.loading import load_actions
from gateway.config import load_config
from gateway.object_ids import subnet_id
from gateway.store import open_store, schema
from tests.lab.network import OFFICE_NETWORK, VAULT_NETWORK
from tests.lab.openvpn import OpenVpnClient
from tests.lab.process import eventually
from tests.lab.site import Site

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Row, Table

    from gateway.store import Store

__all__ = ["OFFICE_ID", "VAULT_ID", "ManagedSite"]

OFFICE_ID = subnet_id("office")
VAULT_ID = subnet_id("vault")
CALLER = Caller("socket:0", Role.ADMIN, Face.SOCKET)
NETWORKS = [
    {"name": "office", "interface": "office", "cidr": OFFICE_NETWORK},
    {"name": "vault", "interface": "vault", "cidr": VAULT_NETWORK},
]
PORT = 1194


class ManagedSite(Site):
    """A site with the usual endpoint in its file, and networks for those made at run time.

    Actions are carried out on the store itself, as a process beside the gateway does.
    """

    def __init__(self, directory: Path, pki: Path, *, store_url: str = "") -> None:
        super().__init__(directory, pki)
        self.config |= {
            "store": {"url": store_url},
            "network": NETWORKS,
            "endpoint_defaults": {"public_hostname": self.lab.gateway_address(), "groups_from": "subject.OU"},
        }
        self._actions = load_actions()

    def open_store(self) -> Store:
        """The store, as the configuration has it; to be closed."""
        settings = load_config(self.config_file).settings.store
        return open_store(settings.url, settings.key_file)

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Carry out an action, as the API does."""
        store = self.open_store()
        settings = load_config(self.config_file).settings.api.service
        found = self._actions[action]
        try:
            with store.write() if found.changes else store.read() as connection:
                return found.run(Call(parameters, connection, CALLER, settings, store.vault, time.time(), action))
        finally:
            store.close()

    def rows(self, table: Table) -> list[Row[Any]]:
        """What stands in the store."""
        store = self.open_store()
        try:
            with store.read() as connection:
                return list(connection.execute(select(table)))
        finally:
            store.close()

    def create(self, **changes: Any) -> str:
        """An endpoint for engineering, without target networks."""
        certificates = self.rows(schema.certificate)
        root = next(row.arn for row in certificates if row.private_key is None)
        parameters = {
            "ServerCertificateArn": next(row.arn for row in certificates if row.private_key is not None),
            "AuthenticationOptions": [
                {
                    "Type": "certificate-authentication",
                    "MutualAuthentication": {"ClientRootCertificateChainArn": root},
                }
            ],
            "ConnectionLogOptions": {"Enabled": True, "CloudwatchLogGroup": "default"},
            "ClientCidrBlock": "10.90.0.0/22",
            "VpnPort": PORT,
            "SplitTunnel": True,
        }
        return str(self.call("CreateClientVpnEndpoint", **(parameters | changes))["ClientVpnEndpointId"])

    def associate(self, endpoint_id: str, subnet: str = OFFICE_ID) -> str:
        """Associate a network, and return the association's id."""
        reply = self.call("AssociateClientVpnTargetNetwork", ClientVpnEndpointId=endpoint_id, SubnetId=subnet)
        return str(reply["AssociationId"])

    def disassociate(self, endpoint_id: str, association_id: str) -> None:
        """End an association."""
        self.call("DisassociateClientVpnTargetNetwork", ClientVpnEndpointId=endpoint_id, AssociationId=association_id)

    def authorize(self, endpoint_id: str, cidr: str, group: str) -> None:
        """Let a group reach a network."""
        self.call(
            "AuthorizeClientVpnIngress", ClientVpnEndpointId=endpoint_id, TargetNetworkCidr=cidr, AccessGroupId=group
        )

    def revoke_rule(self, endpoint_id: str, cidr: str, group: str) -> None:
        """Take that back."""
        self.call(
            "RevokeClientVpnIngress", ClientVpnEndpointId=endpoint_id, TargetNetworkCidr=cidr, AccessGroupId=group
        )

    def wait_for(self, table: Table, status: str, *, within_s: float = 10, **columns: Any) -> Row[Any]:
        """The row with these values, once it has this status."""
        wanted = {**columns, "status_code": status}

        def look() -> Row[Any] | None:
            rows = self.rows(table)
            return next((row for row in rows if wanted.items() <= row._asdict().items()), None)

        found = eventually(look, within_s=within_s, what=f"{table.name} has a row with {wanted}")
        assert found is not None
        return found

    def exported(self, endpoint_id: str, name: str) -> Path:
        """The profile that the API exports, with a certificate of somebody's own, in a file."""
        path = self.directory / f"{endpoint_id}-{name}.ovpn"
        if not path.exists():
            profile = self.call("ExportClientVpnClientConfiguration", ClientVpnEndpointId=endpoint_id)
            certificate, key = ((self.pki / f"{name}.{kind}").read_text() for kind in ("crt", "key"))
            own = f"<cert>\n{certificate}</cert>\n<key>\n{key}</key>\n"
            path.touch(mode=0o600)
            path.write_text(f"{profile['ClientConfiguration']}\n{own}")
        return path

    def connect(self, endpoint_id: str, name: str) -> OpenVpnClient:
        """A stock client that has just been started."""
        return OpenVpnClient(self.lab.client, self.exported(endpoint_id, name), log=self.lab.log(f"client-{name}"))
