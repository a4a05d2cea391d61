"""From a proven certificate to what the client gets: name, address, rights, settings for both sides; or a refusal.

It applies the endpoint's spec and gives values; it tells neither clients nor the plane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.identity import Identity, IdentityError, identify
from gateway.packet_sizes import largest_segment
from gateway.sessions import Lease, PeerIds
from policy import (
    AddressPool,
    PoolExhausted,
    blocks_local_networks,
    compile_access,
    pushed_routes,
    redirects_gateway,
)
from tunnel import AccessTable, CloseReason, Peer, PushSettings

if TYPE_CHECKING:
    from cryptography import x509

    from policy import EndpointSpec
    from tunnel import Negotiated, Path

__all__ = ["Authorizer", "Refusal"]

IDLE_FACTOR = 2
"""The gateway waits twice what clients wait, as OpenVPN's `keepalive` does: the client should notice first."""


class Refusal(Exception):  # noqa: N818 - a decision, not a fault
    """The client is turned away."""

    def __init__(self, reason: CloseReason, text: str) -> None:
        """`reason` goes into the log as a code, `text` to the client and into the log."""
        super().__init__(text)
        self.reason = reason
        self.text = text


class Authorizer:
    """Decides about clients of one endpoint, and keeps the books of what they hold."""

    def __init__(self, spec: EndpointSpec) -> None:
        self._spec = spec
        self.pool = AddressPool(spec.client_cidr_block)
        self._peer_ids = PeerIds()
        self._tables: dict[frozenset[str], AccessTable] = {}
        self._named_groups = _named_groups(spec)

    def adopt(self, spec: EndpointSpec) -> None:
        """Decide by this spec from now on; its client range is the same as before."""
        self._spec = spec
        self._tables.clear()
        self._named_groups = _named_groups(spec)

    def identify(self, certificate: x509.Certificate | None) -> Identity:
        """Who the holder of this certificate is. Raises `Refusal`."""
        if certificate is None:
            raise Refusal(CloseReason.NO_CERTIFICATE, "no certificate was presented")
        try:
            return identify(certificate, self._spec.authentication.groups_from)
        except IdentityError as error:
            raise Refusal(CloseReason.CERTIFICATE_REFUSED, str(error)) from error

    def identify_again(self, held: Identity, certificate: x509.Certificate | None) -> Identity:
        """Who a session's holder is after a renegotiation: the same name and groups, or `Refusal`."""
        identity = self.identify(certificate)
        if (identity.common_name, identity.groups) != (held.common_name, held.groups):
            raise Refusal(CloseReason.IDENTITY_CHANGED, "the certificate is another one than the session began with")
        return identity

    def claimed(self, refused: x509.Certificate) -> Identity | None:
        """Whom a refused certificate names: for the log, and for nothing else."""
        try:
            return self.identify(refused)
        except Refusal:
            return None

    def check_room(self, clients: int) -> None:
        """Raise `Refusal` where one more client than these is one too many."""
        if self._spec.max_clients and clients >= self._spec.max_clients:
            raise Refusal(CloseReason.CLIENT_LIMIT, f"the gateway has {clients} clients, which is its limit")

    def surplus(self, sessions: int) -> int:
        """How many of a client's sessions must go so that it may begin one more."""
        limit = self._spec.sessions_per_client
        return max(0, sessions + 1 - limit) if limit else 0

    def lease(self, identity: Identity) -> Lease:
        """Give the client an address and a peer id. Raises `Refusal`."""
        try:
            address = self.pool.lease(identity.common_name)
        except PoolExhausted as error:
            raise Refusal(CloseReason.POOL_EXHAUSTED, "the gateway has no free address; try again later") from error
        return Lease(self._peer_ids.take(), address, identity)

    def release(self, lease: Lease) -> None:
        """Take back what `lease` gave."""
        self.pool.release(lease.address)
        self._peer_ids.give_back(lease.peer_id)

    def access(self, identity: Identity) -> AccessTable:
        """What the client may reach; compiled once for each distinct set of groups."""
        groups = self._named_groups.intersection(identity.groups)
        table = self._tables.get(groups)
        if table is None:
            compiled = compile_access(self._spec, groups)
            table = self._tables[groups] = AccessTable(compiled.starts, compiled.verdicts)
        return table

    def peer(self, lease: Lease, path: Path, negotiated: Negotiated) -> Peer:
        """What the plane is told about the client."""
        data, keepalive = self._spec.data_channel, self._spec.keepalive
        return Peer(
            peer_id=lease.peer_id,
            path=path,
            inside=lease.address.packed,
            access=self.access(lease.identity),
            ping_interval_s=keepalive.interval_s,
            idle_timeout_s=keepalive.timeout_s * IDLE_FACTOR,
            data_v2=negotiated.data_v2,
            mss=largest_segment(data.mssfix, data.mtu, path, negotiated.cipher, data.auth),
        )

    def push(self, lease: Lease) -> PushSettings:
        """What the client is told about its side of the tunnel."""
        spec = self._spec
        return PushSettings(
            peer_id=lease.peer_id,
            address=lease.address,
            network=spec.client_cidr_block,
            gateway=spec.gateway_address,
            routes=pushed_routes(spec),
            redirect_gateway=redirects_gateway(spec),
            block_local=blocks_local_networks(spec),
            dns_servers=spec.dns_servers,
            search_domains=spec.search_domains,
            ping_interval_s=spec.keepalive.interval_s,
            ping_restart_s=spec.keepalive.timeout_s,
            mtu=spec.data_channel.mtu,
            banner=spec.login_banner,
        )


def _named_groups(spec: EndpointSpec) -> frozenset[str]:
    """The groups that rules name: others make no difference, and must not make more tables."""
    return frozenset(rule.group for rule in spec.authorization_rules if rule.group is not None)
