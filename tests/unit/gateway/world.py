"""An endpoint with a plane that only remembers, and simulated clients: the real protocol, and a clock moved by hand."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import trio

from gateway.connection_log import ConnectionLog, ConnectionRecord
from gateway.endpoint import Endpoint
from gateway.endpoint_settings import Terms
from gateway.pki import Authority
from policy import (
    DEFAULT_LOG_GROUP,
    AuthorizationRule,
    CertificateAuthentication,
    ControlChannel,
    ControlChannelProtection,
    EndpointSpec,
    Route,
    ServerCertificate,
    TargetNetwork,
)
from tunnel.client import ClientConfig, ClientConnection
from tunnel.events import Closed, CloseReason, Established, Event
from tunnel.plane import (
    AccessTable,
    DataPlane,
    Drop,
    KeyState,
    Path,
    Peer,
    PeerState,
    PlaneEvents,
    PlaneFacts,
    Traffic,
    Transport,
)
from tunnel.tls import TlsClientContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunnel.data_keys import DataKey

UNIX_TIME = 1_800_000_000.0
OFFICE = IPv4Network("10.20.0.0/24")
LAB = IPv4Network("10.30.0.0/24")


@dataclass
class Held:
    """What a plane knows of one peer."""

    peer: Peer
    keys: dict[int, DataKey] = field(default_factory=dict)
    active: int | None = None
    traffic: Traffic = field(default_factory=Traffic)


class FakePlane(DataPlane):
    """Remembers what it is told, and complains where a real plane would."""

    def __init__(self) -> None:
        self.peers: dict[int, Held] = {}
        self.sent: defaultdict[Path, list[bytes]] = defaultdict(list)
        self.closed: list[Path] = []
        self.fault: Exception | None = None
        self.what = PlaneFacts("native", workers=2, udp_gso=True, tun_tso=True)

    async def run(self, events: PlaneEvents, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        del events
        task_status.started()
        await trio.sleep_forever()

    def add_peer(self, peer: Peer) -> None:
        if self.fault is not None:
            raise self.fault
        if peer.peer_id in self.peers or any(held.peer.inside == peer.inside for held in self.peers.values()):
            raise ValueError("in use")
        self.peers[peer.peer_id] = Held(peer)

    def remove_peer(self, peer_id: int) -> Traffic:
        return self.peers.pop(peer_id).traffic

    def install_key(self, peer_id: int, key: DataKey) -> None:
        self.peers[peer_id].keys[key.key_id] = key

    def activate_key(self, peer_id: int, key_id: int) -> None:
        assert key_id in self.peers[peer_id].keys
        self.peers[peer_id].active = key_id

    def drop_key(self, peer_id: int, key_id: int) -> None:
        self.peers[peer_id].keys.pop(key_id, None)

    def set_access(self, peer_id: int, access: AccessTable) -> None:
        held = self.peers[peer_id]
        held.peer = replace(held.peer, access=access)

    def send_control(self, path: Path, packets: Sequence[bytes]) -> None:
        self.sent[path] += packets

    def close_stream(self, path: Path) -> None:
        self.closed.append(path)

    def export_peer(self, peer_id: int) -> PeerState:
        held = self.peers.pop(peer_id)
        return PeerState(held.peer, tuple(map(KeyState, held.keys.values())), held.active, held.traffic)

    def import_peer(self, state: PeerState) -> None:
        keys = {key.key.key_id: key.key for key in state.keys}
        self.peers[state.peer.peer_id] = Held(state.peer, keys, state.sending, state.traffic)

    def facts(self) -> PlaneFacts:
        return self.what

    def traffic(self, peer_id: int) -> Traffic:
        return self.peers[peer_id].traffic

    def drops(self) -> Mapping[Drop, int]:
        return {Drop.NO_RULE: 3}


class RecordingLog(ConnectionLog):
    """Keeps records, for want of sinks."""

    def __init__(self) -> None:
        super().__init__({DEFAULT_LOG_GROUP: ()}, node="gw1")
        self.records: list[ConnectionRecord] = []

    def write(self, record: ConnectionRecord) -> None:
        super().write(record)
        self.records.append(record)

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Type, status and reason code of each record."""
        documents = [json.loads(record.as_json()) for record in self.records]
        keys = ("connection-log-type", "connection-attempt-status", "reason-code")
        return [(document[keys[0]], document[keys[1]], document[keys[2]]) for document in documents]


class TestPki:
    """An authority with a server, made once; clients as they are asked for."""

    __test__ = False

    def __init__(self, path: FilePath) -> None:
        self.path = path
        self.authority = Authority(self.path)
        self.authority.init()
        self.authority.issue_server("server")

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def client(self, name: str, *groups: str) -> TlsClientContext:
        if not (self.path / f"{name}.crt").exists():
            self.authority.issue_client(name, groups=groups)
        return self.tls(self.read(f"{name}.crt"), self.read(f"{name}.key"))

    def renewed(self, name: str, *groups: str) -> TlsClientContext:
        """Another certificate of this authority for a name that may have one already."""
        with tempfile.TemporaryDirectory() as directory:
            copy = FilePath(directory) / "pki"
            shutil.copytree(self.path, copy)
            authority = Authority(copy)
            if (copy / f"{name}.crt").exists():
                authority.revoke(name)
            authority.issue_client(name, groups=groups)
            return self.tls((copy / f"{name}.crt").read_bytes(), (copy / f"{name}.key").read_bytes())

    def tls(self, certificate: bytes, key: bytes) -> TlsClientContext:
        return TlsClientContext(server_ca=self.read("ca.crt"), certificate_chain=certificate, private_key=key)


@functools.cache
def pki() -> TestPki:
    path = FilePath(tempfile.mkdtemp(prefix="portway-test-pki-"))
    atexit.register(shutil.rmtree, path)
    return TestPki(path / "pki")


def make_spec(**changes: Any) -> EndpointSpec:
    """An endpoint for the office (engineering) and the lab (everyone), without control channel protection."""
    spec = EndpointSpec(
        name="main",
        client_cidr_block=IPv4Network("10.80.0.0/29"),
        server_certificate=ServerCertificate(pki().read("server.crt"), pki().read("server.key")),
        authentication=CertificateAuthentication(pki().read("ca.crt"), pki().read("crl.pem"), "subject.OU"),
        control_channel=ControlChannel(accept=(ControlChannelProtection.NONE,)),
        target_networks=(TargetNetwork("office", "eth1", OFFICE), TargetNetwork("lab", "eth2", LAB)),
        routes=(Route(OFFICE, "office"), Route(LAB, "lab")),
        authorization_rules=(AuthorizationRule(OFFICE, "engineering"), AuthorizationRule(LAB, None)),
    )
    return replace(spec, **changes)


class Client:
    """A simulated client at one address."""

    def __init__(self, world: World, tls: TlsClientContext, path: Path, **changes: Any) -> None:
        self.world = world
        self.path = path
        self.events: list[Event] = []
        self.silent = False
        self.connection = ClientConnection(
            ClientConfig(tls=tls, **changes),
            reliable_transport=path.transport is Transport.TCP,
            now=world.now,
            unix_time=world.unix_time,
        )

    @property
    def established(self) -> bool:
        return any(isinstance(event, Established) for event in self.events)

    @property
    def closed(self) -> CloseReason | None:
        return next((event.reason for event in self.events if isinstance(event, Closed)), None)

    @property
    def closing_text(self) -> str:
        return next((event.text for event in self.events if isinstance(event, Closed)), "")

    def step(self) -> bool:
        """Exchange what there is; whether there was anything."""
        arrived = self.world.plane.sent.pop(self.path, [])
        for packet in arrived if not self.silent else []:
            self.connection.receive_packet(packet, self.world.now)
        leaving = self.connection.packets_to_send(self.world.now)
        for packet in leaving if not self.silent else []:
            self.world.endpoint.control_received(self.path, packet)
        while (event := self.connection.next_event()) is not None:
            self.events.append(event)
        return bool(arrived or leaving)


class World:
    """One endpoint and its clients."""

    def __init__(self, spec: EndpointSpec | None = None) -> None:
        self.now = 1000.0
        self.plane = FakePlane()
        self.log = RecordingLog()
        self.clients: list[Client] = []
        self.endpoint = Endpoint(
            Terms.of(spec or make_spec()),
            self.plane,
            self.log,
            node="gw1",
            refresh_s=60,
            now=lambda: self.now,
            unix_time=self.unix_time,
        )

    def unix_time(self) -> float:
        return UNIX_TIME + self.now

    def client(self, tls: TlsClientContext | None = None, *, port: int | None = None, **changes: Any) -> Client:
        """A client that has not sent anything yet, on UDP or, with `stream`, on TCP."""
        stream = changes.pop("stream", 0)
        port = port or 40000 + len(self.clients)
        path = Path(Transport.TCP if stream else Transport.UDP, ("198.51.100.7", port), stream=stream)
        client = Client(self, tls or pki().client("ana", "engineering"), path, **changes)
        self.clients.append(client)
        return client

    def connect(self, tls: TlsClientContext | None = None, **options: Any) -> Client:
        """A client, after everything that it and the gateway have to say at once."""
        client = self.client(tls, **options)
        self.settle()
        return client

    def settle(self) -> None:
        """Exchange packets until nobody has more to say now."""
        for _ in range(1000):
            busy = [client.step() for client in self.clients]
            if not any(busy):
                return
        raise AssertionError("they never stop")

    def advance(self, seconds: float) -> None:
        """Let time pass, a second at a time at most, with everybody's timers."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1)
            for session in self.endpoint._keeper.timers.take_due(self.now):
                self.endpoint._keeper.handle_timer(session)
            for client in self.clients:
                client.connection.handle_timer(self.now)
            self.settle()

    @property
    def addresses(self) -> list[IPv4Address]:
        """The inside addresses of the plane's peers, in order."""
        return sorted(IPv4Address(held.peer.inside) for held in self.plane.peers.values())
