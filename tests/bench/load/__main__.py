"""One part of a load, as a process of its own: `python -m tests.bench.load ROLE …`, run inside a namespace.

It says on standard output, one JSON object a line, `ready` with what it has prepared, and `done` with what came of it.
Between the two it waits for SIGUSR1, so that whoever measures can look at the server first. It ends by itself, or by
SIGTERM.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import resource
import signal
import socket
import statistics
import subprocess
import time
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.load.connector import Profile, connect
from tests.bench.load.native import LoadError, NativeLoad, Traffic
from tunnel.tun import open_tun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.load.connector import Crowd
    from tests.bench.load.native import Moved

ROUTED = "10.20.0.0/24"
MTU = 1400
PATIENCE_S = 3
SPARE_DESCRIPTORS = 100
SAMPLE_RATE = 5000
SAMPLE_PATIENCE_S = 0.05
SAMPLE_PAUSE_S = 0.01
SILENT_ROUNDS = 3


def say(word: str, **facts: Any) -> None:
    print(json.dumps({"said": word, **facts}), flush=True)


def get_ready(**facts: Any) -> None:
    """Say so, and wait until it shall begin."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    say("ready", **facts)
    signal.sigwait({signal.SIGUSR1})


def done(moved: Moved, **facts: Any) -> None:
    say("done", **dataclasses.asdict(moved), **facts)


def connected(options: argparse.Namespace, load: NativeLoad | None = None) -> tuple[Crowd, dict[str, Any]]:
    """Connect as many clients as are wanted; them, and what there is to say about it.

    Raises `LoadError` where one does not get in, or where some may fail and all do.
    """
    most = options.clients + SPARE_DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, max(most, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    crowd = connect(profile_of(options), options.clients, parallel=options.parallel, rate=options.rate)
    if crowd.failures and not (options.some_may_fail and crowd.connected):
        raise LoadError(f"{len(crowd.failures)} of {options.clients} could not connect: {crowd.failures[0]}")
    if load is not None:
        for each in crowd.connected:
            load.add(each, profile_of(options).server, offload=options.offload)
    return crowd, {
        "clients": len(crowd.connected),
        "failed": len(crowd.failures),
        "seconds": crowd.seconds,
        "took_ms": statistics.median(crowd.took_s) * 1e3,
        "longest_ms": max(crowd.took_s) * 1e3,
        "addresses": [str(each.inside) for each in crowd.connected],
    }


def profile_of(options: argparse.Namespace) -> Profile:
    host, _, port = options.server.partition(":")
    return Profile((host, int(port)), options.material, options.cipher)


def traffic_of(options: argparse.Namespace) -> Traffic:
    return Traffic(tuple(options.sizes), options.port, options.seconds, options.to[0])


def hold(options: argparse.Namespace) -> None:
    """Connect, at the given rate, once it is told to; then stay connected."""
    get_ready()
    crowd, facts = connected(options)
    say("done", **facts)
    signal.sigwait({signal.SIGTERM})
    del crowd


def tunnel(options: argparse.Namespace) -> None:
    """A whole client, with a TUN device and a route."""
    load = NativeLoad(options.library)
    crowd, facts = connected(options, load)
    device = open_tun("load%d")
    inside = crowd.connected[0].inside
    for command in (
        f"address add {inside}/32 dev {device.name}",
        f"link set {device.name} up mtu {MTU} txqueuelen 1000",
        f"route add {IPv4Network(ROUTED)} dev {device.name}",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    say("ready", device=device.name, **facts)
    load.tunnel(device.fd)


def flood(options: argparse.Namespace) -> None:
    load = NativeLoad(options.library)
    crowd, facts = connected(options, load)
    get_ready(**facts)
    done(load.flood(traffic_of(options)))
    del crowd


def collect(options: argparse.Namespace) -> None:
    load = NativeLoad(options.library)
    crowd, facts = connected(options, load)
    get_ready(**facts)
    done(load.collect(traffic_of(options)))
    del crowd


def echo(options: argparse.Namespace) -> None:
    load = NativeLoad(options.library)
    crowd, facts = connected(options, load)
    get_ready(**facts)
    moved, trips = load.echo(options.to[0], rounds=options.rounds, rate=int(options.echo_rate), patience_s=PATIENCE_S)
    cuts = statistics.quantiles(trips, n=100)
    done(moved, p50_ms=cuts[49] / 1e3, p99_ms=cuts[98] / 1e3, sent=options.clients * options.rounds)
    del crowd


def watch(options: argparse.Namespace) -> None:
    """Connect, and have a sample of the clients ping for ever; say when all of them get an answer, and when none does.

    `at` is CLOCK_MONOTONIC: for `all` when the last answer was there, for `none` before the first of those pings left
    that have none. Three rounds have to agree that there is none, for one may have been late.
    """
    load = NativeLoad(options.library)
    crowd, facts = connected(options)
    for each in random.sample(crowd.connected, options.sample):
        load.add(each, profile_of(options).server, offload=options.offload)
    get_ready(**facts)
    said, since, silent = "", 0.0, 0
    while True:
        begun = time.monotonic()
        moved, _ = load.echo(options.to[0], rounds=1, rate=SAMPLE_RATE, patience_s=SAMPLE_PATIENCE_S)
        silent = 0 if moved.packets else silent + 1
        since = begun if silent == 1 else since
        state = "all" if moved.packets == options.sample else "none" if silent >= SILENT_ROUNDS else said
        if state != said:
            said = state
            say(said, at=since if said == "none" else time.monotonic())
        time.sleep(SAMPLE_PAUSE_S)


def source(options: argparse.Namespace) -> None:
    with plain_socket(options.port) as sock:
        get_ready()
        done(NativeLoad(options.library).source(sock, options.to, traffic_of(options)))


def sink(options: argparse.Namespace) -> None:
    with plain_socket(options.port) as sock:
        get_ready()
        done(NativeLoad(options.library).sink(sock))


def plain_socket(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("0.0.0.0", port))
    return sock


ROLES = {role.__name__: role for role in (hold, tunnel, flood, collect, echo, watch, source, sink)}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--library", type=Path, help="the compiled load client")
    parser.add_argument("--server", help="ADDRESS:PORT of the gateway")
    parser.add_argument("--material", type=Path, help="directory with certificates and keys")
    parser.add_argument("--cipher", default="AES-256-GCM")
    parser.add_argument("--offload", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=16, help="handshakes at a time")
    parser.add_argument("--rate", type=float, help="handshakes a second; as fast as it goes without")
    parser.add_argument("--some-may-fail", action="store_true", help="to connect: say how many did, and go on")
    parser.add_argument("--to", nargs="+", default=["0.0.0.0"], help="destinations of packets")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1400], help="of packets inside the tunnel, in turn")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--sample", type=int, default=50, help="how many of the clients ping")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--echo-rate", type=float, default=10_000, help="pings a second, of all clients together")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    chosen = parse()
    ROLES[chosen.role](chosen)
