"""From the daemon's document to the samples of a metric: label values, and a number."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from gateway.expiry import ExpiryKind
from tunnel import CloseReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Document = Mapping[str, Any]
    """What answers the control request `metrics`, or a part of it."""
    Sample = tuple[tuple[str, ...], float]
    """Label values, and the value."""
    Samples = Callable[[Document], Iterable[Sample]]
    Described = Iterator[tuple[tuple[str, str], Document]]
    """An endpoint's labels, and what is known of it."""

__all__ = [
    "authentication_failures",
    "by_name",
    "crl_days_left",
    "days_left",
    "endpoint_up",
    "endpoints",
    "health_conditions",
    "measured",
    "of_endpoint",
    "of_measures",
    "of_mirror",
    "of_sinks",
    "plane_info",
    "worker_cpu",
]

AUTHENTICATION_FAILURES: Final = frozenset(
    {
        CloseReason.NO_CERTIFICATE,
        CloseReason.UNKNOWN_CA,
        CloseReason.CERTIFICATE_EXPIRED,
        CloseReason.CERTIFICATE_NOT_YET_VALID,
        CloseReason.CERTIFICATE_REVOKED,
        CloseReason.CERTIFICATE_WRONG_USAGE,
        CloseReason.CERTIFICATE_REFUSED,
        CloseReason.CRL_UNUSABLE,
        CloseReason.AUTHENTICATION_FAILED,
    }
)
"""Reasons why an attempt failed that are about who the client is."""


def endpoints(document: Document) -> Described:
    """Each endpoint's labels and its description."""
    for endpoint in document["endpoints"]:
        yield (endpoint["id"], endpoint["name"]), endpoint


def measured(document: Document) -> Described:
    """Each endpoint's labels and what was counted of its sessions."""
    for labels, endpoint in endpoints(document):
        yield labels, document["measures"][endpoint["name"]]


def of_endpoint(value: Callable[[Document], float]) -> Samples:
    """One sample for each endpoint, from its description."""
    return lambda document: ((labels, float(value(endpoint))) for labels, endpoint in endpoints(document))


def of_measures(value: Callable[[Document], float]) -> Samples:
    """One sample for each endpoint, from what was counted of its sessions."""
    return lambda document: ((labels, float(value(measures))) for labels, measures in measured(document))


def by_name(
    source: Callable[[Document], Described],
    values: Callable[[Document], Mapping[str, float]],
) -> Samples:
    """One sample for each name in `values`, which becomes the label after the endpoint's."""
    return lambda document: (
        ((*labels, name), float(value))
        for labels, described in source(document)
        for name, value in values(described).items()
    )


def authentication_failures(document: Document) -> Iterator[Sample]:
    """Attempts that failed for one of `AUTHENTICATION_FAILURES`."""
    for labels, measures in measured(document):
        yield labels, float(sum(measures["failed"].get(reason.value, 0) for reason in AUTHENTICATION_FAILURES))


def days_left(document: Document) -> Iterator[Sample]:
    """Of several things of one name, the one that ends first."""
    for labels, endpoint in endpoints(document):
        days: dict[tuple[str, str], float] = {}
        for expiry in endpoint["expiries"]:
            key = (expiry["kind"], expiry["what"])
            days[key] = min(days.get(key, math.inf), _days(document, expiry["ends"]))
        yield from (((*labels, *key), left) for key, left in days.items())


def crl_days_left(document: Document) -> Iterator[Sample]:
    """Of several lists, the one that ends first: from then on somebody is refused."""
    for labels, endpoint in endpoints(document):
        ends = [expiry["ends"] for expiry in endpoint["expiries"] if expiry["kind"] == ExpiryKind.REVOCATION_LIST.value]
        if ends:
            yield labels, min(_days(document, end) for end in ends)


def _days(document: Document, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(document["at"])) / timedelta(days=1)


def worker_cpu(document: Document) -> Iterator[Sample]:
    """One sample for each thread of each plane."""
    for labels, endpoint in endpoints(document):
        for worker, used_s in enumerate(endpoint["plane"]["worker_cpu_s"]):
            yield (*labels, str(worker)), used_s


def plane_info(document: Document) -> Iterator[Sample]:
    """What each plane is, as labels."""
    for labels, endpoint in endpoints(document):
        plane = endpoint["plane"]
        offloads = ("true" if plane[name] else "false" for name in ("udp_gso", "tun_tso", "tun_uso"))
        yield (*labels, plane["name"], plane["aead"], *offloads), 1.0


def endpoint_up(document: Document) -> Iterator[Sample]:
    """1 for what runs, 0 for what ought to."""
    for _, endpoint in endpoints(document):
        yield (endpoint["name"],), 1.0
    for name in document["down"]:
        yield (name,), 0.0


def of_sinks(value: Callable[[Document], float]) -> Samples:
    """One sample for each place that the connection log goes to."""
    return lambda document: (((sink["sink"],), float(value(sink))) for sink in document["connection_log"])


def of_mirror(values: Samples) -> Samples:
    """What `values` gives of the store's mirror, as soon as there is one."""

    def samples(document: Document) -> Iterator[Sample]:
        if document["managed"]["mirror"] is not None:
            yield from values(document["managed"]["mirror"])

    return samples


def health_conditions(document: Document) -> Iterator[Sample]:
    """How many conditions there are of each kind."""
    kinds = Counter((one["code"], one["severity"], one["subject"]) for one in document["health"])
    yield from ((kind, float(count)) for kind, count in kinds.items())
