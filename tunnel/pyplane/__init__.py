"""The data plane in Python, on the trio loop: the readable reference, and what runs where nothing can be compiled.

plane.py                    the `DataPlane` itself: turns, tasks, what control may ask
peers.py access.py          who there is, with which keys; what each may reach
ingress.py egress.py        a packet's way in and out
udp_side.py udp_address.py tcp_side.py streams.py tun_side.py    the three doors
timers.py counters.py       keepalive, idle peers, worn keys; why packets were dropped
"""

from tunnel.pyplane.plane import PythonDataPlane

__all__ = ["PythonDataPlane"]
