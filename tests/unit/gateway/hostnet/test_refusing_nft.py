"""Where nftables does not take rules that allow less, what the former ones allow does not pass either."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.lab.process import eventually
from tests.unit.gateway.hostnet.hosts import PATIENCE_S, TARGET, Hosts, RemoteError, make_spec, udp_packet
from tests.unit.gateway.hostnet.test_filtered_packets import allow, filtered

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.hostnet import Device
    from tests.unit.gateway.hostnet.hosts import Daemon

pytestmark = pytest.mark.netns

BOTH = make_spec("main", filtered(allow("udp", 5000, 5001)))
ONE = make_spec("main", filtered(allow("udp", 5000)))
MORE = make_spec("main", filtered(allow("udp", 5000, 5001), allow("udp", 5002)))


class Office:
    """An endpoint that may open two ports of the target, on a host whose `nft` can be made to refuse."""

    def __init__(self, hosts: Hosts, directory: Path) -> None:
        self._hosts = hosts
        self._refuses = directory / "refuses"
        command = directory / "nft"
        command.write_text(
            f"""#!/bin/sh
            if [ -e {self._refuses} ] && [ "$2" = -f ]; then
                left=$(cat {self._refuses})
                [ "$left" -gt 0 ] || {{ echo "Error: no room" >&2; exit 1; }}
                echo $((left - 1)) > {self._refuses}
            fi
            exec {shutil.which("nft")} "$@"
            """
        )
        command.chmod(0o755)
        self.daemon: Daemon = hosts.daemon("a", ("env", f"PATH={directory}:{os.environ['PATH']}"))
        self.daemon.open()
        self.tun: Device = self.daemon.add(BOTH)

    def break_nft(self, *, after: int = 0) -> None:
        """Let it refuse every transaction, after some that it still takes."""
        self._refuses.write_text(f"{after}\n")

    def mend_nft(self) -> None:
        self._refuses.unlink()

    def arrives(self, *ports: int) -> bytes:
        """Send a datagram to each port in turn; the first that arrives at any of them."""
        service = self._hosts.udp(self._hosts.target, TARGET, ports[-1])
        for port in ports:
            self.daemon.send(self.tun, udp_packet(TARGET, b"%d" % port, port=port))
        arrived = service.recv(100)
        service.close()
        return arrived

    def is_up(self) -> bool:
        return ",UP" in self._hosts.gateway.run("ip", "link", "show", self.tun.name).stdout


@pytest.fixture
def office(hosts: Hosts, tmp_path: Path) -> Office:
    return Office(hosts, tmp_path)


def test_a_rule_that_cannot_be_taken_away_takes_the_tunnel_away(office: Office) -> None:
    assert office.arrives(5001) == b"5001"
    office.break_nft()
    with pytest.raises(RemoteError, match=r"no room. Until it does, nothing passes through the tunnel of main"):
        office.daemon.call("update", "main", ONE)
    assert office.daemon.call("closed") == ("main",)
    assert not office.is_up()
    with pytest.raises(RemoteError, match="Input/output error"):
        office.arrives(5001)
    with pytest.raises(RemoteError, match="nothing passes"):
        office.daemon.call("reconcile")
    office.mend_nft()
    assert office.daemon.call("reconcile") == ()
    assert office.daemon.call("closed") == ()
    assert office.arrives(5001, 5000) == b"5000"


def test_it_opens_again_by_itself(office: Office) -> None:
    office.daemon.call("watch")
    office.break_nft()
    with pytest.raises(RemoteError):
        office.daemon.call("update", "main", ONE)
    office.mend_nft()
    eventually(office.is_up, within_s=PATIENCE_S, what="the tunnel up again")
    assert office.arrives(5000) == b"5000"


def test_a_rule_that_cannot_be_added_leaves_everything_as_it_was(office: Office) -> None:
    office.break_nft()
    with pytest.raises(RemoteError, match=r"no room$"):
        office.daemon.call("update", "main", MORE)
    assert office.daemon.call("closed") == ()
    assert office.arrives(5001) == b"5001"


def test_what_another_hand_has_removed_and_cannot_be_written_again_closes_the_tunnel(
    office: Office, hosts: Hosts
) -> None:
    office.break_nft()
    hosts.gateway.run("nft", "flush", "ruleset")
    with pytest.raises(RemoteError, match="nothing passes"):
        office.daemon.call("reconcile")
    assert not office.is_up()
    office.mend_nft()
    office.daemon.call("reconcile")
    assert office.arrives(5000) == b"5000"


def test_an_endpoint_that_goes_is_closed_no_more(office: Office) -> None:
    office.break_nft()
    with pytest.raises(RemoteError):
        office.daemon.call("update", "main", ONE)
    office.mend_nft()
    office.daemon.call("remove", "main")
    assert office.daemon.call("closed") == ()


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_change_that_is_cut_off_between_its_transactions_is_made_whole(
    office: Office, hosts: Hosts, after: int
) -> None:
    table = ("nft", "list", "table", "inet", "portway_a")
    office.break_nft(after=after)
    with pytest.raises(RemoteError, match="no room"):
        office.daemon.call("update", "main", MORE)
    assert office.daemon.call("closed") == ()
    assert office.arrives(5001) == b"5001"
    office.mend_nft()
    assert office.daemon.call("update", "main", MORE) == ()
    assert office.arrives(5002) == b"5002"
    assert hosts.gateway.run(*table).stdout.count("chain egress_filter_") == 1
    assert office.daemon.call("update", "main", ONE) == ()
    assert office.arrives(5002, 5001, 5000) == b"5000"
