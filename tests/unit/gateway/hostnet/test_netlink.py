"""What a request to the kernel can meet; what is asked for is tested through `HostNetwork`, in namespaces."""

import errno

import pytest

from gateway.hostnet import Device, HostNetwork
from gateway.hostnet.errors import KernelRefusedError
from gateway.hostnet.netlink import Netlink
from tests.unit.gateway.hostnet.hosts import make_spec


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOBUFS])
def test_what_the_socket_itself_raises_becomes_the_typed_error(code: int) -> None:
    async def fail() -> None:
        raise OSError(code, "from the socket")

    with Netlink() as netlink, pytest.raises(KernelRefusedError, match="cannot list the routes: ") as refused:
        netlink._run("list the routes", fail)
    assert refused.value.code == code


async def test_an_endpoint_that_the_socket_fails_is_taken_off_the_host_again(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [Device("portway7", 7)]
    network = HostNetwork("unopened")
    removed: list[Device] = []

    def refuse(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("gateway.hostnet.netlink.AsyncIPRoute.__aenter__", refuse)
    monkeypatch.setattr(network._reconciler, "remove", removed.extend)
    with pytest.raises(KernelRefusedError, match="Too many open files"):
        await network.add_endpoint(devices[0], make_spec())
    assert removed == devices
