"""How the commands about managed objects reach the API, and how they print what it says.

    @command(app, "portway rule list")
    def list_rules(service: Service, endpoint: EndpointOption = None) -> None: ...

`command` gives every such command the same options: where the API is, and `--json`. On the gateway's host that is the
API's Unix socket, which needs no keys; elsewhere `--api-url`, with an access key from the environment.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.objects.tables import Column, print_record, print_table
from gateway.cli.options import ConfigOption, JsonOption, examples
from gateway.cli.reporting import fail, failing_with_sentences, print_json, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.api.client import ApiClient

__all__ = ["EndpointOption", "Service", "calling_api", "command"]

ACCESS_KEY_ID = "PORTWAY_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "PORTWAY_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
CA_BUNDLE = "PORTWAY_CA_BUNDLE"

ApiUrlOption = Annotated[
    str | None,
    typer.Option(
        "--api-url",
        envvar="PORTWAY_API_URL",
        help=f"A gateway elsewhere, as https://vpn.example.com:8443; needs {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} in "
        f"the environment, and {CA_BUNDLE} where its certificate is not known. If not given: the API of this host, "
        "over its socket.",
        show_envvar=False,
    ),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint", "-e", help="The endpoint: its id, its name, or its tag Name. Needed where there are several."
    ),
]

_ENDPOINT_ID = re.compile(r"cvpn-endpoint-[0-9a-f]{17}")
_SHARED_OPTIONS = (
    inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, annotation=ConfigOption),
    inspect.Parameter("api_url", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ApiUrlOption),
    inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption),
)


def command(app: typer.Typer, name: str, *lines: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose first parameter is a `Service`; `lines` are examples for its help."""
    return lambda function: app.command(name, epilog=examples(*lines))(calling_api(function))


def calling_api(function: Callable[..., None]) -> Callable[..., None]:
    """The same function with options that say where the API is, in the place of its first parameter."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    @functools.wraps(function)
    def run(**values: Any) -> None:
        config, api_url, json = (values.pop(shared.name) for shared in _SHARED_OPTIONS)
        # These take ten times as long to import as everything that `--help` needs.
        from gateway.api.client import ApiClientError  # noqa: PLC0415
        from gateway.config import ConfigError  # noqa: PLC0415

        with failing_with_sentences(ConfigError, ApiClientError):
            function(Service(_open(config, api_url), json=json), **values)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    parameters += _SHARED_OPTIONS
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _open(config: Path, api_url: str | None) -> ApiClient:
    from gateway.api.client import ApiClient  # noqa: PLC0415
    from gateway.config.whereabouts import find_processes  # noqa: PLC0415

    if api_url is None:
        return ApiClient.at_socket(find_processes(config).api_socket)
    key, secret = os.environ.get(ACCESS_KEY_ID), os.environ.get(SECRET_ACCESS_KEY)
    if not key or not secret:
        raise fail(f"{api_url} asks for an access key: set {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY}.")
    bundle = os.environ.get(CA_BUNDLE)
    return ApiClient.at_url(api_url, key, secret, ca_file=Path(bundle) if bundle else None)


class Service:
    """The API, and the terminal, as one command sees them."""

    def __init__(self, client: ApiClient, *, json: bool) -> None:
        self._client = client
        self.json = json

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Carry out one operation; parameters that are None are left out. Raises `ApiClientError`."""
        return self._client.call(operation, **parameters)

    def list(self, operation: str, member: str, **parameters: Any) -> list[dict[str, Any]]:
        """A list whole, which replies call `member`."""
        return list(self.call(operation, **parameters).get(member, ()))

    def endpoint(self, wanted: str | None) -> str:
        """The id of the endpoint that is meant. Ends the command with a sentence where none or several are."""
        if wanted and _ENDPOINT_ID.fullmatch(wanted):
            return wanted
        endpoints = self.list("DescribeClientVpnEndpoints", "ClientVpnEndpoints")
        found = [endpoint for endpoint in endpoints if wanted in (None, name_of(endpoint))]
        if len(found) == 1:
            return str(found[0]["ClientVpnEndpointId"])
        if not endpoints:
            raise fail("There is no endpoint. Make one with `portway endpoint create`.")
        names = ", ".join(f"{endpoint['ClientVpnEndpointId']} ({name_of(endpoint)})" for endpoint in found or endpoints)
        missing = f'There is no endpoint "{wanted}". ' if wanted and not found else ""
        raise fail(f"{missing}Say with --endpoint which one is meant: {names}.")

    def network(self, wanted: str) -> str:
        """The subnet id of a network that is named by it or by its name."""
        if wanted.startswith("subnet-") or wanted == "local":
            return wanted
        subnets = self.list("DescribeSubnets", "Subnets")
        for subnet in subnets:
            if name_of(subnet) == wanted:
                return str(subnet["SubnetId"])
        names = ", ".join(name_of(subnet) for subnet in subnets) or "none; declare one as [[network]] in config.toml"
        raise fail(f'There is no network "{wanted}". There are: {names}.')

    def certificate(self, wanted: str, kind: str) -> str:
        """The ARN of a certificate that is named by it or by its name; `kind` is `server` or `authority`."""
        if wanted.startswith("arn:"):
            return wanted
        certificates = self.list("ListCertificates", "CertificateSummaryList")
        found = [one for one in certificates if one["Kind"] == kind and one["Name"] == wanted]
        if len(found) == 1:
            return str(found[0]["CertificateArn"])
        names = ", ".join(f"{one['Name']} ({one['CertificateArn']})" for one in certificates if one["Kind"] == kind)
        raise fail(
            f'{"No" if not found else "More than one"} {kind} certificate is called "{wanted}". There are: {names}.'
        )

    def show_list(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, nothing: str) -> None:
        """Print a list: as a table, or the API's records as JSON. `nothing` is what people read of an empty one."""
        if self.json:
            print_json(list(rows))
        elif rows:
            print_table(rows, columns)
        else:
            say(nothing)

    def show(self, record: Mapping[str, Any]) -> None:
        """Print one record whole."""
        if self.json:
            print_json(dict(record))
        else:
            print_record(record)

    def done(self, reply: Mapping[str, Any], sentence: str) -> None:
        """Print the outcome of a change: a sentence, or the API's reply as JSON."""
        if self.json:
            print_json(dict(reply))
        else:
            typer.echo(sentence)


def name_of(record: Mapping[str, Any]) -> str:
    """The tag `Name` of a record; empty where it has none."""
    return next((str(tag["Value"]) for tag in record.get("Tags", ()) if tag["Key"] == "Name"), "")


def one_of(rows: Sequence[dict[str, Any]], what: str) -> dict[str, Any]:
    """The only row, or the command's end with a sentence."""
    if not rows:
        raise fail(f"There is no {what}.")
    return rows[0]
