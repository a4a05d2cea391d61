from __future__ import annotations

from dataclasses import replace

from structlog.testing import capture_logs

from gateway.plane_watch import PlaneWatch
from tests.unit.gateway.world import World


def test_a_device_that_refuses_joined_datagrams_is_named_once() -> None:
    world = World()
    watch = PlaneWatch(lambda: [world.endpoint])
    with capture_logs() as logs:
        watch.look()
        assert logs == []
        world.plane.what = replace(world.plane.what, udp_gso=False, udp_gso_refused=True)
        watch.look()
        watch.look()
    (said,) = logs
    assert (said["endpoint"], said["log_level"]) == (world.endpoint.spec.name, "warning")
    assert "ethtool" in said["remedy"]
