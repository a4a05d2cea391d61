"""`portway security-group`: what may leave an endpoint toward its networks, by protocol and port."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.objects.service import Service, command
from gateway.cli.reporting import fail

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["app"]

app = typer.Typer(help="Stateful filters by protocol and port.\n\nThey stand between an endpoint and its networks.")


def _ports_text(row: Mapping[str, Any]) -> str:
    first, last = row.get("FromPort", -1), row.get("ToPort", -1)
    if first == -1 or (first, last) == (0, 65535):
        return "all"
    return str(first) if first == last else f"{first}-{last}"


COLUMNS = (
    ("Id", "GroupId"),
    ("Name", "GroupName"),
    ("VPC", "VpcId"),
    ("Out", lambda row: str(len(row.get("IpPermissionsEgress", ())))),
    ("In", lambda row: str(len(row.get("IpPermissions", ())))),
    ("Description", "Description"),
)
RULE_COLUMNS = (
    ("Id", "SecurityGroupRuleId"),
    ("Direction", lambda row: "out" if row["IsEgress"] else "in"),
    ("Protocol", lambda row: "all" if row["IpProtocol"] == "-1" else str(row["IpProtocol"])),
    ("Ports", _ports_text),
    ("Other side", lambda row: row.get("CidrIpv4") or row.get("ReferencedGroupInfo", {}).get("GroupId", "")),
    ("Description", "Description"),
)

GroupArgument = Annotated[str, typer.Argument(help="The group: its id or name.")]
_RULE = re.compile(
    r"(?P<protocol>all|tcp|udp|icmp|[0-9]{1,3})(?::(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?)?"
    r"@(?P<other>[0-9./]+|sg-[0-9a-f]+)"
)
RULE_FORM = "PROTOCOL[:PORT[-PORT]]@NETWORK, as tcp:443@10.20.0.0/24, udp:5000-5100@10.20.0.7/32 or all@sg-…"


@command(app, "create", "portway security-group create web --description 'HTTPS only'")
def create(
    service: Service,
    *,
    name: Annotated[str, typer.Argument(help="What it is called, once in its VPC.")],
    description: Annotated[str, typer.Option("--description", help="For people.")] = "",
    vpc: Annotated[str | None, typer.Option("--vpc", help="The VPC: its id or name. If not given: main.")] = None,
) -> None:
    """Make a group. It lets everything out until its rule for that is removed."""
    reply = service.call("CreateSecurityGroup", GroupName=name, Description=description or name, VpcId=service.vpc(vpc))
    service.done(reply, f"{reply['GroupId']} is made.")


@command(app, "list", "portway security-group list")
def list_groups(service: Service) -> None:
    """List the groups."""
    service.show_list(service.list("DescribeSecurityGroups", "SecurityGroups"), COLUMNS, nothing="No security group.")


@command(app, "show", "portway security-group show web")
def show(service: Service, group: GroupArgument) -> None:
    """Show the rules of a group."""
    filters = [{"Name": "group-id", "Values": [service.security_group(group)["GroupId"]]}]
    rows = service.list("DescribeSecurityGroupRules", "SecurityGroupRules", Filters=filters)
    service.show_list(rows, RULE_COLUMNS, nothing="The group has no rule: nothing passes.")


@command(
    app,
    "modify",
    "portway security-group modify web --allow-out tcp:443@10.20.0.0/24 --remove sgr-0123456789abcdef0",
    "portway security-group modify web --allow-out all@0.0.0.0/0",
)
def modify(
    service: Service,
    *,
    group: GroupArgument,
    allow_out: Annotated[
        list[str] | None, typer.Option("--allow-out", help=f"Let clients open this: {RULE_FORM}. May be repeated.")
    ] = None,
    allow_in: Annotated[
        list[str] | None, typer.Option("--allow-in", help="Let networks open this to clients that are reachable.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", help="A rule's id, as `show` has it. May be repeated.")
    ] = None,
) -> None:
    """Add rules to a group, and remove some. In force at once, on open connections too."""
    if not (allow_out or allow_in or remove):
        raise fail("Say what to change: --allow-out, --allow-in or --remove.")
    found = service.security_group(group)
    permissions = {"Egress": _permissions(allow_out), "Ingress": _permissions(allow_in)}
    for direction, wanted in permissions.items():
        if wanted:
            service.call(f"AuthorizeSecurityGroup{direction}", GroupId=found["GroupId"], IpPermissions=wanted)
    _remove(service, found, remove or [])
    service.done({"GroupId": found["GroupId"]}, f"{found['GroupId']} is changed.")


@command(app, "delete", "portway security-group delete web")
def delete(service: Service, group: GroupArgument) -> None:
    """Delete a group that no association has."""
    found = service.security_group(group)
    reply = service.call("DeleteSecurityGroup", GroupId=found["GroupId"])
    service.done(reply, f"{found['GroupId']} is deleted.")


def _remove(service: Service, group: dict[str, Any], rules: list[str]) -> None:
    if not rules:
        return
    filters = [{"Name": "group-id", "Values": [group["GroupId"]]}]
    known = service.list("DescribeSecurityGroupRules", "SecurityGroupRules", Filters=filters)
    for egress, direction in ((True, "Egress"), (False, "Ingress")):
        here = {rule["SecurityGroupRuleId"] for rule in known if rule["IsEgress"] is egress}
        wanted = [rule for rule in rules if rule in here or (egress and rule not in _ids(known))]
        if wanted:
            service.call(f"RevokeSecurityGroup{direction}", GroupId=group["GroupId"], SecurityGroupRuleIds=wanted)


def _ids(rules: list[dict[str, Any]]) -> set[str]:
    return {str(rule["SecurityGroupRuleId"]) for rule in rules}


def _permissions(rules: list[str] | None) -> list[dict[str, Any]]:
    return [_permission(rule) for rule in rules or ()]


def _permission(text: str) -> dict[str, Any]:
    found = _RULE.fullmatch(text)
    if found is None:
        raise fail(f"{text} is no rule. Write it as {RULE_FORM}.")
    protocol = "-1" if found["protocol"] == "all" else found["protocol"]
    if found["first"] and protocol not in ("tcp", "udp"):
        raise fail(f"{text} has a port, and only tcp and udp have ports.")
    ports = (0, 65535) if protocol in ("tcp", "udp") else (-1, -1)
    if found["first"]:
        ports = (int(found["first"]), int(found["last"] or found["first"]))
    return {
        "IpProtocol": protocol,
        "FromPort": ports[0],
        "ToPort": ports[1],
        **_other_side(found["other"]),
    }


def _other_side(text: str) -> dict[str, Any]:
    if text.startswith("sg-"):
        return {"UserIdGroupPairs": [{"GroupId": text}]}
    return {"IpRanges": [{"CidrIp": text}]}
