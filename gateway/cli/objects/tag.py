"""`portway tag`: names and notes on endpoints, networks and security groups."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from gateway.cli.objects.service import Service, command
from gateway.cli.reporting import fail

__all__ = ["app"]

app = typer.Typer(help="Tags on objects.\n\nThe tag Name is what commands may call an endpoint.")

COLUMNS = (("Resource", "ResourceId"), ("Type", "ResourceType"), ("Key", "Key"), ("Value", "Value"))

ResourceArgument = Annotated[str, typer.Argument(help="What is tagged: its id; of an endpoint, the name does as well.")]
_ID = re.compile(r"[a-z]+(-[a-z]+)*-[0-9a-f]{8,17}")


@command(app, "create", "portway tag create cvpn-endpoint-0123456789abcdef0 Name=staff cost-centre=42")
def create(
    service: Service, resource: ResourceArgument, tags: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...")]
) -> None:
    """Set tags; those of the same key are replaced."""
    pairs = [tag.partition("=") for tag in tags]
    wrong = [key for key, equals, _ in pairs if not equals]
    if wrong:
        raise fail(f"{wrong[0]} is no tag. Write it as KEY=VALUE.")
    reply = service.call(
        "CreateTags", Resources=[_id(service, resource)], Tags=[{"Key": key, "Value": value} for key, _, value in pairs]
    )
    service.done(reply, f"{resource} is tagged.")


@command(app, "list", "portway tag list", "portway tag list cvpn-endpoint-0123456789abcdef0")
def list_tags(service: Service, resource: Annotated[str | None, typer.Argument(help="Only of this.")] = None) -> None:
    """List tags."""
    filters = [{"Name": "resource-id", "Values": [_id(service, resource)]}] if resource else None
    service.show_list(service.list("DescribeTags", "Tags", Filters=filters), COLUMNS, nothing="No tag.")


@command(app, "delete", "portway tag delete cvpn-endpoint-0123456789abcdef0 cost-centre")
def delete(
    service: Service, resource: ResourceArgument, keys: Annotated[list[str], typer.Argument(metavar="KEY...")]
) -> None:
    """Remove tags."""
    reply = service.call("DeleteTags", Resources=[_id(service, resource)], Tags=[{"Key": key} for key in keys])
    service.done(reply, f"{resource} has lost {', '.join(keys)}.")


def _id(service: Service, resource: str) -> str:
    return resource if _ID.fullmatch(resource) else service.endpoint(resource)
