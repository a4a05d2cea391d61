"""Which data plane the endpoints get: the native one where it can be had, or the Python one; and why.

Both do the same. The native one needs a compiled extension and is several times as fast.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tunnel.pyplane import PythonDataPlane

if TYPE_CHECKING:
    from gateway.fleet import OpenPlane
    from tunnel import PlaneSettings
    from tunnel.nativeplane import NativeDataPlane

__all__ = ["PlaneChoice", "PlaneUnavailable", "Wanted", "choose_plane", "native_problem"]

Wanted = Literal["auto", "native", "python"]


class PlaneUnavailable(Exception):  # noqa: N818 - it is no mistake, but a lack
    """The data plane that the configuration asks for cannot be had; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class PlaneChoice:
    """The data plane of all endpoints."""

    kind: type[PythonDataPlane | NativeDataPlane]
    name: Literal["native", "python"]
    workers: int
    """Threads that move packets, for each endpoint."""
    reason: str = ""
    """Why it is not the native one, where that was wanted."""

    def open(self, settings: PlaneSettings) -> OpenPlane:
        """Open a plane for an endpoint. Raises OSError with a sentence."""
        return self.kind.open(replace(settings, workers=self.workers))


def choose_plane(wanted: Wanted, workers: int) -> PlaneChoice:
    """Choose for `[gateway] plane` and `workers`, 0 of which means one for each core that this process may use.

    Raises `PlaneUnavailable` where the native plane was asked for and cannot be had.
    """
    if wanted == "python":
        return PlaneChoice(PythonDataPlane, "python", workers=1)
    try:
        native, most_workers = _load_native()
    except ImportError as error:
        if wanted == "native":
            raise PlaneUnavailable(_explain(error)) from error
        return PlaneChoice(PythonDataPlane, "python", workers=1, reason=str(error))
    return PlaneChoice(native, "native", min(workers or len(os.sched_getaffinity(0)), most_workers))


def native_problem() -> str | None:
    """The sentence for whoever wants the native plane; None where it can be had."""
    try:
        _load_native()
    except ImportError as error:
        return _explain(error)
    return None


def _load_native() -> tuple[type[NativeDataPlane], int]:
    """The native plane, and how many workers it may have."""
    from tunnel.nativeplane import MOST_WORKERS, NativeDataPlane  # noqa: PLC0415 - it may not have been compiled

    return NativeDataPlane, MOST_WORKERS


def _explain(error: ImportError) -> str:
    return f'The native data plane cannot be had: {error}. Install Portway again, or set plane = "auto".'
