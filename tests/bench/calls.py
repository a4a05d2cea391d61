"""The API, measured: how long reads take, and how long it takes until a change is in force on live sessions."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from gateway.api.certificate import own_certificate_file
from gateway.config import load_config
from tests.bench.cost import usage
from tests.bench.managed import API_ADDRESS, Endpoint, add_connections
from tests.bench.sessions import percentile
from tests.lab import OFFICE_HOST, LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.rig import Figures, LoadProcess, Rig
    from tests.bench.scenarios import Reads, RuleChanges
    from tests.bench.servers import Material
    from tests.lab import Lab
    from tests.lab.api import Api

__all__ = ["measure_reads", "measure_rule_changes"]

WARM_UP = 5
"""Reads that come first, and that do not count: connecting, and what is made once."""
READER_S = 300


def measure_reads(lab: Lab, api: Api, material: Material, work: Reads) -> Figures:
    """An endpoint, its rules and its connections, each read many times by one caller."""
    endpoint = Endpoint.create(api.client(), material)
    endpoint.authorize_groups(work.rules)
    add_connections(api.config, endpoint.id, work.connections)
    reader = _Reader(lab, api, work.reads)
    of_endpoint = {"ClientVpnEndpointId": endpoint.id}
    return {
        **reader.read("endpoints", "DescribeClientVpnEndpoints", {"ClientVpnEndpointIds": [endpoint.id]}, found=1),
        **reader.read("rules", "DescribeClientVpnAuthorizationRules", of_endpoint, found=work.rules),
        **reader.read("connections", "DescribeClientVpnConnections", of_endpoint, found=work.connections),
    }


class _Reader:
    """Somebody with an access key, on the gateway's host."""

    def __init__(self, lab: Lab, api: Api, reads: int) -> None:
        self._lab, self._api, self._reads = lab, api, reads
        made = api.client().call("CreateAccessKey", Role="read-only")
        self._key = {
            "AWS_ACCESS_KEY_ID": made["AccessKey"]["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        }
        self._authority = own_certificate_file(load_config(api.config).settings)

    def read(self, name: str, operation: str, parameters: dict[str, Any], *, found: int) -> Figures:
        """The figures of one operation. Raises LabError unless its reply has as many items as there are."""
        before = usage(self._api.pid)
        said = self._run(operation, parameters)
        cpu_s = usage(self._api.pid).since(before).cpu_s
        if said["found"] != found:
            raise LabError(f"{operation} has returned {said['found']} items, not {found}")
        call, server = said["call_ms"][WARM_UP:], said["server_ms"][WARM_UP:]
        figures = {
            "server_p50_ms": percentile(server, 50),
            "server_p99_ms": percentile(server, 99),
            "call_p50_ms": percentile(call, 50),
            "call_p99_ms": percentile(call, 99),
            "server_cpu_ms": cpu_s / len(said["call_ms"]) * 1e3,
        }
        return {f"{name}.{figure}": value for figure, value in figures.items()}

    def _run(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        where = ["--url", f"https://{API_ADDRESS}", "--ca", str(self._authority)]
        how = ["--parameters", json.dumps(parameters), "--reads", str(self._reads + WARM_UP)]
        key = [f"{name}={value}" for name, value in self._key.items()]
        command = ["env", *key, sys.executable, "-m", "tests.bench.reader", operation, *where, *how]
        said: dict[str, Any] = json.loads(self._lab.gateway.run(*command, timeout_s=READER_S).stdout)
        return said


def measure_rule_changes(rig: Rig, endpoint: Endpoint, work: RuleChanges) -> Figures:
    """A rule that lets everybody into the office comes and goes, while some of the clients ping there all the time."""
    options = ["--clients", work.clients, "--sample", work.sample, "--to", OFFICE_HOST]
    with rig.load("watch", *options) as watch:
        watch.begin()
        watch.wait_for('"said": "none"')
        before = rig.spent()
        allowed, refused = [], []
        for _ in range(work.changes):
            allowed.append(_until("all", endpoint.authorize_everybody, watch))
            refused.append(_until("none", endpoint.revoke_everybody, watch))
        spent = rig.spent().since(before)
        connected = endpoint.connected()
    return {
        "clients": connected,
        "allowed.p50_ms": percentile(allowed, 50),
        "allowed.max_ms": max(allowed),
        "refused.p50_ms": percentile(refused, 50),
        "refused.max_ms": max(refused),
        "change_cpu_ms": spent.cpu_s / work.changes / 2 * 1e3,
    }


def _until(state: str, change: Callable[[], None], watch: LoadProcess) -> float:
    """How long it takes from the call until the clients are in this state, in milliseconds."""
    mark, begun = watch.mark(), time.monotonic()
    change()
    said = watch.wait_for(rf'^{{"said": "{state}".*}}$', after=mark)[0]
    return float(json.loads(said)["at"] - begun) * 1e3
