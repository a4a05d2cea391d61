"""A caller of the API, as a process of its own: `python -m tests.bench.reader OPERATION …`, with AWS's own SDK.

It reads the same thing again and again over one connection, and says on standard output, as JSON, how long each
read took: `call_ms` is all that the caller waits for, `server_ms` the part of it from the request's first octet to the
reply's last. The difference is the SDK's own work. The access key is in the SDK's variables of the environment.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from typing import Any

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.httpsession import URLLib3Session

NO_DELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
"""As the SDK itself has it; otherwise a request in two pieces waits for an acknowledgement that comes late."""


class Wire:
    """What sends requests in the SDK's place, and notes how long each was on its way."""

    def __init__(self, ca_file: str) -> None:
        self._session = URLLib3Session(verify=ca_file, socket_options=NO_DELAY)
        self.took_ms: list[float] = []

    def send(self, request: Any, **_: Any) -> Any:
        begun = time.perf_counter()
        response = self._session.send(request)  # returns when the whole reply is there
        self.took_ms.append((time.perf_counter() - begun) * 1e3)
        return response


def main() -> None:
    options = parse()
    wire = Wire(options.ca)
    config = Config(retries={"total_max_attempts": 1})
    client = boto3.client("ec2", endpoint_url=options.url, region_name="local", verify=options.ca, config=config)
    client.meta.events.register("before-send.ec2", wire.send)
    read = getattr(client, xform_name(options.operation))
    call_ms = []
    for _ in range(options.reads):
        begun = time.perf_counter()
        reply = read(**json.loads(options.parameters))
        call_ms.append((time.perf_counter() - begun) * 1e3)
    reply.pop("ResponseMetadata")
    found = sum(len(value) for value in reply.values() if isinstance(value, list))
    print(json.dumps({"call_ms": call_ms, "server_ms": wire.took_ms, "found": found}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operation", help="by its name in the API")
    parser.add_argument("--parameters", default="{}", help="JSON")
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True, help="file with the authority of the API's certificate")
    parser.add_argument("--reads", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
