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
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.objects.tables import Column, print_record, print_table
from gateway.cli.options import ConfigOption, JsonOption, examples, found_config
from gateway.cli.reporting import fail, failing_with_sentences, print_json, say
from gateway.object_ids import is_endpoint_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.api.client import ApiClient

__all__ = ["EndpointOption", "Service", "calling_api", "command"]

ACCESS_KEY_ID = "PORTWAY_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "PORTWAY_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
CA_BUNDLE = "PORTWAY_CA_BUNDLE"
AWS = "AWS_"
"""What the names of the same variables begin with for AWS's own tools; they do as well."""

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

_REMEDIES = {
    "NotRunning": "Start it there: `systemctl start portway-api`, or `portway api`.",
    "NotPermitted": "Run this as one of them, or use --api-url with an access key.",
    "NotTrusted": f"Name the file of its authority in {CA_BUNDLE}; on the gateway it is pki/ca.crt.",
}
"""What to do about errors of the client, by their codes; the API's own sentences say so themselves."""
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

        with failing_with_sentences(ConfigError):
            try:
                function(Service(_open(config, api_url), json=json), **values)
            except ApiClientError as error:
                raise fail(" ".join(filter(None, (str(error), _REMEDIES.get(error.code))))) from None

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    parameters += _SHARED_OPTIONS
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _open(config: Path, api_url: str | None) -> ApiClient:
    from gateway.api.client import ApiClient  # noqa: PLC0415
    from gateway.config.whereabouts import find_processes  # noqa: PLC0415

    if api_url is None:
        return ApiClient.at_socket(find_processes(found_config(config)).api_socket)
    key, secret, bundle = map(_variable, (ACCESS_KEY_ID, SECRET_ACCESS_KEY, CA_BUNDLE))
    if not key or not secret:
        raise fail(
            f"{api_url} asks for an access key: set {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY}. "
            "On the gateway's host, `portway access-key create` makes one."
        )
    return ApiClient.at_url(api_url, key, secret, ca_file=Path(bundle) if bundle else None)


def _variable(name: str) -> str | None:
    return os.environ.get(name) or os.environ.get(AWS + name.removeprefix("PORTWAY_"))


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
        if wanted and is_endpoint_id(wanted):
            return wanted
        endpoints = self.list("DescribeClientVpnEndpoints", "ClientVpnEndpoints")
        found = [endpoint for endpoint in endpoints if wanted in (None, name_of(endpoint))]
        if len(found) == 1:
            return str(found[0]["ClientVpnEndpointId"])
        if not endpoints:
            raise fail("There is no endpoint. Make one with `portway endpoint create`.")
        names = _known(found or endpoints, "ClientVpnEndpointId")
        if not found:
            raise fail(f'There is no endpoint "{wanted}". There are: {names}.')
        raise fail(f"There are several endpoints. Say which one is meant: {names}.")

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

    def network_names(self) -> Mapping[str, str]:
        """What networks are called, by their subnet ids."""
        return {str(subnet["SubnetId"]): name_of(subnet) for subnet in self.list("DescribeSubnets", "Subnets")}

    def vpc(self, wanted: str | None) -> str:
        """The id of a VPC that is named by it or by its name; the default one, or the only one, for None."""
        if wanted and wanted.startswith("vpc-"):
            return wanted
        vpcs = self.list("DescribeVpcs", "Vpcs")
        if not vpcs:
            raise fail("There is no VPC yet. Declare a [[network]] in config.toml, and run `portway reload`.")
        found = [vpc for vpc in vpcs if (vpc.get("IsDefault") if wanted is None else name_of(vpc) == wanted)]
        if wanted is None and not found and len(vpcs) == 1:
            found = vpcs
        if not found:
            raise fail(f"Say with --vpc which one is meant: {_known(vpcs, 'VpcId')}.")
        return str(found[0]["VpcId"])

    def security_group(self, wanted: str, vpc_id: str | None = None) -> dict[str, Any]:
        """The record of a security group that is named by its id or its name."""
        groups = self.list("DescribeSecurityGroups", "SecurityGroups")
        here = [group for group in groups if vpc_id in (None, group["VpcId"])]
        found = [group for group in here if wanted in (group["GroupId"], group["GroupName"])]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(f"{one['GroupId']} in {one['VpcId']}" for one in found)
            raise fail(f'Several groups are called "{wanted}": {ids}. Give the id.')
        names = ", ".join(sorted(group["GroupName"] for group in here)) or "none"
        raise fail(f'There is no security group "{wanted}". There are: {names}.')

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


def _known(records: Sequence[Mapping[str, Any]], member: str) -> str:
    """The names of records with their ids, for a sentence."""
    return ", ".join(
        f"{name} ({record[member]})" if (name := name_of(record)) else str(record[member]) for record in records
    )


def one_of(rows: Sequence[dict[str, Any]], what: str) -> dict[str, Any]:
    """The only row, or the command's end with a sentence."""
    if not rows:
        raise fail(f"There is no {what}.")
    return rows[0]
