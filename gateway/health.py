"""What is wrong with the gateway, or soon will be: named conditions, each with what it means and what to do.

It judges the status document of `control_requests`, which has all there is to know, and knows no part of the daemon
itself. An error is something that keeps people out or loses what should be kept, now; a warning is something that will,
or that costs.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["REMEDIES", "Code", "Condition", "Severity", "conditions"]

NEARLY = 0.9
"""Of a limit: time to look."""


class Severity(enum.Enum):
    """How bad it is."""

    WARNING = "warning"
    """It works, but not for ever, or not as well as it could."""
    ERROR = "error"
    """Something does not work."""


class Code(enum.Enum):
    """What it is."""

    ENDPOINT_DOWN = "endpoint-down"
    """An endpoint ought to run and does not."""
    OBJECT_FAILED = "object-failed"
    """Something that was asked for through the API is not in force."""
    TUNNEL_CLOSED = "tunnel-closed"
    """Nothing passes through an endpoint, since nftables does not take the rules that would keep it tight."""
    HOST_NETWORK = "host-network"
    """The host's network is not as an endpoint needs it."""
    EXPIRED = "expired"
    """A certificate or a revocation list has ended."""
    EXPIRES_SOON = "expires-soon"
    """A certificate or a revocation list is about to end."""
    POOL_EXHAUSTED = "pool-exhausted"
    """There are no addresses left for clients."""
    POOL_NEARLY_USED = "pool-nearly-used"
    """There are few addresses left for clients."""
    HANDSHAKES_AT_LIMIT = "handshakes-at-limit"
    """Nearly as many handshakes are in flight as may be."""
    STORE_AWAY = "store-away"
    """The database does not answer."""
    LAST_KNOWN_UNKEPT = "last-known-unkept"
    """What the database asks for cannot be kept beside it."""
    STORE_BEHIND = "store-behind"
    """What happens to connections does not get into the database."""
    RECORDS_LOST = "records-lost"
    """Since the gateway was started, something was lost on its way to the log or to the database."""
    LOG_SINK_FAILING = "log-sink-failing"
    """The connection log cannot be written to one of its places."""
    LOG_GROUP_UNKNOWN = "log-group-unknown"
    """An endpoint names a log group that the gateway does not have (any more)."""
    PLANE_FALLBACK = "plane-fallback"
    """Packets are moved by the Python data plane, since the native one cannot be had."""
    OFFLOAD_REFUSED = "offload-refused"
    """A network device does not take joined datagrams."""
    RELOAD_REFUSED = "reload-refused"
    """The configuration file is not what runs."""


REMEDIES: Final[Mapping[Code, str]] = {
    Code.ENDPOINT_DOWN: "See to what the sentence names; the endpoint is tried again until it works.",
    Code.OBJECT_FAILED: "See to what the sentence names, or delete the object; it is tried again until it works.",
    Code.TUNNEL_CLOSED: "See to what keeps `nft` from working; it is tried again every few seconds, and clients stay "
    "connected.",
    Code.HOST_NETWORK: "See to what the sentence names; the gateway notices by itself.",
    Code.EXPIRED: "Issue a new one, name it in the configuration or import it, and reload. With `portway pki`, "
    "`portway pki --help` names the commands.",
    Code.EXPIRES_SOON: "Issue a new one in time, and name or import it; running sessions do not notice.",
    Code.POOL_EXHAUSTED: "Enlarge client_cidr_block, or end sessions that nobody needs.",
    Code.POOL_NEARLY_USED: "Enlarge client_cidr_block before nobody gets in any more.",
    Code.HANDSHAKES_AT_LIMIT: "Where it lasts, look at the connection log for failing clients or a flood; where many "
    "clients are normal, raise max_half_open.",
    Code.STORE_AWAY: "Start the database or mend the way to it. Sessions go on by what was last known, and what "
    "happens is kept for later.",
    Code.LAST_KNOWN_UNKEPT: "See to what the sentence names: a full disk, or the owner of state_dir.",
    Code.STORE_BEHIND: "See to what the sentence names; nothing is lost as long as there is room to keep it.",
    Code.RECORDS_LOST: "What is lost stays lost. See that log and database take what they get; a restart of the "
    "gateway ends this message.",
    Code.LOG_SINK_FAILING: "See to what the sentence names: a full disk, a wrong owner, a service that does not run.",
    Code.LOG_GROUP_UNKNOWN: "Declare it as a [[log_group]] in the configuration file and `portway reload`, or name "
    "another one for the endpoint.",
    Code.PLANE_FALLBACK: "Install the native extension, or set plane = 'python' to have it so on purpose.",
    Code.OFFLOAD_REFUSED: "Switch the device's checksum offload on (`ethtool -K DEVICE tx on`), then restart the "
    "endpoint.",
    Code.RELOAD_REFUSED: "Correct the file (`portway check` says the same sentences), then `portway reload`.",
}  # fmt: skip
"""What to do."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is wrong."""

    code: Code
    severity: Severity
    subject: str
    """The endpoint, sink or object that it is about; empty for the gateway as a whole."""
    explanation: str
    """A sentence: what is wrong, with its facts."""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.code]

    def as_json(self) -> dict[str, str]:
        """As the status has it."""
        return {
            "code": self.code.value,
            "severity": self.severity.value,
            "subject": self.subject,
            "explanation": self.explanation,
            "remedy": self.remedy,
        }


def conditions(status: Mapping[str, Any]) -> tuple[Condition, ...]:
    """All that is wrong by a status document, errors first."""
    found = (
        *(condition for endpoint in status["endpoints"] for condition in _of_endpoint(endpoint)),
        *_of_log_groups(status),
        *_of_what_is_down(status["down"]),
        *_of_gateway(status),
        *(condition for sink in status["connection_log"] for condition in _of_sink(sink)),
        *_of_store(status["managed"]),
        *_of_objects(status),
    )
    return tuple(sorted(found, key=lambda condition: condition.severity is not Severity.ERROR))


def _of_endpoint(endpoint: Mapping[str, Any]) -> Iterator[Condition]:
    name, pool, half_open = endpoint["name"], endpoint["pool"], endpoint["half_open"]
    for expiry in endpoint["expiries"]:
        if expiry["urgency"] == "expired":
            text = f"The {expiry['what']} ended at {expiry['ends']}: clients are refused."
            yield Condition(Code.EXPIRED, Severity.ERROR, name, text)
        elif expiry["urgency"] == "soon":
            text = f"The {expiry['what']} ends in {expiry['days_left']} days, at {expiry['ends']}."
            yield Condition(Code.EXPIRES_SOON, Severity.WARNING, name, text)
    if pool["used"] >= pool["capacity"]:
        text = f"All {pool['capacity']} addresses of {pool['network']} are in use: new clients are refused."
        yield Condition(Code.POOL_EXHAUSTED, Severity.ERROR, name, text)
    elif pool["used"] >= NEARLY * pool["capacity"]:
        text = f"{pool['used']} of {pool['capacity']} addresses of {pool['network']} are in use."
        yield Condition(Code.POOL_NEARLY_USED, Severity.WARNING, name, text)
    if half_open["now"] >= NEARLY * half_open["limit"]:
        text = f"{half_open['now']} handshakes are in flight, of {half_open['limit']} that may be."
        yield Condition(Code.HANDSHAKES_AT_LIMIT, Severity.WARNING, name, text)
    if endpoint["plane"]["udp_gso_refused"]:
        text = "A network device refuses joined datagrams; they leave one by one, at several times the CPU time."
        yield Condition(Code.OFFLOAD_REFUSED, Severity.WARNING, name, text)


def _of_log_groups(status: Mapping[str, Any]) -> Iterator[Condition]:
    for endpoint in status["endpoints"]:
        log = endpoint["connection_log"]
        if log is not None and log["group"] not in status["log_groups"]:
            text = f"There is no log group {log['group']}: the endpoint's records go to the default one."
            yield Condition(Code.LOG_GROUP_UNKNOWN, Severity.WARNING, endpoint["name"], text)


def _of_what_is_down(down: Mapping[str, str]) -> Iterator[Condition]:
    for name, problem in down.items():
        yield Condition(Code.ENDPOINT_DOWN, Severity.ERROR, name, _sentence(problem))


def _of_gateway(status: Mapping[str, Any]) -> Iterator[Condition]:
    for name in status["closed"]:
        text = "Its security groups are to let pass less, and nftables refuses: nothing passes until it does not."
        yield Condition(Code.TUNNEL_CLOSED, Severity.ERROR, name, text)
    for problem in status["host_problems"]:
        yield Condition(Code.HOST_NETWORK, Severity.WARNING, "", _sentence(problem))
    if reason := status["plane"]["reason"]:
        yield Condition(
            Code.PLANE_FALLBACK, Severity.WARNING, "", _sentence(f"The native data plane cannot be had: {reason}")
        )
    reload = status["last_reload"]
    if reload and reload["result"] != "done":
        text = f"The reload of {reload['at']} was {reload['result']}: {' '.join(reload['sentences'])}"
        yield Condition(Code.RELOAD_REFUSED, Severity.WARNING, "", _sentence(text))


def _of_sink(sink: Mapping[str, Any]) -> Iterator[Condition]:
    if sink["failing"]:
        text = f"The connection log cannot be written to {sink['sink']}: {sink['failing']}"
        yield Condition(Code.LOG_SINK_FAILING, Severity.ERROR, sink["sink"], _sentence(text))
    if sink["lost"]:
        text = f"{sink['lost']} records of the connection log never reached {sink['sink']}."
        yield Condition(Code.RECORDS_LOST, Severity.WARNING, sink["sink"], text)


def _of_objects(status: Mapping[str, Any]) -> Iterator[Condition]:
    """What is wrong with managed endpoints, where nothing above says it."""
    said = {*status["down"].values(), *status["host_problems"]}
    for name, problems in status["managed"]["endpoints"].items():
        for problem in problems:
            if problem not in said:
                yield Condition(Code.OBJECT_FAILED, Severity.WARNING, name, _sentence(problem))


def _of_store(managed: Mapping[str, Any]) -> Iterator[Condition]:
    if problem := managed["problem"]:
        text = _sentence(f"The store cannot be used: {problem}")
        if as_of := managed["last_known"]["as_of"]:
            text += f" Endpoints made at run time are as they were at {as_of}; what was revoked since is not known."
        yield Condition(Code.STORE_AWAY, Severity.ERROR, "store", text)
    if problem := managed["last_known"]["problem"]:
        text = f"If the gateway is started while the store is away, it serves no endpoint of the store: {problem}"
        yield Condition(Code.LAST_KNOWN_UNKEPT, Severity.WARNING, "store", text)
    mirror = managed["mirror"]
    if mirror is None:
        return
    if failing := mirror["failing"]:
        text = f"{mirror['waiting']} rows about connections wait for the store: {failing}"
        yield Condition(Code.STORE_BEHIND, Severity.WARNING, "store", _sentence(text))
    lost = mirror["lost"]
    if any(lost.values()):
        text = f"{lost['events']} lines of the log and {lost['connections']} connections never reached the store."
        yield Condition(Code.RECORDS_LOST, Severity.WARNING, "store", text)


def _sentence(text: str) -> str:
    """What others say, as a sentence."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
