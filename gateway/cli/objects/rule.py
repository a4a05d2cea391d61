"""`portway rule`: authorization rules, which say who may reach what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.objects.service import EndpointOption, Service, command
from gateway.cli.reporting import fail

__all__ = ["app"]

app = typer.Typer(help="Who may reach what.\n\nWhat no rule allows is denied.")

COLUMNS = (
    ("Destination", "DestinationCidr"),
    ("Who", lambda row: "everyone" if row.get("AccessAll") else f"group {row.get('GroupId')}"),
    ("Status", "Status.Code"),
    ("Description", "Description"),
    ("Message", "Status.Message"),
)

DestinationOption = Annotated[str, typer.Option("--destination", help="The network, as 10.20.0.0/24.")]
GroupOption = Annotated[str | None, typer.Option("--group", help="The group that may reach it.")]
AllOption = Annotated[bool, typer.Option("--all", help="Everyone may reach it.")]


@command(
    app,
    "create",
    "portway rule create --destination 10.20.0.0/24 --group engineering",
    "portway rule create --endpoint staff --destination 10.20.0.53/32 --all --description DNS",
)
def create(
    service: Service,
    *,
    destination: DestinationOption,
    group: GroupOption = None,
    everyone: AllOption = False,
    endpoint: EndpointOption = None,
    description: Annotated[str | None, typer.Option("--description", help="For people.")] = None,
) -> None:
    """Let a group, or everyone, reach a network. In force on running sessions within a second.

    The rules with the longest prefix around an address decide about it, and only those: a rule for one group on a
    narrow network takes it from everybody else.
    """
    _check_who(group, everyone)
    reply = service.call(
        "AuthorizeClientVpnIngress",
        ClientVpnEndpointId=service.endpoint(endpoint),
        TargetNetworkCidr=destination,
        AccessGroupId=group,
        AuthorizeAllGroups=everyone or None,
        Description=description,
    )
    service.done(reply, f"The rule for {destination} is {reply['Status']['Code']}.")


@command(app, "list", "portway rule list --endpoint staff")
def list_rules(service: Service, endpoint: EndpointOption = None) -> None:
    """List the rules of an endpoint."""
    service.show_list(_all(service, endpoint), COLUMNS, nothing="No rule: nobody reaches anything.")


@command(app, "show", "portway rule show --destination 10.20.0.0/24")
def show(service: Service, destination: DestinationOption, endpoint: EndpointOption = None) -> None:
    """Show the rules for one destination."""
    filters = [{"Name": "destination-cidr", "Values": [destination]}]
    service.show_list(_all(service, endpoint, Filters=filters), COLUMNS, nothing=f"No rule for {destination}.")


@command(app, "delete", "portway rule delete --destination 10.20.0.0/24 --group engineering")
def delete(
    service: Service,
    destination: DestinationOption,
    group: GroupOption = None,
    everyone: AllOption = False,
    endpoint: EndpointOption = None,
) -> None:
    """Revoke a rule: that of one group, or the one for everyone."""
    _check_who(group, everyone)
    reply = service.call(
        "RevokeClientVpnIngress",
        ClientVpnEndpointId=service.endpoint(endpoint),
        TargetNetworkCidr=destination,
        AccessGroupId=group,
        RevokeAllGroups=everyone or None,
    )
    service.done(reply, f"The rule for {destination} is {reply['Status']['Code']}.")


def _all(service: Service, endpoint: str | None, **filters: Any) -> list[dict[str, Any]]:
    return service.list(
        "DescribeClientVpnAuthorizationRules",
        "AuthorizationRules",
        ClientVpnEndpointId=service.endpoint(endpoint),
        **filters,
    )


def _check_who(group: str | None, everyone: bool) -> None:
    if (group is None) != everyone:
        raise fail("Say who: either --group for one group, or --all for everyone.")
