"""The exceptions of the host networking package.

    HostNetworkError             the host cannot be given what the endpoints need; the sentence says what to do
    ├── NftablesError            `nft` is missing, failed, or refused a transaction
    │   └── NftablesTimeoutError     it did not end in time
    └── KernelRefusedError       the kernel answered a netlink request with an error; carries its errno

What concerns one target network only is no exception: it is a `HostProblem`, reported and tried again.
"""

from __future__ import annotations

import errno
import os

__all__ = ["HostNetworkError", "KernelRefusedError", "NftablesError", "NftablesTimeoutError"]

_ADVICE = {
    errno.EPERM: "run Portway as root or with CAP_NET_ADMIN",
    errno.EACCES: "run Portway as root or with CAP_NET_ADMIN",
}


class HostNetworkError(Exception):
    """The host cannot be given what the endpoints need."""


class NftablesError(HostNetworkError):
    """`nft` is missing, failed, or refused a transaction."""


class NftablesTimeoutError(NftablesError):
    """`nft` did not end in time: nobody knows whether the kernel has its transaction."""


class KernelRefusedError(HostNetworkError):
    """The kernel answered a netlink request with an error."""

    def __init__(self, attempt: str, code: int) -> None:
        """`attempt` completes "cannot ..."; `code` is the errno."""
        advice = _ADVICE.get(code)
        super().__init__(f"cannot {attempt}: {os.strerror(code)}" + (f"; {advice}" if advice else ""))
        self.code = code
