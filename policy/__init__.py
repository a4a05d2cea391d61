"""Who may reach what. Pure: values in, values out; no files, sockets, clocks or devices.

spec         what an administrator has decided: `GatewaySpec` and the records in it
validate     what is wrong with it, beside itself and on a host: `Problem`s
compare      what a new one changes
decide       the meaning of routes and rules; `compile_access` makes the data plane's table of it
explain      why, and what would have to change
AddressPool  who has which address inside the tunnel
"""

from __future__ import annotations

from policy.access import AccessTable, Verdict, compile_access, decide
from policy.changes import Aspect, EndpointChange, GatewayChange, compare
from policy.errors import AddressUnavailable, PolicyError, PoolExhausted
from policy.explain import Explanation, explain
from policy.explain_text import render_explanation, verdict_sentence
from policy.host_facts import HostFacts, HostInterface
from policy.pool import AddressPool, pool_capacity
from policy.prefix_sweep import sweep
from policy.problems import Problem, Severity
from policy.remedies import Remedy
from policy.routes import blocks_local_networks, pushed_routes, redirects_gateway
from policy.security_groups import ALL_PROTOCOLS, ANY, PROTOCOL_NUMBERS, allows_everything, has_ports
from policy.spec import (
    DEFAULT_LOG_GROUP,
    LOCAL,
    AuthorizationRule,
    CertificateAuthentication,
    ControlChannel,
    ControlChannelProtection,
    DataChannel,
    EndpointSpec,
    GatewaySpec,
    HandshakeLimits,
    Keepalive,
    LogDestination,
    Route,
    SecurityGroup,
    SecurityGroupRule,
    ServerCertificate,
    TargetNetwork,
)
from policy.validate import validate, validate_endpoint
from policy.validate_groups import group_rule_problems
from policy.validate_network import MAX_ROUTES, MAX_RULES, destination_obstacles, is_overlap
from policy.validate_networks import validate_networks
from policy.validate_settings import DATA_CIPHERS, DIGESTS, GROUP_SOURCES, MAX_BANNER, TLS_VERSIONS, TRANSPORTS

__all__ = [
    "ALL_PROTOCOLS",
    "ANY",
    "DATA_CIPHERS",
    "DEFAULT_LOG_GROUP",
    "DIGESTS",
    "GROUP_SOURCES",
    "LOCAL",
    "MAX_BANNER",
    "MAX_ROUTES",
    "MAX_RULES",
    "PROTOCOL_NUMBERS",
    "TLS_VERSIONS",
    "TRANSPORTS",
    "AccessTable",
    "AddressPool",
    "AddressUnavailable",
    "Aspect",
    "AuthorizationRule",
    "CertificateAuthentication",
    "ControlChannel",
    "ControlChannelProtection",
    "DataChannel",
    "EndpointChange",
    "EndpointSpec",
    "Explanation",
    "GatewayChange",
    "GatewaySpec",
    "HandshakeLimits",
    "HostFacts",
    "HostInterface",
    "Keepalive",
    "LogDestination",
    "PolicyError",
    "PoolExhausted",
    "Problem",
    "Remedy",
    "Route",
    "SecurityGroup",
    "SecurityGroupRule",
    "ServerCertificate",
    "Severity",
    "TargetNetwork",
    "Verdict",
    "allows_everything",
    "blocks_local_networks",
    "compare",
    "compile_access",
    "decide",
    "destination_obstacles",
    "explain",
    "group_rule_problems",
    "has_ports",
    "is_overlap",
    "pool_capacity",
    "pushed_routes",
    "redirects_gateway",
    "render_explanation",
    "sweep",
    "validate",
    "validate_endpoint",
    "validate_networks",
    "verdict_sentence",
]
