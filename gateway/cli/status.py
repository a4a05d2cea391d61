"""`portway status`: how the gateway is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.daemon_access import SocketOption, ask_daemon
from gateway.cli.options import ConfigOption, JsonOption  # noqa: TC001 - typer reads the annotations
from gateway.cli.reporting import print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["status"]

_OFFLOADS = {"udp_gso": "GSO", "tun_tso": "TSO", "tun_uso": "USO"}


def status(config: ConfigOption, socket: SocketOption = None, json: JsonOption = False) -> None:
    """Say how the gateway is.

    For each endpoint: where it listens, what moves its packets and what helps with that, how many clients
    and handshakes it has, how many addresses are in use, packets dropped by cause, and when its certificates and
    revocation lists end. Then the endpoints that ought to run and do not, the connection log's sinks, with what they
    have lost, the store, what is wrong with endpoints in it, and what became of the last reload. At the end, everything
    that is wrong or soon will be, by its name, with what to do about it.
    """
    document = ask_daemon(config, socket, {"request": "status"})
    if json:
        print_json(document)
        return
    for line in _lines(document):
        typer.echo(line)


def _lines(document: dict[str, Any]) -> Iterator[str]:
    up = timedelta(seconds=document["uptime_s"])
    yield f"Portway {document['version']} on {document['node']}, process {document['process_id']}, up {up}"
    if document["plane"]["reason"]:
        yield f"data plane python, since the native one cannot be had: {document['plane']['reason']}"
    for endpoint in document["endpoints"]:
        yield from _endpoint_lines(endpoint)
    for problem in document["down"].values():
        yield f"{problem} (down, and tried again until it works)"
    for sink in document["connection_log"]:
        lost = f", {sink['lost']} records lost" if sink["lost"] else ""
        failing = f", failing: {sink['failing']}" if sink["failing"] else ""
        groups = ", ".join(sink["groups"])
        yield f"connection log to {sink['sink']} ({groups}): {sink['queued']} waiting{lost}{failing}"
    yield from _managed_lines(document["managed"])
    for problem in document["host_problems"]:
        yield f"host network: {problem}"
    dropped = ", ".join(f"{cause} {count}" for cause, count in document["host_drops"].items() if count)
    if dropped:
        yield f"host network dropped: {dropped}"
    if document["last_reload"]:
        reload = document["last_reload"]
        yield f"last reload {reload['at']}: {reload['result']}"
        yield from (f"  {sentence}" for sentence in reload["sentences"])
    yield from _health_lines(document["health"])


def _managed_lines(managed: dict[str, Any]) -> Iterator[str]:
    """The store, and what is wrong with the endpoints in it; those that run are shown with the others."""
    problem, mirror = managed["problem"], managed["mirror"]
    waiting = f", {mirror['waiting']} rows waiting" if mirror else ""
    yield f"store ({managed['store']}): {f'cannot be used: {problem}' if problem else 'in use'}{waiting}"
    for endpoint, sentences in managed["endpoints"].items():
        yield from (f"endpoint {endpoint}: {sentence}" for sentence in sentences)


def _endpoint_lines(endpoint: dict[str, Any]) -> Iterator[str]:
    pool, half_open = endpoint["pool"], endpoint["half_open"]
    yield f"endpoint {endpoint['name']}: {', '.join(endpoint['listeners'])}"
    yield f"  packets    {_plane_text(endpoint['plane'])}"
    yield f"  clients    {endpoint['sessions']}, handshakes in flight {half_open['now']} of {half_open['limit']}"
    yield f"  logged     {_log_text(endpoint['connection_log'])}"
    yield f"  addresses  {pool['used']} of {pool['capacity']} in {pool['network']}"
    for label, counters in (("dropped", endpoint["drops"]), ("ignored", endpoint["ignored"])):
        counted = [f"{cause} {count}" for cause, count in counters.items() if count]
        if counted:
            yield f"  {label:<9}  {', '.join(counted)}"
    for expiry in endpoint["expiries"]:
        mark = "" if expiry["urgency"] == "none" else f"  ({expiry['urgency'].upper()})"
        yield f"  {expiry['what']} ends in {expiry['days_left']} days{mark}"


def _health_lines(conditions: list[dict[str, str]]) -> Iterator[str]:
    """What is wrong, and what to do about it."""
    if not conditions:
        yield "nothing is wrong"
    for condition in conditions:
        about = f" ({condition['subject']})" if condition["subject"] else ""
        yield f"{condition['severity'].upper()} {condition['code']}{about}: {condition['explanation']}"
        yield f"  {condition['remedy']}"


def _log_text(log: dict[str, str] | None) -> str:
    if log is None:
        return "to no log group"
    return f"to log group {log['group']}" + (f", stream {log['stream']}" if log["stream"] else "")


def _plane_text(plane: dict[str, Any]) -> str:
    """Which data plane, with how many threads, what the kernel does for it, and which library its cryptography."""
    workers = f"{plane['workers']} thread{'s' if plane['workers'] != 1 else ''}"
    offloads = (name for key, name in _OFFLOADS.items() if plane[key])
    return ", ".join((plane["name"], workers, *offloads, f"AEAD by {plane['aead']}"))
