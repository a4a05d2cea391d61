"""Endpoints of a declaration: made, changed, and with `Prune` deleted where the file does not name them.

Owns an endpoint's own settings; networks, routes and rules are for `parts`. A file's value is compared with the
store's in one form, that of the file, and what differs is given to the action that a caller would use.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from gateway.actions.call import ActionError
from gateway.actions.crl import import_crl
from gateway.actions.declaration.certificates import certificate_label, crl_label, find_certificate, normal_crl
from gateway.actions.declaration.changes import Change, Detail, Kind, refuse
from gateway.actions.declaration.parts import add_parts, remove_networks, remove_parts
from gateway.actions.declaration.state import NAME
from gateway.actions.declaration.tags import put_tags, tag_details
from gateway.actions.declaration.task import Task
from gateway.actions.endpoint_values import CERTIFICATE_AUTHENTICATION, read_given, read_new
from gateway.actions.endpoint_vpc import check_groups, read_vpc
from gateway.actions.endpoints import RESOURCE_TYPE, add_endpoint, begin_deletion, change_endpoint
from gateway.actions.objects import find_endpoint
from gateway.config.declaration import settings_of
from gateway.store.schema import endpoint as endpoint_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.actions.declaration.changes import Work
    from gateway.actions.declaration.groups import GroupIds
    from gateway.actions.declaration.state import Held, State
    from gateway.config.declaration import Authentication, Endpoint

__all__ = ["prune_endpoints", "put_endpoints"]

_PARTS = frozenset({"name", "tags", "target_network", "route", "authorization_rule", "server_key"})
"""What is compared by itself."""
_ROOTS = "authentication.client_root_certificate_chain"
_CRL = "authentication.certificate_revocation_list"


def prune_endpoints(work: Work, state: State, kept: Sequence[Held | None]) -> None:
    """Delete the endpoints that are not among those of the file, with their target networks."""
    ids = {held.row.id for held in kept if held is not None}
    for name, held in sorted(state.endpoints.items()):
        if held.row.id not in ids:
            with work.change(Change(Kind.DELETE, f'endpoint "{name}"')):
                remove_networks(work, held)
                call = work.with_parameters()
                begin_deletion(call, find_endpoint(call, held.row.id, for_deletion=True))


def put_endpoints(
    work: Work, state: State, ids: GroupIds, wanted: Sequence[Endpoint], held: Sequence[Held | None]
) -> None:
    """Make endpoints what the file says: `held` is what there is of each.

    What is to go goes first, of all of them; then come their own settings, and then what is to come. So each is judged
    beside the others as they will be, and they can take ranges, ports and routes from each other.
    """
    tasks = [
        Task(work, state, ids, _with_arns(work, endpoint, former, f"endpoint[{index}]"), former, f"endpoint[{index}]")
        for index, (endpoint, former) in enumerate(zip(wanted, held, strict=True))
    ]
    for task in tasks:
        remove_parts(task)
    for task, endpoint_id in zip(tasks, _put_all_settings(work, tasks), strict=True):
        add_parts(task, endpoint_id)


def _with_arns(work: Work, wanted: Endpoint, held: Held | None, key_path: str) -> Endpoint:
    """The endpoint with the ARNs of the certificates that it names, as the store's have them."""
    known = held.declared if held else None
    server = find_certificate(
        work,
        "server",
        wanted.server_certificate,
        f"{key_path}.server_certificate",
        private_key=wanted.server_key or "",
        held=known.server_certificate if known else "",
    )
    former = known.authentication if known else None
    authentication = _with_root(work, wanted.authentication, former, key_path)
    return wanted.model_copy(update={"server_certificate": server, "authentication": authentication})


def _with_root(work: Work, wanted: Authentication, former: Authentication | None, key_path: str) -> Authentication:
    """The same with an ARN, and with the endpoint's own list where the file has the same or none."""
    roots = find_certificate(
        work,
        "authority",
        wanted.client_root_certificate_chain,
        f"{key_path}.{_ROOTS}",
        held=former.client_root_certificate_chain if former else "",
    )
    crl, former_crl = wanted.certificate_revocation_list, former.certificate_revocation_list if former else None
    path = f"{key_path}.{_CRL}"
    if crl is None or (former_crl is not None and normal_crl(crl, path) == normal_crl(former_crl, path)):
        crl = former_crl
    return wanted.model_copy(update={"client_root_certificate_chain": roots, "certificate_revocation_list": crl})


def _put_all_settings(work: Work, tasks: Sequence[Task]) -> list[str]:
    """The endpoints without what they own in other tables; returns their ids."""
    all_details = [tuple(_details(task)) for task in tasks]
    changing = [task.held.row.id for task, details in zip(tasks, all_details, strict=True) if task.held and details]
    _vacate_ranges(work, tasks)
    moving = set(changing)
    return [_put_settings(task, details, moving) for task, details in zip(tasks, all_details, strict=True)]


def _vacate_ranges(work: Work, tasks: Sequence[Task]) -> None:
    """Take client ranges from endpoints that get others: two may get each other's, and no range is there twice."""
    moved = [
        task.held.row.id
        for task in tasks
        if task.held is not None and task.held.declared.client_cidr_block != task.wanted.client_cidr_block
    ]
    table = endpoint_table
    work.call.connection.execute(update(table).where(table.c.id.in_(moved)).values(client_cidr_block=table.c.id))


def _put_settings(task: Task, details: tuple[Detail, ...], moving: set[str]) -> str:
    """One endpoint's own settings; those that are `moving` are judged when it is their turn."""
    if task.held is not None and not details:
        return str(task.held.row.id)
    kind = Kind.MODIFY if task.held else Kind.CREATE
    with task.work.change(Change(kind, f'endpoint "{task.wanted.name}"', task.key_path, details)):
        columns = _own_columns(task)
        if task.held is None:
            endpoint_id = _create(task, columns, moving)
        else:
            moving.discard(task.held.row.id)
            endpoint_id = _modify(task, task.held, columns, moving)
        _put_crl(task, endpoint_id)
    return endpoint_id


def _create(task: Task, columns: Mapping[str, Any], moving: set[str]) -> str:
    wanted = task.wanted
    parameters = {member: value(wanted) for value, member in _MEMBERS.values()}
    tags = [{"Key": key, "Value": value} for key, value in sorted({NAME: wanted.name, **wanted.tags}.items())]
    specification = [{"ResourceType": RESOURCE_TYPE, "Tags": tags}]
    call = task.work.with_parameters(**parameters, TagSpecifications=specification)
    return str(add_endpoint(call, {**read_new(call), **columns}, moving=moving)["ClientVpnEndpointId"])


def _modify(task: Task, held: Held, columns: Mapping[str, Any], moving: set[str]) -> str:
    wanted, known = task.wanted, held.declared
    parameters = {member: value(wanted) for value, member in _MEMBERS.values() if value(wanted) != value(known)}
    call = task.work.with_parameters(**parameters)
    row = find_endpoint(call, held.row.id, for_change=True)
    change_endpoint(call, row, {**read_given(call), **columns}, moving=moving)
    put_tags(task.work, row.id, known.tags, wanted.tags)
    return str(row.id)


def _own_columns(task: Task) -> dict[str, Any]:
    """The columns that AWS has no member for, and those of the VPC."""
    wanted, known = task.wanted, task.known
    columns: dict[str, Any] = {}
    if known is None or settings_of(known) != settings_of(wanted):
        columns["settings"] = settings_of(wanted)
    if known is None or known.transport_protocol != wanted.transport_protocol:
        columns["transport_protocols"] = list(wanted.transport_protocol)
    vpc = _vpc(task)
    columns.update(_vpc_columns(task, vpc))
    if "vpc_id" in columns or (known.security_groups if known else None) != wanted.security_groups:
        columns["default_security_group_ids"] = _default_groups(task, vpc)
    return columns


def _default_groups(task: Task, vpc: str | None) -> list[str]:
    names = task.wanted.security_groups or ()
    if not names:
        return []
    if vpc is None:
        raise refuse(task.at("vpc"), "Missing. Security groups are those of a VPC, and there is no network.")
    group_ids = [task.ids.find(vpc, name, task.at("security_groups")) for name in names]
    check_groups(task.work.call, task.state.vpc_ids.get(vpc, vpc), group_ids)
    return group_ids


def _vpc(task: Task) -> str | None:
    """The name of the VPC that the endpoint is to be in, as far as anything says so."""
    if task.wanted.vpc is not None:
        return task.wanted.vpc
    for target in task.wanted.target_network:
        if target.name in task.state.networks:
            return str(task.state.networks[target.name].vpc_name)
    present = task.held.row.vpc_id if task.held else None
    return task.state.vpc_name(present) if present and task.wanted.target_network else None


def _vpc_columns(task: Task, vpc: str | None) -> dict[str, Any]:
    """The first network decides about the VPC, unless the file or the store has done so."""
    row = task.held.row if task.held else None
    present = row.vpc_id if row is not None else None
    if vpc is None:
        return {"vpc_id": None} if present else {}
    vpc_id = task.state.vpc_ids.get(vpc, vpc)
    is_asked = task.wanted.vpc is not None or task.wanted.security_groups is not None or present is not None
    if not is_asked or present == vpc_id:
        return {}
    try:
        return read_vpc(task.work.with_parameters(VpcId=vpc_id), row)
    except ActionError as error:
        raise refuse(task.at("vpc"), error.message, error.code) from error


def _put_crl(task: Task, endpoint_id: str) -> None:
    """Import a list that is new, or one that has new authorities to fit."""
    wanted, known = task.wanted.authentication, task.known.authentication if task.known else None
    pem = wanted.certificate_revocation_list
    if pem and (
        known is None
        or (pem, wanted.client_root_certificate_chain)
        != (
            known.certificate_revocation_list,
            known.client_root_certificate_chain,
        )
    ):
        task.work.run(import_crl, ClientVpnEndpointId=endpoint_id, CertificateRevocationList=pem)


# What the API calls it


def _logging(wanted: Endpoint) -> dict[str, Any]:
    log = wanted.connection_log
    if not log.enabled:
        return {"Enabled": False}
    stream = {"CloudwatchLogStream": log.stream} if log.stream else {}
    context = {"IncludeAuthorizationPolicyContext": True} if log.include_authorization_policy_context else {}
    return {"Enabled": True, "CloudwatchLogGroup": log.group, **stream, **context}


def _authentication(wanted: Endpoint) -> list[dict[str, Any]]:
    arn = wanted.authentication.client_root_certificate_chain
    return [
        {"Type": CERTIFICATE_AUTHENTICATION, "MutualAuthentication": {"ClientRootCertificateChainArn": arn}},
    ]


def _banner(wanted: Endpoint) -> dict[str, Any]:
    return {"Enabled": True, "BannerText": wanted.login_banner} if wanted.login_banner else {"Enabled": False}


_MEMBERS: dict[str, tuple[Callable[[Endpoint], Any], str]] = {
    "description": (lambda wanted: wanted.description, "Description"),
    "client_cidr_block": (lambda wanted: str(wanted.client_cidr_block), "ClientCidrBlock"),
    "vpn_port": (lambda wanted: wanted.vpn_port, "VpnPort"),
    "server_certificate": (lambda wanted: wanted.server_certificate, "ServerCertificateArn"),
    "authentication": (_authentication, "AuthenticationOptions"),
    "split_tunnel": (lambda wanted: wanted.split_tunnel, "SplitTunnel"),
    "dns_servers": (lambda wanted: [str(server) for server in wanted.dns_servers], "DnsServers"),
    "session_timeout_hours": (lambda wanted: wanted.session_timeout_hours, "SessionTimeoutHours"),
    "disconnect_on_session_timeout": (
        lambda wanted: wanted.disconnect_on_session_timeout,
        "DisconnectOnSessionTimeout",
    ),
    "login_banner": (_banner, "ClientLoginBannerOptions"),
    "client_route_enforcement": (
        lambda wanted: {"Enforced": wanted.client_route_enforcement},
        "ClientRouteEnforcementOptions",
    ),
    "self_service_portal": (
        lambda wanted: "enabled" if wanted.self_service_portal else "disabled",
        "SelfServicePortal",
    ),
    "connection_log": (_logging, "ConnectionLogOptions"),
}
"""Each key that AWS has a member for: the member, and its value as a creation has it."""


# What a plan shows


def _details(task: Task) -> list[Detail]:
    """For a new endpoint what is not a default; for another one what differs."""
    work, wanted, held = task.work, task.wanted, task.held
    new = _flat(work, wanted, task.key_path, exclude_defaults=held is None)
    if held is None:
        return [*(Detail(key, None, value) for key, value in new.items()), *tag_details({}, wanted.tags)]
    old = _flat(work, held.declared, task.key_path)
    old.pop("vpc", None)
    if held.row.vpc_id:  # where it is has been decided, and may be by the networks of the file anew
        vpc = _vpc(task)
        old["vpc"], new["vpc"] = task.state.vpc_name(held.row.vpc_id), "" if vpc is None else vpc
    changed = [Detail(key, old.get(key), new.get(key)) for key in (old | new) if old.get(key) != new.get(key)]
    return [*changed, *tag_details(held.declared.tags, wanted.tags)]


def _flat(work: Work, shown: Endpoint, key_path: str, *, exclude_defaults: bool = False) -> dict[str, str]:
    """Each value by its own key."""
    dumped = shown.model_dump(mode="json", exclude_defaults=exclude_defaults, exclude_none=True, exclude=set(_PARTS))
    flat = dict(_flattened(dumped, ""))
    flat["server_certificate"] = certificate_label(work, shown.server_certificate, f"{key_path}.server_certificate")
    flat[_ROOTS] = certificate_label(work, shown.authentication.client_root_certificate_chain, f"{key_path}.{_ROOTS}")
    if shown.authentication.certificate_revocation_list:
        flat[_CRL] = crl_label(shown.authentication.certificate_revocation_list, f"{key_path}.{_CRL}")
    return flat


def _flattened(table: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += _flattened(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)))
    return found
