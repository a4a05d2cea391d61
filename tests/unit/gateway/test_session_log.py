import json
import re

import pytest

from gateway.connection_log import RefusalReason
from gateway.session_log import SessionLog, endpoint_id, new_connection_id
from policy import LogDestination
from tests.unit.gateway.world import RecordingLog, World, make_spec
from tunnel.events import CloseReason
from tunnel.plane import Path, Transport


def test_ids_have_the_form_of_aws() -> None:
    assert re.fullmatch(r"cvpn-endpoint-[0-9a-f]{17}", endpoint_id("main"))
    assert re.fullmatch(r"cvpn-connection-[0-9a-f]{17}", new_connection_id())


def test_an_endpoint_has_one_id_and_connections_have_many() -> None:
    assert endpoint_id("main") == endpoint_id("main") != endpoint_id("other")
    assert len({new_connection_id() for _ in range(100)}) == 100


def test_a_refused_stranger_is_recorded_with_the_address() -> None:
    log = RecordingLog()
    writer = SessionLog(log, "gw1", "main", lambda: 1769847302.0, None)
    writer.refused(Path(Transport.TCP, ("198.51.100.9", 50096)), RefusalReason.WRONG_CONTROL_KEY, "wrong key")
    record = json.loads(log.records[0].as_json())
    expected = {
        "connection-attempt-status": "failed",
        "connection-attempt-failure-reason": "wrong key",
        "reason-code": "wrong-control-key",
        "device-ip": "198.51.100.9",
        "port": "50096",
        "transport-protocol": "tcp",
        "connection-last-update-time": "2026-01-31 08:15:02",
        "node": "gw1",
        "log-group": "NA",
        "log-stream": "NA",
    }
    assert record.items() >= expected.items()


@pytest.mark.parametrize(("stream", "wanted"), [("staff", "staff"), ("", endpoint_id("main"))])
def test_every_record_names_its_log_group_and_its_stream(stream: str, wanted: str) -> None:
    world = World(make_spec(connection_log=LogDestination("vpn", stream)))
    world.connect()
    world.endpoint.peer_exited(0)
    assert [(record.log_group, record.log_stream) for record in world.log.records] == 2 * [("vpn", wanted)]


def test_a_session_is_recorded_with_all_that_is_known_of_it() -> None:
    world = World()
    world.connect()
    world.endpoint.peer_exited(0)
    connected, ended = (json.loads(record.as_json()) for record in world.log.records)
    assert connected["connection-id"] == ended["connection-id"]
    known = {
        "common-name": "ana",
        "groups": ["engineering"],
        "client-ip": "10.80.0.2",
        "device-type": "linux",
        "client-version": "2.6.14",
        "cipher": "AES-256-GCM",
        "tls-version": "TLSv1.3",
        "client-vpn-endpoint-name": "main",
    }
    assert connected.items() >= known.items()
    assert ended.items() >= known.items()
    assert ended["reason-code"] == CloseReason.CLIENT_EXIT.value
