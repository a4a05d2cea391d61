"""When Python looks for cyclic garbage: often among what is young, seldom among everything.

Left alone, the collector goes through all objects of all sessions whenever these have grown by a quarter. That takes
35 ms for a thousand clients, in which nothing else moves, and in vain: what a session holds does not refer back to it,
so all of it is freed when the session ends. What does leave cycles is rare and small, such as a task that has failed.
The API would pause for 60 ms now and then, most of it for AWS's models of its calls, which stay for ever.
"""

from __future__ import annotations

import gc

__all__ = ["collect_everything", "spare_the_long_lived"]

SELDOM = 1_000_000
"""Collections of the middle generation before one of the oldest: in effect never."""


def spare_the_long_lived() -> None:
    """Leave alone from now on what is there already, and what has lasted; call `collect_everything` now and then."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, SELDOM)


def collect_everything() -> None:
    """Free what cycles hold, whatever its age."""
    gc.collect()
