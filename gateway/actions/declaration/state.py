"""The store as a declaration would say it: rows become the same models that a file is read into.

Only what is there to stay counts: what is being deleted, disassociated or revoked is gone already. Order is stable;
target networks come by age, since for a destination behind several of them the oldest decides.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from gateway.actions.objects import is_visible
from gateway.actions.tagging import tags_of
from gateway.config.declaration import Endpoint, SecurityGroup
from gateway.config.endpoint_options import EndpointOptions
from gateway.store import schema
from policy import ALL_PROTOCOLS, ANY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Row, Select

    from gateway.actions.call import Call

__all__ = ["NAME", "Held", "HeldGroup", "HeldNetwork", "State", "is_endpoint_id", "read_state"]

NAME = "Name"
"""The tag that endpoints are called by."""
_ID = re.compile(r"cvpn-endpoint-[0-9a-f]{17}")
_MAX_NAME = 255
_ENDING = ("deleting", "disassociating", "revoking")


@dataclass(frozen=True, slots=True)
class HeldNetwork:
    """A target network of an endpoint."""

    association_id: str
    subnet_id: str
    group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """An endpoint of the store."""

    row: Row[Any]
    declared: Endpoint
    networks: Mapping[str, HeldNetwork]
    """By their names."""
    targets: Mapping[str, str]
    """The subnet ids that its routes lead to, by what they are called."""
    automatic: frozenset[tuple[str, str]]
    """Destination and target of the routes that came with its networks."""

    @property
    def tag(self) -> str | None:
        """Its tag `Name`, if it has one."""
        name = self.declared.name
        return self.declared.tags.get(NAME) if is_endpoint_id(name) else name

    def under(self, name: str) -> Held:
        """The same, called by its id or by its tag."""
        tags = {key: value for key, value in self.declared.tags.items() if key != NAME}
        if is_endpoint_id(name) and self.tag is not None:
            tags[NAME] = self.tag
        return replace(self, declared=self.declared.model_copy(update={"name": name, "tags": tags}))


@dataclass(frozen=True, slots=True)
class HeldGroup:
    """A security group of the store."""

    row: Row[Any]
    declared: SecurityGroup


@dataclass(frozen=True, slots=True)
class State:
    """All that declarations are about."""

    endpoints: dict[str, Held] = field(default_factory=dict)
    """Those of the API that the caller may know of, by name."""
    groups: dict[tuple[str, str], HeldGroup] = field(default_factory=dict)
    """By VPC and name."""
    networks: dict[str, Row[Any]] = field(default_factory=dict)
    """What hosts offer, by name."""
    vpc_ids: dict[str, str] = field(default_factory=dict)
    """By name."""

    def vpc_name(self, vpc_id: str) -> str:
        """What people call a VPC; its id where no network is in it any more."""
        return next((name for name, one in self.vpc_ids.items() if one == vpc_id), vpc_id)

    def exported(self) -> dict[str, Any]:
        """All of it as a declaration, without what goes without saying."""
        groups = sorted(self.groups.values(), key=lambda group: (group.declared.vpc, group.declared.name))
        endpoints = sorted(self.endpoints.values(), key=lambda held: held.declared.name)
        return {
            "security_group": [_exported_group(group.declared) for group in groups],
            "endpoint": [_exported_endpoint(held.declared) for held in endpoints],
        }


@dataclass(frozen=True, slots=True)
class _Names:
    """What a declaration calls the things that rows have ids of."""

    groups: Mapping[str, str]
    subnets: Mapping[str, str]

    def subnet(self, subnet_id: str) -> str:
        """A network's name; its id where no host offers it any more."""
        return self.subnets.get(subnet_id, subnet_id)

    def security_groups(self, group_ids: Iterable[str]) -> dict[str, Any]:
        """The key `security_groups`, where there are any."""
        found = [self.groups.get(group_id, group_id) for group_id in group_ids]
        return {"security_groups": found} if found else {}


def is_endpoint_id(name: str) -> bool:
    """Whether a name is an id, and no tag."""
    return _ID.fullmatch(name) is not None


def read_state(call: Call) -> State:
    """Read it. Raises `ValidationError` for what no declaration could say."""
    state = State()
    offered = call.connection.execute(select(schema.network).where(schema.network.c.file_endpoint_id.is_(None)))
    for row in offered:
        state.networks[row.name] = row
        state.vpc_ids[row.vpc_name] = row.vpc_id
    names = {row.id: row.name for row in call.connection.execute(select(schema.security_group))}
    _read_groups(call, state, names)
    _read_endpoints(call, state, names)
    return state


# Security groups


def _read_groups(call: Call, state: State, names: Mapping[str, str]) -> None:
    rows = call.connection.execute(select(schema.security_group)).all()
    tags = tags_of(call, [row.id for row in rows])
    table = schema.security_group_rule
    rules: defaultdict[tuple[str, bool], list[Row[Any]]] = defaultdict(list)
    order = (table.c.protocol, table.c.from_port, table.c.to_port, table.c.cidr, table.c.id)
    for rule in call.connection.execute(select(table).order_by(*order)):
        rules[rule.group_id, rule.is_egress].append(rule)
    for row in rows:
        declared = SecurityGroup.model_validate(
            {
                "name": row.name,
                "vpc": state.vpc_name(row.vpc_id),
                "description": row.description,
                "egress": [_rule(rule, names) for rule in rules[row.id, True]],
                "ingress": [_rule(rule, names) for rule in rules[row.id, False]],
                "tags": tags[row.id],
            }
        )
        state.groups[declared.vpc, declared.name] = HeldGroup(row, declared)


def _rule(row: Row[Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A rule with as little said as possible: no ports where every one is meant."""
    other = {"cidr": row.cidr} if row.cidr else {"group": names.get(row.referenced_group_id, row.referenced_group_id)}
    protocol = "all" if row.protocol == ALL_PROTOCOLS else row.protocol
    is_every = (row.from_port, row.to_port) in {(ANY, ANY), (0, 65535)}
    ports = {} if is_every else {"from_port": row.from_port, "to_port": row.to_port}
    return {"protocol": protocol, **ports, **other, "description": row.description}


def _exported_group(group: SecurityGroup) -> dict[str, Any]:
    exported = group.model_dump(mode="json", exclude_defaults=True)
    if group.description == group.name:
        exported.pop("description", None)
    return exported


# Endpoints


def _read_endpoints(call: Call, state: State, group_names: Mapping[str, str]) -> None:
    table = schema.endpoint
    query = select(table).where(
        table.c.origin == "api", table.c.ended_at.is_(None), table.c.status_code.not_in(_ENDING)
    )
    rows = [row for row in call.connection.execute(query) if is_visible(call, row.id)]
    tags = tags_of(call, [row.id for row in rows])
    times = Counter(own.get(NAME, "") for own in tags.values())
    names = _Names(group_names, {row.subnet_id: name for name, row in state.networks.items()})
    for row in rows:
        own = dict(tags[row.id])
        name = own.get(NAME, "")
        if times[name] == 1 and _is_good_name(name):
            del own[NAME]
        else:
            name = row.id
        state.endpoints[name] = _held(call, state, row, {"name": name, "tags": own}, names)


def _is_good_name(name: str) -> bool:
    is_label = 0 < len(name) <= _MAX_NAME and name.isprintable() and name == name.strip()
    return is_label and not is_endpoint_id(name)


def _held(call: Call, state: State, row: Row[Any], named: Mapping[str, Any], names: _Names) -> Held:
    networks = _networks(call, row.id, names)
    routes = call.connection.execute(
        _of(schema.route, row.id, "destination_cidr", "subnet_id").where(schema.route.c.status_code.not_in(_ENDING))
    ).all()
    declared = {
        **named,
        **_columns(row),
        **_settings(row),
        "authentication": _authentication(call, row),
        "target_network": [
            {"name": name} | names.security_groups(network.group_ids) for name, network in networks.items()
        ],
        "route": [
            _described(one, destination=one.destination_cidr, target=names.subnet(one.subnet_id))
            for one in routes
            if one.origin == "add-route"
        ],
        "authorization_rule": _rules(call, row.id),
        **names.security_groups(row.default_security_group_ids),
        **({"vpc": state.vpc_name(row.vpc_id)} if row.vpc_id and not networks else {}),
    }
    automatic = {(one.destination_cidr, names.subnet(one.subnet_id)) for one in routes if one.origin == "associate"}
    targets = {names.subnet(one.subnet_id): one.subnet_id for one in routes}
    return Held(row, Endpoint.model_validate(declared), networks, targets, frozenset(automatic))


def _networks(call: Call, endpoint_id: str, names: _Names) -> dict[str, HeldNetwork]:
    table, groups = schema.association, schema.association_security_group
    alive = (table.c.ended_at.is_(None), table.c.status_code.not_in(_ENDING))
    rows = call.connection.execute(_of(table, endpoint_id, "created_at", "id").where(*alive)).all()
    carried: defaultdict[str, list[str]] = defaultdict(list)
    query = select(groups).where(groups.c.association_id.in_([row.id for row in rows])).order_by(groups.c.position)
    for row in call.connection.execute(query):
        carried[row.association_id].append(row.group_id)
    return {names.subnet(row.subnet_id): HeldNetwork(row.id, row.subnet_id, tuple(carried[row.id])) for row in rows}


def _rules(call: Call, endpoint_id: str) -> list[dict[str, Any]]:
    table = schema.authorization_rule
    query = _of(table, endpoint_id, "destination_cidr", "group_id").where(table.c.status_code.not_in(_ENDING))
    return [
        _described(row, destination=row.destination_cidr) | ({"group": row.group_id} if row.group_id else {"all": True})
        for row in call.connection.execute(query)
    ]


def _of(table: Any, endpoint_id: str, *order: str) -> Select[Any]:
    return select(table).where(table.c.endpoint_id == endpoint_id).order_by(*(table.c[name] for name in order))


def _described(row: Row[Any], **values: Any) -> dict[str, Any]:
    return {**values, "description": row.description}


def _columns(row: Row[Any]) -> dict[str, Any]:
    return {
        "description": row.description,
        "client_cidr_block": row.client_cidr_block,
        "transport_protocol": row.transport_protocols,
        "vpn_port": row.vpn_port,
        "server_certificate": row.server_certificate_arn,
        "split_tunnel": row.split_tunnel,
        "dns_servers": row.dns_servers,
        "session_timeout_hours": row.session_timeout_hours,
        "disconnect_on_session_timeout": row.disconnect_on_session_timeout,
        "login_banner": row.client_login_banner_options.get("BannerText", ""),
        "client_route_enforcement": row.client_route_enforcement_options.get("Enforced", False),
        "self_service_portal": row.self_service_portal,
        "connection_log": _connection_log(row.connection_log_options),
    }


def _connection_log(options: Mapping[str, Any]) -> dict[str, Any]:
    if not options.get("Enabled"):
        return {"enabled": False}
    return {
        "group": options["CloudwatchLogGroup"],
        "stream": options.get("CloudwatchLogStream") or "",
        "include_authorization_policy_context": options.get("IncludeAuthorizationPolicyContext", False),
    }


def _settings(row: Row[Any]) -> dict[str, Any]:
    settings: dict[str, Any] = EndpointOptions.model_validate(row.settings).model_dump(
        mode="json", exclude_defaults=True
    )
    settings.pop("groups_from", None)
    protection = settings.pop("control_channel", None)
    return settings | ({"control_channel": {"accept": [protection]}} if protection else {})


def _authentication(call: Call, row: Row[Any]) -> dict[str, Any]:
    (option,) = row.authentication_options
    pem = call.connection.scalar(select(schema.crl.c.pem).where(schema.crl.c.endpoint_id == row.id))
    groups_from = row.settings.get("groups_from")
    return {
        "client_root_certificate_chain": option["MutualAuthentication"]["ClientRootCertificateChainArn"],
        **({"certificate_revocation_list": pem} if pem else {}),
        **({"groups_from": groups_from} if groups_from else {}),
    }


def _exported_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """The endpoint without the security groups that its networks have anyway."""
    exported: dict[str, Any] = endpoint.model_dump(mode="json", exclude_defaults=True)
    usual = list(endpoint.security_groups or ("default",))
    for network in exported.get("target_network", ()):
        if network.get("security_groups") == usual:
            del network["security_groups"]
    return exported
