"""The API as Portway's own commands call it: by the Unix socket without keys, or from elsewhere by HTTPS with one.

    ApiClient.at_socket(path).call("DescribeClientVpnRoutes", ClientVpnEndpointId="cvpn-endpoint-…")["Routes"]

Requests are written, signed and replies read by botocore's own code and the models that the server has too. Must not
know what operations mean.
"""

from __future__ import annotations

import socket
import ssl
from functools import cached_property
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.parsers import ResponseParserError, create_parser
from botocore.serialize import create_serializer

from gateway.api.service_model import load_services

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from botocore.model import OperationModel

__all__ = ["ApiClient", "ApiClientError"]

TIMEOUT_S = 60.0
"""Longer than the server lets any call wait."""

_FORM = "application/x-www-form-urlencoded; charset=utf-8"
_PAGING = frozenset({"MaxResults", "NextToken"})


class ApiClientError(Exception):
    """A call did not succeed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """The API's. `InvalidCall` where the call did not leave; where there was no reply `NotRunning`, `NotPermitted`,
        `NotTrusted`, or else `Unreachable`."""
        self.message = message
        """A sentence."""


class ApiClient:
    """Calls operations of all services that the API has, with a connection for each. Blocks."""

    def __init__(
        self, connect: Callable[[], HTTPConnection], url: str, credentials: Credentials | None = None, region: str = ""
    ) -> None:
        """`at_socket` and `at_url` make one."""
        self._connect = connect
        self._url = url
        self._credentials = credentials
        self._region = region

    @classmethod
    def at_socket(cls, path: Path) -> Self:
        """Call by the Unix socket: as root, or as the gateway's own user."""
        return cls(lambda: _UnixConnection(path), str(path))

    @classmethod
    def at_url(
        cls, url: str, key_id: str, secret: str, *, region: str = "on-premises-1", ca_file: Path | None = None
    ) -> Self:
        """Call by HTTPS with an access key; `ca_file` has the authority to trust instead of the system's.

        Raises `ApiClientError` where `url` is none of HTTPS, or the file has no certificates.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ApiClientError(
                "InvalidCall", f"{url!r} is no address of an API. Write it as https://vpn.example.com:8443."
            )
        try:
            trust = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise ApiClientError("InvalidCall", f"{ca_file} cannot be used to check the server: {error}.") from error
        host, port = parts.hostname, parts.port
        connect = lambda: HTTPSConnection(host, port, timeout=TIMEOUT_S, context=trust)  # noqa: E731
        return cls(connect, f"https://{parts.netloc}/", Credentials(key_id, secret), region)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation and return its reply, both by the SDK's member names. Raises `ApiClientError`.

        Of a list that comes in pages all are returned, unless the caller turns them, with MaxResults or NextToken.
        """
        reply = self._call_once(operation, parameters)
        if _PAGING & parameters.keys():
            return reply
        page = reply
        while token := page.get("NextToken"):
            page = self._call_once(operation, {**parameters, "NextToken": token})
            for name, value in page.items():
                if isinstance(value, list):
                    reply[name] = [*reply.get(name, ()), *value]
        reply.pop("NextToken", None)
        return reply

    def _call_once(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        model = self._operations.get(operation)
        if model is None:
            raise ApiClientError("InvalidCall", f"There is no operation {operation}.")
        body = self._write(model, parameters)
        connection = self._connect()
        try:
            connection.request("POST", "/", body, self._headers(model, body))
            response = connection.getresponse()
            return _read(model, response.status, response.read())
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _unreachable(self, error: OSError | HTTPException) -> ApiClientError:
        match error:
            case ssl.SSLCertVerificationError():
                sentence = f"The certificate of {self._url} cannot be trusted: {error.verify_message}."
                return ApiClientError("NotTrusted", sentence)
            case PermissionError():
                return ApiClientError("NotPermitted", f"{self._url} is for root and the gateway's own user.")
            case FileNotFoundError() | ConnectionRefusedError():
                return ApiClientError("NotRunning", f"No API runs at {self._url}.")
            case OSError():
                return ApiClientError("Unreachable", f"No API answers at {self._url}: {error.strerror or error}.")
        return ApiClientError("Unreachable", f"What answers at {self._url} is no API.")

    @cached_property
    def _operations(self) -> dict[str, OperationModel]:
        services = load_services().values()
        return {name: service.operation_model(name) for service in services for name in service.operation_names}

    def _write(self, model: OperationModel, parameters: Mapping[str, Any]) -> bytes:
        serializer = create_serializer(model.service_model.protocol)
        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            return urlencode(serializer.serialize_to_request(given, model)["body"]).encode()
        except BotoCoreError as error:
            raise ApiClientError("InvalidCall", str(error)) from error

    def _headers(self, model: OperationModel, body: bytes) -> dict[str, str]:
        if self._credentials is None:
            return {"Content-Type": _FORM}
        request = AWSRequest("POST", self._url, headers={"Content-Type": _FORM}, data=body)
        SigV4Auth(self._credentials, model.service_model.signing_name, self._region).add_auth(request)
        return dict(request.headers.items())


class _UnixConnection(HTTPConnection):
    """HTTP by a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def _read(model: OperationModel, status: int, body: bytes) -> dict[str, Any]:
    parser = create_parser(model.service_model.protocol)
    try:
        reply: dict[str, Any] = parser.parse({"body": body, "headers": {}, "status_code": status}, model.output_shape)
    except ResponseParserError as error:
        sentence = f"The server's answer, with status {status}, is none of the API's."
        raise ApiClientError("Unreachable", sentence) from error
    if "Error" in reply:
        raise ApiClientError(reply["Error"].get("Code", "Unknown"), reply["Error"].get("Message", ""))
    reply.pop("ResponseMetadata", None)
    return reply
