"""The values of one endpoint by themselves: ranges, known names, and settings that contradict each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from policy.pool import pool_capacity
from policy.problems import Problem, error, name_hint, repeats, warning
from policy.routes import redirects_gateway
from policy.spec import ControlChannel, ControlChannelProtection, EndpointSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

__all__ = [
    "DATA_CIPHERS",
    "DIGESTS",
    "GROUP_SOURCES",
    "MAX_BANNER",
    "MAX_DNS_SERVERS",
    "MAX_SEARCH_DOMAINS",
    "TLS_VERSIONS",
    "TRANSPORTS",
    "check_settings",
]

TRANSPORTS = ("udp", "tcp")
AEAD_CIPHERS = ("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305")
DATA_CIPHERS = (*AEAD_CIPHERS, "AES-256-CBC", "AES-128-CBC")
"""OpenVPN's names of the ciphers that the data channel speaks."""
DIGESTS = ("SHA1", "SHA256", "SHA512")
TLS_VERSIONS = ("1.2", "1.3")
GROUP_SOURCES = ("subject.OU", "subject.O", "san.email-domain")
MAX_DNS_SERVERS = 4
"""What OpenVPN's Windows client takes; AWS stops at 2."""
MAX_SEARCH_DOMAINS = 10
"""What OpenVPN's Windows client takes."""
MAX_BANNER = 1400
"""Characters, as with AWS. In OpenVPN's encoding they come to at most 17 KB, which every client takes."""
MAX_SESSION_HOURS = 8760
"""A year; what never ends cannot be revoked by waiting."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What a number must be."""

    key: str
    least: int
    most: int | None = None
    or_zero: bool = False

    def check(self, path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
        value: int | None = attrgetter(self.key)(endpoint)
        if value is None or (self.or_zero and value == 0):
            return
        if value < self.least or (self.most is not None and value > self.most):
            yield error(f"{path}.{self.key}", f"{value} is out of range. Use {self._wording()}.")

    def _wording(self) -> str:
        span = f"{self.least} or more" if self.most is None else f"{self.least} to {self.most}"
        return f"0 or {span}" if self.or_zero else span


@dataclass(frozen=True, slots=True)
class _Choice:
    """Names that a setting may have; of a tuple, each."""

    key: str
    known: Collection[str]

    def check(self, path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
        value: str | tuple[str, ...] | None = attrgetter(self.key)(endpoint)
        values = (value,) if isinstance(value, str) else value or ()
        for name in values:
            if name not in self.known:
                yield error(f"{path}.{self.key}", f'"{name}" is unknown. {name_hint(name, self.known)}')


_BOUNDS = (
    _Bounds("vpn_port", 1, 65535),
    _Bounds("max_clients", 0),
    _Bounds("sessions_per_client", 0),
    _Bounds("control_channel.tls_crypt_v2_max_age_days", 1),
    _Bounds("data_channel.mtu", 576, 9000),
    _Bounds("data_channel.mssfix", 576, 9000, or_zero=True),
    _Bounds("data_channel.renegotiate_after_s", 0),
    _Bounds("data_channel.renegotiate_after_bytes", 0),
    _Bounds("data_channel.renegotiate_after_packets", 0),
    _Bounds("data_channel.transition_window_s", 0),
    _Bounds("keepalive.interval_s", 1),
    _Bounds("handshake.timeout_s", 1),
    _Bounds("handshake.max_half_open", 1),
    _Bounds("handshake.max_half_open_per_prefix", 1),
    _Bounds("handshake.max_stateless_replies", 1),
    _Bounds("handshake.stateless_reply_window_s", 1),
)

_CHOICES = (
    _Choice("transport_protocol", TRANSPORTS),
    _Choice("tls_version_min", TLS_VERSIONS),
    _Choice("authentication.groups_from", GROUP_SOURCES),
    _Choice("control_channel.tls_auth_digest", DIGESTS),
    _Choice("data_channel.data_ciphers", DATA_CIPHERS),
    _Choice("data_channel.auth", DIGESTS),
)

_LISTS = ("transport_protocol", "dns_servers", "search_domains", "control_channel.accept", "data_channel.data_ciphers")
_NEEDED_LISTS = ("transport_protocol", "control_channel.accept", "data_channel.data_ciphers")

_KEY_OF: dict[ControlChannelProtection, tuple[str, Callable[[ControlChannel], bytes | None]]] = {
    ControlChannelProtection.TLS_CRYPT: ("tls_crypt_key", lambda channel: channel.tls_crypt_key),
    ControlChannelProtection.TLS_AUTH: ("tls_auth_key", lambda channel: channel.tls_auth_key),
    ControlChannelProtection.TLS_CRYPT_V2: ("tls_crypt_v2_server_key", lambda channel: channel.tls_crypt_v2_server_key),
}


def check_settings(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    """All problems of this kind; `path` is the endpoint's own key path."""
    for check in (*_BOUNDS, *_CHOICES):
        yield from check.check(path, endpoint)
    yield from _check_names(path, endpoint)
    yield from _check_lists(path, endpoint)
    yield from _check_control_channel(f"{path}.control_channel", endpoint.control_channel)
    yield from _check_times(path, endpoint)
    yield from _check_dns(path, endpoint)
    yield from _check_counts(path, endpoint)
    yield from _check_what_clients_do(path, endpoint)


def _check_names(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    named = [(f"{path}.name", endpoint.name)]
    named += [(f"{path}.target_network[{i}].name", target.name) for i, target in enumerate(endpoint.target_networks)]
    for key, name in named:
        if not _NAME.fullmatch(name):
            yield error(
                key,
                f"{name!r} is no name. Use up to 63 letters, digits, dots, hyphens and underscores, but begin with "
                "a letter or digit.",
            )


def _check_lists(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    for key in _NEEDED_LISTS:
        if not attrgetter(key)(endpoint):
            yield error(f"{path}.{key}", "The list is empty, so nobody could connect. Name at least one.")
    for key in _LISTS:
        values = attrgetter(key)(endpoint)
        for index in sorted(repeats(values)):
            yield error(f"{path}.{key}[{index}]", f"{_shown(values[index])} stands in the list twice. Remove one.")
    if not set(endpoint.data_channel.data_ciphers) & set(AEAD_CIPHERS):
        yield warning(
            f"{path}.data_channel.data_ciphers",
            "Clients from OpenVPN 2.6 on offer no CBC cipher unless told to, and could not connect. Add AES-256-GCM.",
        )


def _shown(value: object) -> str:
    return str(value.value if isinstance(value, ControlChannelProtection) else value)


def _check_control_channel(path: str, channel: ControlChannel) -> Iterator[Problem]:
    for protection in channel.accept:
        key, key_in = _KEY_OF.get(protection, ("", None))
        if key_in is not None and key_in(channel) is None:
            yield error(
                f"{path}.{key}", f'"{protection.value}" is accepted, but its key is missing. Name the key\'s file.'
            )
    if channel.tls_auth_direction not in (0, 1, None):
        yield error(
            f"{path}.tls_auth_direction", f"{channel.tls_auth_direction} is no direction. Use 0 or 1, or leave it out."
        )


def _check_times(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    keepalive = endpoint.keepalive
    if keepalive.timeout_s < 2 * keepalive.interval_s:
        yield error(
            f"{path}.keepalive.timeout_s",
            f"{keepalive.timeout_s} s is too short for a ping every {keepalive.interval_s} s: one lost ping would end "
            f"the session. Use {2 * keepalive.interval_s} or more.",
        )
    if not 0 < endpoint.session_timeout_hours <= MAX_SESSION_HOURS:  # a NaN is not, either
        yield error(
            f"{path}.session_timeout_hours",
            f"{endpoint.session_timeout_hours} is out of range. Use more than 0 and at most {MAX_SESSION_HOURS} hours.",
        )


def _check_dns(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    limits = (
        ("dns_servers", endpoint.dns_servers, MAX_DNS_SERVERS),
        ("search_domains", endpoint.search_domains, MAX_SEARCH_DOMAINS),
    )
    for key, values, limit in limits:
        if len(values) > limit:
            yield error(f"{path}.{key}", f"{len(values)} are too many: clients on Windows take at most {limit}.")
    for index, domain in enumerate(endpoint.search_domains):
        if not _DOMAIN.fullmatch(domain):
            yield error(
                f"{path}.search_domains[{index}]", f"{domain!r} is no domain name. Write it as in corp.example."
            )


def _check_counts(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    capacity = pool_capacity(endpoint.client_cidr_block)
    if endpoint.max_clients > capacity:
        yield warning(
            f"{path}.max_clients",
            f"The client range {endpoint.client_cidr_block} has addresses for {capacity} clients only. Enlarge it.",
        )
    handshake = endpoint.handshake
    if handshake.max_half_open_per_prefix > handshake.max_half_open:
        yield warning(
            f"{path}.handshake.max_half_open_per_prefix",
            f"It has no effect beyond max_half_open, {handshake.max_half_open}. Lower it.",
        )


def _check_what_clients_do(path: str, endpoint: EndpointSpec) -> Iterator[Problem]:
    if len(endpoint.login_banner) > MAX_BANNER:
        yield error(
            f"{path}.login_banner", f"It has {len(endpoint.login_banner)} characters. Use at most {MAX_BANNER}."
        )
    if endpoint.client_route_enforcement and not redirects_gateway(endpoint):
        yield warning(
            f"{path}.client_route_enforcement",
            "It has no effect with a split tunnel: no OpenVPN client enforces routes. Use split_tunnel = false.",
        )
