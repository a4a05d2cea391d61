"""Whose packets the kernel forwards: turned on where the endpoints need it, turned off again only by the last one.

The kernel looks at the `forwarding` setting of the interface where a packet enters. Portway turns it on for its own
TUN devices, which vanish with it, and for the interfaces of target networks, whose replies enter there; never for
the host (`net.ipv4.ip_forward`), which would make it a router on every interface. An interface that was off is
*claimed*: the claim is written into the daemon's nftables table, where the guard drops what does not go to a
tunnel, before forwarding is turned on; and it is what says, after a crash too, that forwarding was off before.

Several daemons may need one interface, without talking to each other. It works because each looks in this order:

* to take: first the claims of others, then the setting. Claimed by another, or off: claim it, turn it on.
  On and claimed by nobody: the host's administrator wants it so; leave it alone, now and later.
* to give back: claimed by nobody else: turn it off, and drop the claim after that. Claimed by another: drop the own
  claim, and look again, since the other may be giving back too: whoever looks last turns it off.

A daemon that looks while another gives back may find the interface turned off under it: the next reconciliation
takes it again. And when the administrator turns `ip_forward` on after a claim was made, the kernel has turned every
interface on: the claims are dropped, the guard goes, and nothing is turned off in the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.hostnet.firewall import Claim

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.hostnet.records import Device, ForwardingState

__all__ = ["ForwardingPlan", "plan_forwarding"]


@dataclass(frozen=True, slots=True)
class ForwardingPlan:
    """What to do about the interfaces of target networks, in the order of the fields."""

    claims: frozenset[Claim]
    """To be in the table while the next two are done."""
    turn_on: frozenset[Device]
    turn_off: frozenset[Device]
    claims_after: frozenset[Claim]
    """To remain in the table."""
    left_on: frozenset[Device]
    """Given back, but claimed by others: to be turned off after all if they, too, have given them back by then."""
    host_owned: frozenset[Device]
    """Interfaces found on and claimed by nobody: the administrator's."""


def plan_forwarding(
    wanted: frozenset[Device],
    claims: frozenset[Claim],
    host_owned: frozenset[Device],
    state: ForwardingState,
    others: Callable[[], frozenset[Device]],
) -> ForwardingPlan:
    """Decide from what is wanted, what is claimed, and what the kernel says.

    `others` reads the claims of other daemons; it is asked only where the answer matters, since it is slow.
    `claims` and `host_owned` are those of interfaces that still exist.
    """
    kept = frozenset(claim for claim in claims if claim.host_forwarded or not state.host)
    undecided = wanted - {claim.device for claim in kept} - (host_owned & _on(wanted, state))
    released = frozenset(claim for claim in kept if claim.device not in wanted)
    foreign = others() if released or undecided & _on(undecided, state) else frozenset()
    taken = frozenset(
        Claim(device, state.host) for device in undecided if device.ifindex not in state.interfaces or device in foreign
    )
    claims_after = (kept - released) | taken
    return ForwardingPlan(
        claims=kept | taken,
        turn_on=frozenset(claim.device for claim in claims_after if claim.device.ifindex not in state.interfaces),
        turn_off=frozenset(claim.device for claim in released if claim.device not in foreign),
        claims_after=claims_after,
        left_on=frozenset(claim.device for claim in released if claim.device in foreign),
        host_owned=wanted - {claim.device for claim in claims_after},
    )


def _on(devices: frozenset[Device], state: ForwardingState) -> frozenset[Device]:
    return frozenset(device for device in devices if device.ifindex in state.interfaces)
