from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import HANDSHAKE, METRICS, UP, build_registry
from tests.unit.gateway.daemon_facts import daemon_facts

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PROJECT = Path(__file__).parents[3]
MANUAL = PROJECT / "docs" / "metrics.md"
DASHBOARD = PROJECT / "docs" / "grafana" / "portway.json"
NAMES = {UP[0], HANDSHAKE[0], *(definition.name for definition in METRICS)}
EXPOSED = NAMES | {f"{HANDSHAKE[0]}_{part}" for part in ("bucket", "sum", "count")}
HOUSE = {"endpoint_id": "cvpn-endpoint-1", "endpoint": "main"}


def metrics_document(**changes: Any) -> dict[str, Any]:
    """What a daemon with one endpoint answers."""
    stage = {"in_flight": 1, "took_s": {"bounds": [0.1, 1.0], "counts": [2, 1, 1], "sum": 5.5}}
    endpoint = {
        "name": "main",
        "id": "cvpn-endpoint-1",
        "sessions": 3,
        "plane": {
            "name": "native",
            "workers": 2,
            "udp_gso": True,
            "udp_gso_refused": False,
            "tun_tso": True,
            "tun_uso": False,
            "aead": "libcrypto",
            "lost_control_packets": 4,
            "worker_cpu_s": [1.5, 2.5],
        },
        "pool": {"network": "10.80.0.0/22", "used": 3, "capacity": 1021},
        "half_open": {"now": 1, "limit": 1000},
        "drops": {"no-rule": 7, "replay": 0},
        "ignored": {"wrong-control-key": 5},
        "expiries": [
            expiry("server certificate", "2026-07-01T12:01:00+00:00"),
            expiry("revocation list", "2026-06-08T12:01:00+00:00"),
            expiry("revocation list", "2026-06-03T00:01:00+00:00"),
        ],
    }
    measures = {
        "established": 10,
        "failed": {"certificate-revoked": 2, "unknown-ca": 1, "handshake-timeout": 4},
        "ended": {"client-exit": 6},
        "moved": {"ingress_packets": 1, "ingress_bytes": 100, "egress_packets": 2, "egress_bytes": 900},
        "handshakes": {"authentication": stage, "confirmation": stage},
    }
    return {
        **daemon_facts(),
        "endpoints": [endpoint],
        "down": {"two": "endpoint two: port 443 is taken"},
        "connection_log": [{"sink": "file x", "queued": 8, "lost": 9, "failing": "No space left on device"}],
        "health": [],
        "at": "2026-06-01T12:01:00+00:00",
        "cpu_s": 12.5,
        "measures": {"main": measures},
    } | changes


def expiry(kind: str, ends: str) -> dict[str, Any]:
    return {"kind": kind, "what": f"{kind} (CN=x)", "ends": ends, "days_left": 1, "urgency": "none"}


def families(document: dict[str, Any] | None) -> dict[str, Metric]:
    """As a scraper reads them."""
    text = generate_latest(build_registry(document)).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(name: str, document: dict[str, Any], **labels: str) -> float:
    """The one sample with these labels, of those that are exposed."""
    samples = [sample for family in families(document).values() for sample in family.samples if sample.name == name]
    (found,) = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
    return found


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("portway_up", {}, 1),
        ("portway_info", {"version": "1", "node": "gw1", "plane": "native"}, 1),
        ("portway_uptime_seconds", {}, 60),
        ("portway_process_cpu_seconds_total", {}, 12.5),
        ("portway_endpoint_up", {"endpoint": "main"}, 1),
        ("portway_endpoint_up", {"endpoint": "two"}, 0),
        ("portway_active_connections_count", HOUSE, 3),
        ("portway_connections_established_total", HOUSE, 10),
        ("portway_connections_failed_total", {"reason": "handshake-timeout"}, 4),
        ("portway_connections_ended_total", {"reason": "client-exit"}, 6),
        ("portway_authentication_failures_total", HOUSE, 3),
        ("portway_handshakes_in_flight", {"stage": "confirmation"}, 1),
        ("portway_handshakes_admitted", HOUSE, 1),
        ("portway_handshakes_limit", HOUSE, 1000),
        ("portway_handshake_stage_seconds_bucket", {"stage": "authentication", "le": "1.0"}, 3),
        ("portway_handshake_stage_seconds_bucket", {"stage": "authentication", "le": "+Inf"}, 4),
        ("portway_handshake_stage_seconds_count", {"stage": "authentication"}, 4),
        ("portway_handshake_stage_seconds_sum", {"stage": "authentication"}, 5.5),
        ("portway_ignored_packets_total", {"reason": "wrong-control-key"}, 5),
        ("portway_ingress_bytes_total", HOUSE, 100),
        ("portway_egress_bytes_total", HOUSE, 900),
        ("portway_ingress_packets_total", HOUSE, 1),
        ("portway_egress_packets_total", HOUSE, 2),
        ("portway_dropped_packets_total", {"cause": "no-rule"}, 7),
        ("portway_pool_addresses", HOUSE, 1021),
        ("portway_pool_addresses_used", HOUSE, 3),
        ("portway_crl_days_to_expiry", HOUSE, 1.5),
        ("portway_days_to_expiry", {"kind": "server certificate"}, 30),
        ("portway_plane_info", {"plane": "native", "aead": "libcrypto", "udp_gso": "true", "tun_uso": "false"}, 1),
        ("portway_plane_workers", HOUSE, 2),
        ("portway_worker_cpu_seconds_total", {"worker": "1"}, 2.5),
        ("portway_lost_control_packets_total", HOUSE, 4),
        ("portway_log_sink_up", {"sink": "file x"}, 0),
        ("portway_log_records_waiting", {"sink": "file x"}, 8),
        ("portway_log_records_lost_total", {"sink": "file x"}, 9),
        ("portway_store_up", {}, 1),
        ("portway_store_rows_waiting", {}, 0),
        ("portway_store_rows_lost_total", {"kind": "events"}, 0),
    ],
)
def test_metrics_say_what_the_daemon_says(name: str, labels: dict[str, str], expected: float) -> None:
    assert value(name, metrics_document(), **labels) == expected


def test_what_is_wrong_is_counted_by_kind() -> None:
    condition = {"code": "expires-soon", "severity": "warning", "subject": "main"}
    document = metrics_document(health=[condition, condition])
    assert value("portway_health_condition", document, code="expires-soon") == 2


def test_a_daemon_that_is_silent_has_one_metric() -> None:
    assert set(families(None)) == {"portway_up"}
    assert families(None)["portway_up"].samples[0].value == 0


def test_a_store_that_was_never_open_has_no_rows_yet() -> None:
    document = metrics_document(managed=daemon_facts()["managed"] | {"mirror": None, "problem": "not opened"})
    assert value("portway_store_up", document) == 0
    assert families(document)["portway_store_rows_waiting"].samples == []


def test_no_two_samples_are_the_same() -> None:
    samples = [sample for family in families(metrics_document()).values() for sample in family.samples]
    keys = [(sample.name, *sorted(sample.labels.items())) for sample in samples]
    assert len(keys) == len(set(keys))


def test_names_follow_the_conventions() -> None:
    assert len(METRICS) + 2 == len(NAMES)
    for definition in METRICS:
        assert re.fullmatch(r"portway_[a-z_]+", definition.name)
        assert definition.text.endswith(".")


# The pages about them


def test_every_metric_is_explained() -> None:
    explained = set(re.findall(r"`(portway_\w+)`", MANUAL.read_text()))
    assert explained == NAMES


def test_the_manual_maps_the_names_of_aws() -> None:
    manual = MANUAL.read_text()
    for definition in METRICS:
        if definition.aws:
            assert re.search(rf"\| `{definition.aws}` \| `{definition.name}` \|", manual)


def test_the_manual_names_the_labels_of_each_metric() -> None:
    rows = dict(re.findall(r"^\| `(portway_\w+)` \|([^|]*)\|", MANUAL.read_text(), re.MULTILINE))
    for definition in METRICS:
        named = tuple(re.findall(r"\w+", rows[definition.name]))
        assert named == definition.labels, definition.name


def test_the_dashboard_uses_metrics_and_labels_that_exist() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in _panels(dashboard) for target in panel["targets"]]
    used = {name for query in queries for name in re.findall(r"portway_\w+", query)}
    assert used <= EXPOSED
    assert len(used) > 20
    labels = {label for definition in METRICS for label in definition.labels} | {"le", "stage"}
    for query in queries:
        for clause in re.findall(r"by \(([^)]*)\)", query):
            assert set(re.split(r"[ ,]+", clause)) <= labels, query


def test_the_dashboard_shows_every_metric_of_aws() -> None:
    text = DASHBOARD.read_text()
    assert all(definition.name in text for definition in METRICS if definition.aws)


def _panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]
