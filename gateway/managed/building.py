"""From the rows of an endpoint to the spec that the gateway reconciles to.

    snapshot + offered networks + defaults + vault ──▶ EndpointSpec, and a sentence for each object that is not in it

What cannot be built for one object fails that object; only what the endpoint cannot be without fails the endpoint.
Whether a spec fits the host and the other endpoints is for `judging`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

import policy
from gateway.actions.certificate_store import authorities_in
from gateway.actions.control_channel_keys import TLS_CRYPT, open_control_channel_keys
from gateway.config import certificates
from gateway.config.endpoint_options import EndpointOptions
from gateway.config.pem import parse_certificates, parse_crls, parse_private_key
from gateway.config.problems import WrongValue
from gateway.endpoint_spec import endpoint_spec
from gateway.managed.group_references import Carrier, group_members
from gateway.managed.rule_rows import BY_HAND, authorization_rules, build_security_group, unreadable_rows
from gateway.managed.snapshot import find_network, parse_network
from gateway.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address, IPv4Network

    from gateway.config import EndpointDefaults, Network
    from gateway.managed.snapshot import (
        AssociationRow,
        EndpointRow,
        GroupRuleRow,
        ManagedEndpoint,
        RouteRow,
        RuleRow,
        Snapshot,
    )
    from gateway.store import Vault

    Object = AssociationRow | RouteRow | RuleRow | GroupRuleRow
    """A part of an endpoint that can fail by itself."""

__all__ = ["ENDING", "Builder", "Built", "Circumstances", "is_wanted"]

logger = structlog.get_logger("store")

FAULT = "A fault in the gateway; its log says which."
ENDING = frozenset({"deleting", "disassociating", "revoking"})
"""The statuses of what is to go."""


_NO_GROUPS = (
    "It has no security groups, which every target network has: nothing says what may pass. Apply some to the endpoint "
    "with ApplySecurityGroupsToClientVpnTargetNetwork."
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What building needs beside rows."""

    networks: Mapping[str, Network]
    """What this host offers, by subnet id."""
    defaults: EndpointDefaults
    vault: Vault
    addresses: Mapping[str, tuple[IPv4Address, ...]] = field(default_factory=dict)
    """The host's own, by interface."""
    running: Mapping[str, policy.EndpointSpec] = field(default_factory=dict)
    """What runs already, by endpoint: what it goes on with is not doubted anew."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Built:
    """What became of the rows of one endpoint."""

    spec: policy.EndpointSpec | None
    """None where nothing is to run: it is being deleted, or has no target network, or cannot be built."""
    problem: str = ""
    """Why the endpoint as a whole cannot be built. One that runs keeps its settings then; who may reach what is new."""
    failures: Mapping[Object, str] = field(default_factory=dict)
    """Why single objects are not in the spec."""


class _BuildError(Exception):
    """The endpoint cannot be built; a sentence."""


def is_wanted(endpoint: ManagedEndpoint) -> bool:
    """Whether an endpoint is to run: it has a target network that is not about to go, and neither is itself."""
    return endpoint.row.status_code not in ENDING and any(
        association.status_code not in ENDING for association in endpoint.associations
    )


class Builder:
    """Builds the endpoints of a snapshot."""

    def __init__(self, snapshot: Snapshot, circumstances: Circumstances) -> None:
        self._snapshot = snapshot
        self._circumstances = circumstances
        self._members = group_members(_carriers(snapshot, circumstances))
        self._whole: dict[str, Built] = {}

    def surroundings(self) -> object:
        """Everything but its own rows that an endpoint is built from: while both are equal, so is what is built."""
        circumstances = self._circumstances
        return (
            self._snapshot.certificates,
            self._snapshot.groups,
            self._snapshot.elsewhere,
            self._members,
            circumstances.networks,
            circumstances.defaults,
        )

    def running(self, endpoint: ManagedEndpoint) -> policy.EndpointSpec | None:
        """What the endpoint runs with now."""
        return self._circumstances.running.get(endpoint.row.id)

    def build(self, endpoint: ManagedEndpoint, without: Mapping[Object, str] | None = None) -> Built:
        """Build one, without objects of which it is known already why they cannot be. Raises nothing."""
        if without:
            return self._build(endpoint, dict(without))
        if endpoint.row.id not in self._whole:
            self._whole[endpoint.row.id] = self._build(endpoint, {})
        return self._whole[endpoint.row.id]

    def _build(self, endpoint: ManagedEndpoint, failures: dict[Object, str]) -> Built:
        try:
            return _Work(endpoint, self._snapshot, self._circumstances, self._members, failures).build()
        except Exception:  # one endpoint's rows must not keep the others from being served
            logger.exception("an endpoint cannot be built", endpoint=endpoint.row.id)
            return Built(self.running(endpoint), FAULT)


class _Work:
    """The building of one endpoint."""

    def __init__(
        self,
        endpoint: ManagedEndpoint,
        snapshot: Snapshot,
        circumstances: Circumstances,
        members: Mapping[str, tuple[IPv4Network, ...]],
        failures: dict[Object, str],
    ) -> None:
        self._endpoint = endpoint
        self._running = circumstances.running.get(endpoint.row.id)
        self._snapshot = snapshot
        self._circumstances = circumstances
        self._members = members
        self._failures = failures

    def build(self) -> Built:
        self._note_unreadable()
        targets = self._targets() if is_wanted(self._endpoint) else ()
        if not targets:
            return Built(None, failures=self._failures)
        try:
            return Built(self._spec(targets), failures=self._failures)
        except _BuildError as error:
            return Built(self._with_former_settings(targets), str(error), self._failures)

    def _with_former_settings(self, targets: tuple[policy.TargetNetwork, ...]) -> policy.EndpointSpec | None:
        """What runs, with what is new about who may reach what."""
        running = self._running
        if running is None:
            return None
        try:
            authentication = self._authentication(running.authentication.groups_from)
        except _BuildError:
            authentication = running.authentication
        return replace(
            running,
            authentication=authentication,
            target_networks=targets,
            routes=self._routes(targets),
            authorization_rules=self._rules(),
        )

    def _spec(self, targets: tuple[policy.TargetNetwork, ...]) -> policy.EndpointSpec:
        row = self._endpoint.row
        spec = _settings(row, self._circumstances.defaults)
        return replace(
            spec,
            server_certificate=self._server_certificate(),
            authentication=self._authentication(spec.authentication.groups_from),
            control_channel=self._control_channel(spec.control_channel),
            target_networks=targets,
            routes=self._routes(targets),
            authorization_rules=self._rules(),
        )

    def _note_unreadable(self) -> None:
        """What no caller can have asked for: another hand was in the database, or it was restored in part."""
        for row, sentence in unreadable_rows(self._endpoint):
            self._failures.setdefault(row, sentence)
        for association in self._endpoint.associations:
            if not self._endpoint.security_groups.get(association.id):
                self._failures.setdefault(association, _NO_GROUPS)

    def _targets(self) -> tuple[policy.TargetNetwork, ...]:
        found = []
        for association in self._endpoint.associations:
            if association.status_code in ENDING or association in self._failures:
                continue
            network = self._circumstances.networks.get(association.subnet_id)
            if network is not None:
                found.append(network.target(network.subnet_id, self._security_groups(association)))
            elif association.subnet_id not in self._snapshot.elsewhere:
                self._failures[association] = (
                    f"This gateway has no network {association.subnet_id} any more. Declare it as a [[network]] in its "
                    "configuration file, or disassociate it."
                )
        return tuple(found)

    def _rules(self) -> tuple[policy.AuthorizationRule, ...]:
        return authorization_rules(rule for rule in self._endpoint.rules if rule.status_code not in ENDING)

    def _routes(self, targets: tuple[policy.TargetNetwork, ...]) -> tuple[policy.Route, ...]:
        """For a destination by way of several networks, that of the oldest association."""
        reachable = {target.name for target in targets} | {policy.LOCAL}
        ages = {association.id: age for age, association in enumerate(self._endpoint.associations)}
        chosen: dict[IPv4Network, policy.Route] = {}
        for route in sorted(self._endpoint.routes, key=lambda route: ages.get(route.association_id or "", -1)):
            if route.status_code in ENDING or route in self._failures or self._is_elsewhere(route):
                continue
            if route.subnet_id not in reachable:
                self._failures[route] = (
                    f"It leads to {route.subnet_id}, which is no target network of this endpoint now."
                )
                continue
            destination = parse_network(route.destination_cidr)
            chosen.setdefault(destination, policy.Route(destination, route.subnet_id, route.description))
        return tuple(chosen[destination] for destination in sorted(chosen))

    def _is_elsewhere(self, route: RouteRow) -> bool:
        is_here = route.subnet_id in self._circumstances.networks or route.subnet_id == policy.LOCAL
        return not is_here and route.subnet_id in self._snapshot.elsewhere

    # Security groups

    def _security_groups(self, association: AssociationRow) -> tuple[policy.SecurityGroup, ...]:
        """Groups add up, so what is missing or cannot be read allows nothing."""
        known, note_failure = self._snapshot.groups, self._failures.__setitem__
        ids = self._endpoint.security_groups[association.id]
        return tuple(build_security_group(known[one], self._members, note_failure) for one in ids if one in known)

    # Certificates and keys

    def _server_certificate(self) -> policy.ServerCertificate:
        arn = self._endpoint.row.server_certificate_arn
        row = self._snapshot.certificates.get(arn)
        if row is None or row.private_key is None:
            raise _BuildError(f"There is no server certificate {arn} with a private key. Name another one.")
        try:
            key = self._circumstances.vault.open(row.private_key)
        except StoreError as error:
            raise _BuildError(f"The private key of {arn} cannot be read: {error}.") from error
        certificate = policy.ServerCertificate(row.chain.encode(), key)
        if self._running is None or self._running.server_certificate != certificate:
            self._check_certificate(f"The server certificate {arn}", certificate)
        return certificate

    def _check_certificate(self, what: str, certificate: policy.ServerCertificate) -> None:
        try:
            chain = parse_certificates(certificate.certificate_chain)
            key = parse_private_key(certificate.private_key)
        except WrongValue as error:
            raise _BuildError(f"{what} {error}.") from error
        _refuse(what, certificates.server_certificate_problems(chain, key, self._circumstances.now))

    def _authentication(self, groups_from: str | None) -> policy.CertificateAuthentication:
        mutual = [
            option.get("MutualAuthentication") or {}
            for option in self._endpoint.row.authentication_options
            if option.get("Type") == "certificate-authentication"
        ]
        if not mutual:
            raise _BuildError("Clients can prove who they are by certificates only: choose certificate-authentication.")
        crl = self._endpoint.crl
        if crl is not None:
            try:
                parse_crls(crl.pem.encode())
            except WrongValue as error:
                raise _BuildError(f"The revocation list {error}.") from error
        return policy.CertificateAuthentication(
            client_root_certificate_chain=self._client_roots(str(mutual[0].get("ClientRootCertificateChainArn", ""))),
            certificate_revocation_list=crl.pem.encode() if crl else None,
            groups_from=groups_from,
        )

    def _client_roots(self, arn: str) -> bytes:
        """The authorities of a chain: as with AWS, it may be that of a server certificate of theirs."""
        row = self._snapshot.certificates.get(arn)
        if row is None:
            raise _BuildError(f"There is no client root certificate {arn}. Name another one.")
        authorities = authorities_in(row.chain)
        if not authorities:
            raise _BuildError(
                f"The client root certificate {arn} has no authority behind it. Import it with its chain."
            )
        roots = b"".join(authority.public_bytes(Encoding.PEM) for authority in authorities)
        if self._running is None or self._running.authentication.client_root_certificate_chain != roots:
            problems = certificates.client_root_problems(authorities, None, self._circumstances.now)
            _refuse(f"The client root certificate {arn}", problems)
        return roots

    def _control_channel(self, wanted: policy.ControlChannel) -> policy.ControlChannel:
        if wanted.accept == (policy.ControlChannelProtection.NONE,):
            return wanted
        try:
            keys = open_control_channel_keys(self._circumstances.vault, self._endpoint.row.control_channel_keys)
        except StoreError as error:
            raise _BuildError(f"The key of its control channel cannot be read: {error}.") from error
        if TLS_CRYPT not in keys:
            raise _BuildError('It has no key for "tls-crypt", which control_channel asks for.')
        return replace(wanted, tls_crypt_key=keys[TLS_CRYPT])


def _carriers(snapshot: Snapshot, circumstances: Circumstances) -> Iterable[Carrier]:
    """All target networks that have security groups, of networks that this host offers."""
    for endpoint in snapshot.endpoints:
        for association in endpoint.associations:
            network = circumstances.networks.get(association.subnet_id)
            group_ids = endpoint.security_groups.get(association.id, ())
            client_range = _client_range(endpoint.row)
            if network is not None and group_ids and client_range is not None:
                addresses = circumstances.addresses.get(network.interface, ())
                yield Carrier(group_ids, client_range, network.nat, addresses)


def _client_range(row: EndpointRow) -> IPv4Network | None:
    """None for what is none: the endpoint cannot be built then, and has no clients."""
    return find_network(row.client_cidr_block)


def _settings(row: EndpointRow, defaults: EndpointDefaults) -> policy.EndpointSpec:
    """What the columns say. Who may reach what does not wait for another hand to mend them."""
    options = _options(row)
    try:
        return endpoint_spec(row.id, asdict(row), options, defaults)
    except (ValueError, TypeError, AttributeError) as error:
        raise _BuildError(f"Its row cannot be read: {error}. {BY_HAND}") from error


def _options(row: EndpointRow) -> EndpointOptions:
    try:
        return EndpointOptions.model_validate(row.settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise _BuildError(f"Its setting {key} cannot be used: {first['msg']}.") from error


def _refuse(what: str, problems: Iterable[str]) -> None:
    found = [f"{what} {problem}." for problem in problems]
    if found:
        raise _BuildError(" ".join(found))
