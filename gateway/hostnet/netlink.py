"""The only module that knows pyroute2: typed, blocking calls to the kernel's rtnetlink.

pyroute2's own core is asyncio; each `Netlink` runs a private loop, so that it can be used from any worker thread
of trio, by one thread at a time. It owns one socket and no state: what to ask for is decided elsewhere.

Two messages are spelled out here because pyroute2 lacks them: `RTM_GETNETCONF`, which reads `forwarding` of all
interfaces, and `RTM_SETLINK` with `IFLA_AF_SPEC`, which sets it. They need CAP_NET_ADMIN alone, and work where
/proc/sys is read-only or hidden (systemd's ProtectKernelTunables and ProcSubset). Unlike the sysctl, setting
`forwarding` so does not turn off large receive offload for good: the few drivers that still have LRO merge
segments that cannot be forwarded, and need `ethtool -K <interface> lro off`.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import AsyncExitStack, contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, ip_interface
from typing import TYPE_CHECKING, Any, Self

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, nla, nlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from gateway.hostnet.errors import KernelRefusedError
from gateway.hostnet.records import Device, ForwardingState, Link, Route, Rule, RuleAction

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["PROTOCOL", "Netlink"]

PROTOCOL = 80
"""Marks rules and routes as Portway's (rtnetlink `protocol`); unassigned in the kernel and in iproute2's rt_protos."""

_TIMEOUT_S = 10.0
"""The kernel answers in microseconds; a request that takes longer has lost its answer."""

_RTM_SETLINK = 19
_RTM_NEWNETCONF = 80
_RTM_GETNETCONF = 82
_NETCONFA_IFINDEX_ALL = -1
_ADDR_GEN_MODE_NONE = 1
_IFA_F_NOPREFIXROUTE = 0x200
_RTNH_F_ONLINK = 4
_RT_SCOPE_UNIVERSE = 0
_RT_SCOPE_LINK = 253
_IFF_UP = 1


class _NetconfMessage(nlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """`struct netconfmsg` of linux/netconf.h."""

    fields = (("family", "B"),)
    nla_map = ((1, "NETCONFA_IFINDEX", "int32"), (2, "NETCONFA_FORWARDING", "int32"))


class _LinkOptions(nlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """`struct ifinfomsg` with the per-family settings of linux/if_link.h that are written here."""

    fields = ifinfmsg.fields
    nla_map = ((26, "IFLA_AF_SPEC", "families"),)

    class families(nla):  # type: ignore[misc]  # noqa: N801 - pyroute2's way to declare nested attributes
        nla_map = ((socket.AF_INET, "AF_INET", "inet"), (socket.AF_INET6, "AF_INET6", "inet6"))

        class inet(nla):  # type: ignore[misc]  # noqa: N801
            nla_map = ((1, "IFLA_INET_CONF", "settings"),)

            class settings(nla):  # type: ignore[misc]  # noqa: N801
                nla_map = ((1, "IPV4_DEVCONF_FORWARDING", "uint32"),)

        class inet6(nla):  # type: ignore[misc]  # noqa: N801
            nla_map = ((8, "IFLA_INET6_ADDR_GEN_MODE", "uint8"),)


class Netlink:
    """A blocking rtnetlink client for IPv4; every method raises `KernelRefusedError` with the kernel's reason."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._kernel: Any = None

    def __enter__(self) -> Self:
        try:
            self._kernel = self._run("open a netlink socket", lambda: self._stack.enter_async_context(AsyncIPRoute()))
        except BaseException:
            self._runner.close()
            raise
        self._kernel.marshal.msg_map[_RTM_NEWNETCONF] = _NetconfMessage
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()

    # Links and addresses

    def links(self) -> dict[str, Link]:
        """All interfaces of this network namespace, by name."""
        links = map(_parse_link, self._dump("list the interfaces", lambda: self._kernel.link("dump")))
        return {link.name: link for link in links}

    def set_link(self, device: Device, **settings: Any) -> None:
        """Set `mtu`, `txqlen`, `ifalias` or `state` ("up" or "down")."""
        wanted = " ".join(f"{key} {value}" for key, value in settings.items())
        self._run(f"set {wanted} on {device.name}", lambda: self._kernel.link("set", index=device.ifindex, **settings))

    def disable_ipv6_autoconf(self, device: Device) -> None:
        """Keep the kernel from giving the interface a link-local IPv6 address; must precede `state="up"`."""
        with _tolerating(errno.EAFNOSUPPORT):  # a kernel without IPv6 gives none anyway
            self._set_option(
                f"turn off IPv6 autoconfiguration of {device.name}",
                device,
                ("AF_INET6", [("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_MODE_NONE)]),
            )

    def addresses(self, device: Device) -> set[IPv4Interface]:
        """The interface's IPv4 addresses with their prefix lengths."""
        dump = self._dump(
            f"list the addresses of {device.name}",
            lambda: self._kernel.addr("dump", family=socket.AF_INET, index=device.ifindex),
        )
        return {IPv4Interface((m.get("IFA_LOCAL"), m["prefixlen"])) for m in dump if m["index"] == device.ifindex}

    def all_addresses(self) -> list[tuple[int, IPv4Interface | IPv6Interface]]:
        """The addresses of all interfaces, each with its ifindex."""
        dump = self._dump("list the addresses", lambda: self._kernel.addr("dump", family=socket.AF_UNSPEC))
        return [
            (m["index"], ip_interface((m.get("IFA_LOCAL") or m.get("IFA_ADDRESS"), m["prefixlen"])))
            for m in dump
            if m["family"] in (socket.AF_INET, socket.AF_INET6)
        ]

    def add_address(self, device: Device, address: IPv4Interface) -> None:
        """Add an address without the prefix route that the kernel would put into the host's main table."""
        self._run(
            f"give {device.name} the address {address}",
            lambda: self._kernel.addr(
                "replace",
                index=device.ifindex,
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                flags=_IFA_F_NOPREFIXROUTE,
            ),
        )

    def remove_address(self, device: Device, address: IPv4Interface) -> None:
        """Remove an address; none there is no error."""
        with _tolerating(errno.EADDRNOTAVAIL, errno.ENODEV):
            self._run(
                f"take the address {address} from {device.name}",
                lambda: self._kernel.addr(
                    "del", index=device.ifindex, address=str(address.ip), prefixlen=address.network.prefixlen
                ),
            )

    # Forwarding

    def forwarding(self) -> ForwardingState:
        """Read `forwarding` of the host and of every interface."""
        request = _NetconfMessage()
        request["family"] = socket.AF_INET
        dump = self._dump(
            "read the forwarding settings",
            lambda: self._kernel.nlm_request(request, msg_type=_RTM_GETNETCONF, msg_flags=NLM_F_REQUEST | NLM_F_DUMP),
        )
        on = {m.get("NETCONFA_IFINDEX") for m in dump if m.get("NETCONFA_FORWARDING")}
        return ForwardingState(_NETCONFA_IFINDEX_ALL in on, frozenset(index for index in on if index > 0))

    def set_forwarding(self, device: Device, *, on: bool) -> None:
        """Turn forwarding of packets that enter at this interface on or off; an interface that is gone is no error."""
        with _tolerating(errno.ENODEV):
            self._set_option(
                f"turn IPv4 forwarding {'on' if on else 'off'} for {device.name}",
                device,
                ("AF_INET", [("IFLA_INET_CONF", {"attrs": [("IPV4_DEVCONF_FORWARDING", int(on))]})]),
            )

    # Rules and routes of ours

    def rules(self) -> list[Rule]:
        """All IPv4 rules that carry our protocol number, in the kernel's order."""
        dump = self._dump("list the routing rules", lambda: self._kernel.rule("dump", family=socket.AF_INET))
        ours = (m for m in dump if m.get("FRA_PROTOCOL") == PROTOCOL and m["action"] in set(RuleAction))
        return [_parse_rule(message) for message in ours]

    def add_rule(self, rule: Rule) -> None:
        """Add a rule; the same rule there is no error."""
        with _tolerating(errno.EEXIST):
            self._run("add a routing rule", lambda: self._kernel.rule("add", **_build_rule(rule)))

    def remove_rule(self, rule: Rule) -> None:
        """Remove a rule; none there is no error."""
        with _tolerating(errno.ENOENT):
            self._run("remove a routing rule", lambda: self._kernel.rule("del", **_build_rule(rule)))

    def routes(self) -> list[Route]:
        """All IPv4 routes that carry our protocol number, in all tables."""
        dump = self._dump("list the routes", lambda: self._kernel.route("dump", family=socket.AF_INET))
        return [_parse_route(m) for m in dump if m["proto"] == PROTOCOL]

    def set_route(self, route: Route) -> None:
        """Add a route, in the place of any other to the same destination in its table."""
        self._run(f"add the route to {route.destination}", lambda: self._kernel.route("replace", **_build_route(route)))

    def remove_route(self, route: Route) -> None:
        """Remove a route; none there is no error."""
        with _tolerating(errno.ESRCH, errno.ENODEV):
            self._run(
                f"remove the route to {route.destination}", lambda: self._kernel.route("del", **_build_route(route))
            )

    # How a request is made

    def _set_option(self, attempt: str, device: Device, family: tuple[str, list[tuple[str, Any]]]) -> None:
        message = _LinkOptions()
        message["index"] = device.ifindex
        name, options = family
        message["attrs"] = [("IFLA_AF_SPEC", {"attrs": [(name, {"attrs": options})]})]
        self._dump(
            attempt,
            lambda: self._kernel.nlm_request(message, msg_type=_RTM_SETLINK, msg_flags=NLM_F_REQUEST | NLM_F_ACK),
        )

    def _dump(self, attempt: str, request: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
        async def collect() -> list[Any]:
            return [message async for message in await request()]

        collected: list[Any] = self._run(attempt, collect)
        return collected

    def _run(self, attempt: str, request: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(_TIMEOUT_S):
                return await request()

        try:
            self._runner.get_loop()  # made by the first request, of descriptors that may have run out
            return self._runner.run(bounded())
        except NetlinkError as error:
            raise KernelRefusedError(attempt, error.code) from error
        except TimeoutError as error:
            raise KernelRefusedError(attempt, errno.ETIMEDOUT) from error
        except OSError as error:  # the socket's own: no descriptor left (EMFILE), an answer lost (ENOBUFS)
            raise KernelRefusedError(attempt, error.errno or errno.EIO) from error


@contextmanager
def _tolerating(*codes: int) -> Iterator[None]:
    """Let pass what another hand, or the kernel itself, has done already."""
    try:
        yield
    except KernelRefusedError as error:
        if error.code not in codes:
            raise


def _parse_link(message: Any) -> Link:
    info = message.get("IFLA_LINKINFO")
    return Link(
        name=message.get("IFLA_IFNAME"),
        ifindex=message["index"],
        is_tun=info is not None and info.get("IFLA_INFO_KIND") == "tun",
        is_up=bool(message["flags"] & _IFF_UP),
        mtu=message.get("IFLA_MTU") or 0,
        queue_length=message.get("IFLA_TXQLEN") or 0,
        alias=message.get("IFLA_IFALIAS") or "",
    )


def _build_rule(rule: Rule) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "family": socket.AF_INET,
        "priority": rule.priority,
        "table": rule.table,
        "action": int(rule.action),
        "protocol": PROTOCOL,
    }
    if rule.input_interface is not None:
        attributes["iifname"] = rule.input_interface
    if rule.destination is not None:
        attributes |= {"dst": str(rule.destination.network_address), "dst_len": rule.destination.prefixlen}
    return attributes


def _parse_rule(message: Any) -> Rule:
    destination = message.get("FRA_DST")
    return Rule(
        priority=message.get("FRA_PRIORITY") or 0,
        table=message.get("FRA_TABLE") or 0,
        action=RuleAction(message["action"]),
        input_interface=message.get("FRA_IIFNAME"),
        destination=IPv4Network((destination, message["dst_len"])) if destination else None,
    )


def _build_route(route: Route) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "family": socket.AF_INET,
        "dst": str(route.destination),
        "oif": route.ifindex,
        "table": route.table,
        "proto": PROTOCOL,
        "scope": _RT_SCOPE_LINK if route.gateway is None else _RT_SCOPE_UNIVERSE,
    }
    if route.gateway is not None:
        # The administrator says that the gateway is on this link: the main table need not confirm it.
        attributes |= {"gateway": str(route.gateway), "flags": _RTNH_F_ONLINK}
    if route.preferred_source is not None:
        attributes["prefsrc"] = str(route.preferred_source)
    return attributes


def _parse_route(message: Any) -> Route:
    gateway, preferred = message.get("RTA_GATEWAY"), message.get("RTA_PREFSRC")
    return Route(
        table=message.get("RTA_TABLE") or message["table"],
        destination=IPv4Network((message.get("RTA_DST") or "0.0.0.0", message["dst_len"])),  # noqa: S104 - default
        ifindex=message.get("RTA_OIF") or 0,
        gateway=IPv4Address(gateway) if gateway else None,
        preferred_source=IPv4Address(preferred) if preferred else None,
    )
