"""Metrics in Prometheus' form: which there are, and how each follows from what the daemon says about itself.

    Prometheus ▶ API process: /metrics ▶ control socket: `metrics` ▶ daemon: one JSON document ▶ families here

The daemon counts and speaks no HTTP; this runs in the API's process. Names of AWS Client VPN's metrics are kept in the
spelling of Prometheus (`IngressBytes` ▶ `portway_ingress_bytes_total`). `docs/metrics.md` explains them all, and a test
holds that page, the dashboard and this table together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from gateway.metric_samples import (
    authentication_failures,
    by_name,
    crl_days_left,
    days_left,
    endpoint_up,
    endpoints,
    health_conditions,
    measured,
    of_endpoint,
    of_measures,
    of_mirror,
    of_sinks,
    plane_info,
    worker_cpu,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from gateway.metric_samples import Document, Samples

__all__ = ["HANDSHAKE", "METRICS", "UP", "Definition", "DocumentCollector", "build_registry"]

ENDPOINT: Final = ("endpoint_id", "endpoint")
"""The labels of what an endpoint has: its id, as AWS's only dimension, and its name."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric."""

    name: str
    """As it is exposed: a counter's ends in `_total`."""
    text: str
    labels: tuple[str, ...]
    samples: Samples
    """From the daemon's document."""
    aws: str = ""
    """AWS's name for it, where it has one."""

    @property
    def is_counter(self) -> bool:
        """Whether it only grows while the daemon, or the endpoint, runs."""
        return self.name.endswith("_total")

    def family(self, document: Document) -> Metric:
        """The metric with its values."""
        make = CounterMetricFamily if self.is_counter else GaugeMetricFamily
        family = make(self.name, self.text, labels=self.labels)
        for labels, value in self.samples(document):
            family.add_metric(labels, value)
        return family


class DocumentCollector(Collector):
    """Gives all metrics of one document; without one, only that the daemon does not answer."""

    def __init__(self, document: Document | None) -> None:
        """`document` answers the control request `metrics`."""
        self._document = document

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield GaugeMetricFamily(*UP, value=float(self._document is not None))
        if self._document is not None:
            for definition in METRICS:
                yield definition.family(self._document)
            yield _handshakes(self._document)


def build_registry(document: Document | None) -> CollectorRegistry:
    """A registry with what the daemon has just said, to be exposed once."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(DocumentCollector(document))
    return registry


def _handshakes(document: Document) -> Metric:
    family = HistogramMetricFamily(*HANDSHAKE, labels=(*ENDPOINT, "stage"))
    for labels, measures in measured(document):
        for stage, handshakes in measures["handshakes"].items():
            took = handshakes["took_s"]
            bounds = [*map(str, took["bounds"]), "+Inf"]
            buckets = list(zip(bounds, accumulate(took["counts"]), strict=True))
            family.add_metric((*labels, stage), buckets, sum_value=took["sum"])
    return family


UP: Final = ("portway_up", "Whether the gateway's daemon answers.")
HANDSHAKE: Final = ("portway_handshake_stage_seconds", "How long handshakes were in each stage.")

METRICS: Final = (
    Definition(
        "portway_info",
        "The version that runs, the host's name, and the data plane; always 1.",
        ("version", "node", "plane"),
        lambda document: [((document["version"], document["node"], document["plane"]["name"]), 1.0)],
    ),
    Definition(
        "portway_uptime_seconds",
        "Since the daemon was started.",
        (),
        lambda document: [((), float(document["uptime_s"]))],
    ),
    Definition(
        "portway_process_cpu_seconds_total",
        "CPU time of the whole daemon, workers included.",
        (),
        lambda document: [((), document["cpu_s"])],
    ),
    Definition("portway_endpoint_up", "Whether an endpoint runs that ought to.", ("endpoint",), endpoint_up),
    Definition(
        "portway_health_condition",
        "How many things of this kind are wrong now.",
        ("code", "severity", "subject"),
        health_conditions,
    ),
    # Who is connected
    Definition(
        "portway_active_connections_count",
        "Clients that are connected, or are just being let in.",
        ENDPOINT,
        of_endpoint(lambda endpoint: endpoint["sessions"]),
        aws="ActiveConnectionsCount",
    ),
    Definition(
        "portway_connections_established_total",
        "Clients that have connected.",
        ENDPOINT,
        of_measures(lambda measures: measures["established"]),
    ),
    Definition(
        "portway_connections_failed_total",
        "Attempts that were admitted and came to nothing, by the connection log's reason code.",
        (*ENDPOINT, "reason"),
        by_name(measured, lambda measures: measures["failed"]),
    ),
    Definition(
        "portway_connections_ended_total",
        "Connections that are over, by the connection log's reason code.",
        (*ENDPOINT, "reason"),
        by_name(measured, lambda measures: measures["ended"]),
    ),
    Definition(
        "portway_authentication_failures_total",
        "Attempts that failed because of who the client is, or is not.",
        ENDPOINT,
        authentication_failures,
        aws="AuthenticationFailures",
    ),
    Definition(
        "portway_handshakes_in_flight",
        "Handshakes that have begun and are not done, by stage.",
        (*ENDPOINT, "stage"),
        by_name(
            measured,
            lambda measures: {name: stage["in_flight"] for name, stage in measures["handshakes"].items()},
        ),
    ),
    Definition(
        "portway_handshakes_admitted",
        "Places taken of those that bound handshakes in flight; failed ones keep theirs for a moment.",
        ENDPOINT,
        of_endpoint(lambda endpoint: endpoint["half_open"]["now"]),
    ),
    Definition(
        "portway_handshakes_limit",
        "How many such places there are.",
        ENDPOINT,
        of_endpoint(lambda endpoint: endpoint["half_open"]["limit"]),
    ),
    Definition(
        "portway_ignored_packets_total",
        "First packets that got no answer, by reason.",
        (*ENDPOINT, "reason"),
        by_name(endpoints, lambda endpoint: endpoint["ignored"]),
    ),
    # What they move
    Definition(
        "portway_ingress_bytes_total",
        "What clients have sent, inside the tunnel.",
        ENDPOINT,
        of_measures(lambda measures: measures["moved"]["ingress_bytes"]),
        aws="IngressBytes",
    ),
    Definition(
        "portway_egress_bytes_total",
        "What was sent to clients, inside the tunnel.",
        ENDPOINT,
        of_measures(lambda measures: measures["moved"]["egress_bytes"]),
        aws="EgressBytes",
    ),
    Definition(
        "portway_ingress_packets_total",
        "Packets that clients have sent.",
        ENDPOINT,
        of_measures(lambda measures: measures["moved"]["ingress_packets"]),
        aws="IngressPackets",
    ),
    Definition(
        "portway_egress_packets_total",
        "Packets that were sent to clients.",
        ENDPOINT,
        of_measures(lambda measures: measures["moved"]["egress_packets"]),
        aws="EgressPackets",
    ),
    Definition(
        "portway_dropped_packets_total",
        "Packets that went no further, by cause.",
        (*ENDPOINT, "cause"),
        by_name(endpoints, lambda endpoint: endpoint["drops"]),
    ),
    Definition(
        "portway_host_dropped_packets_total",
        "Packets that the host's firewall has dropped for the gateway, by cause.",
        ("cause",),
        lambda document: [((cause,), float(count)) for cause, count in document["host_drops"].items()],
    ),
    # What there is of everything
    Definition(
        "portway_pool_addresses",
        "Addresses for clients that there are.",
        ENDPOINT,
        of_endpoint(lambda endpoint: endpoint["pool"]["capacity"]),
    ),
    Definition(
        "portway_pool_addresses_used",
        "Addresses that clients have.",
        ENDPOINT,
        of_endpoint(lambda endpoint: endpoint["pool"]["used"]),
    ),
    Definition(
        "portway_crl_days_to_expiry",
        "Until the first of an endpoint's revocation lists ends; negative afterwards.",
        ENDPOINT,
        crl_days_left,
        aws="CrlDaysToExpiry",
    ),
    Definition(
        "portway_days_to_expiry",
        "Until a certificate or a revocation list ends; negative afterwards.",
        (*ENDPOINT, "kind", "what"),
        days_left,
    ),
    # The data plane
    Definition(
        "portway_plane_info",
        "Which data plane, which library for AEADs, and what the kernel does for it; always 1.",
        (*ENDPOINT, "plane", "aead", "udp_gso", "tun_tso", "tun_uso"),
        plane_info,
    ),
    Definition(
        "portway_plane_workers",
        "Threads that move packets.",
        ENDPOINT,
        of_endpoint(lambda endpoint: endpoint["plane"]["workers"]),
    ),
    Definition(
        "portway_worker_cpu_seconds_total",
        "CPU time of each thread of the native plane; 1 a second is a worker that is full.",
        (*ENDPOINT, "worker"),
        worker_cpu,
    ),
    Definition(
        "portway_lost_control_packets_total",
        "Control packets that arrived faster than the gateway took them; clients repeat them.",
        ENDPOINT,
        of_endpoint(lambda endpoint: endpoint["plane"]["lost_control_packets"]),
    ),
    # Log and store
    Definition(
        "portway_log_sink_up",
        "Whether a place of the connection log takes records.",
        ("sink",),
        of_sinks(lambda sink: sink["failing"] is None),
    ),
    Definition(
        "portway_log_records_waiting",
        "Records on their way to a place of the connection log.",
        ("sink",),
        of_sinks(lambda sink: sink["queued"]),
    ),
    Definition(
        "portway_log_records_lost_total",
        "Records that never reached a place of the connection log.",
        ("sink",),
        of_sinks(lambda sink: sink["lost"]),
    ),
    Definition(
        "portway_store_up",
        "Whether the daemon can use the store.",
        (),
        lambda document: [((), float(not document["managed"]["problem"]))],
    ),
    Definition(
        "portway_store_rows_waiting",
        "Rows about connections on their way to the store.",
        (),
        of_mirror(lambda mirror: [((), float(mirror["waiting"]))]),
    ),
    Definition(
        "portway_store_rows_lost_total",
        "Lines of the log and connections that never reached the store.",
        ("kind",),
        of_mirror(lambda mirror: [((kind,), float(lost)) for kind, lost in mirror["lost"].items()]),
    ),
)
"""All metrics but `UP` and `HANDSHAKE`, which take another form."""
