"""`portway access-key`: what callers of the API sign with."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.objects.service import Service, command, one_of
from gateway.cli.reporting import fail

__all__ = ["app"]

app = typer.Typer(help="Access keys for the API.")

COLUMNS = (
    ("Id", "AccessKeyId"),
    ("Role", "Role"),
    ("Endpoints", lambda row: ", ".join(row.get("ClientVpnEndpointIds") or ()) or "all"),
    ("Status", "Status"),
    ("Last used", "LastUsedDate"),
    ("Description", "Description"),
)

KeyArgument = Annotated[str, typer.Argument(help="The key's id.")]


@command(
    app,
    "create",
    "portway access-key create --role operator --description terraform",
    "portway access-key create --role read-only --endpoint cvpn-endpoint-0123456789abcdef0",
)
def create(
    service: Service,
    *,
    role: Annotated[
        str,
        typer.Option(
            "--role",
            help="admin: everything. operator: everything about endpoints. read-only: describe and export.",
        ),
    ] = "admin",
    endpoint: Annotated[
        list[str] | None, typer.Option("--endpoint", "-e", help="Only for this endpoint; may be repeated.")
    ] = None,
    description: Annotated[str | None, typer.Option("--description", help="For people: who uses it.")] = None,
) -> None:
    """Make a key. Its secret is shown now, and never again."""
    endpoints = [service.endpoint(one) for one in endpoint or ()] or None
    reply = service.call("CreateAccessKey", Role=role, ClientVpnEndpointIds=endpoints, Description=description)
    key_id, secret = reply["AccessKey"]["AccessKeyId"], reply["SecretAccessKey"]
    service.done(reply, f"AWS_ACCESS_KEY_ID={key_id}\nAWS_SECRET_ACCESS_KEY={secret}")


@command(app, "list", "portway access-key list")
def list_keys(service: Service) -> None:
    """List the keys, without their secrets."""
    service.show_list(service.list("ListAccessKeys", "AccessKeys"), COLUMNS, nothing="No access key.")


@command(app, "show", "portway access-key show PWKAABCDEFGHIJKLMNOP")
def show(service: Service, key: KeyArgument) -> None:
    """Show all about a key, but its secret."""
    found = [one for one in service.list("ListAccessKeys", "AccessKeys") if one["AccessKeyId"] == key]
    service.show(one_of(found, f"access key {key}"))


@command(app, "modify", "portway access-key modify PWKAABCDEFGHIJKLMNOP --disable")
def modify(
    service: Service,
    *,
    key: KeyArgument,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether the key is accepted.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="For people.")] = None,
) -> None:
    """Disable a key, enable it again, or describe it anew."""
    if enable is None and description is None:
        raise fail("Say what to change: --enable, --disable or --description.")
    status = None if enable is None else "Active" if enable else "Inactive"
    reply = service.call("ModifyAccessKey", AccessKeyId=key, Status=status, Description=description)
    service.done(reply, f"{key} is changed.")


@command(app, "delete", "portway access-key delete PWKAABCDEFGHIJKLMNOP")
def delete(service: Service, key: KeyArgument) -> None:
    """Delete a key for good."""
    reply = service.call("DeleteAccessKey", AccessKeyId=key)
    service.done(reply, f"{key} is deleted.")
