"""What OpenSSL is told as it is loaded, for want of a call in pyOpenSSL.

In TLS 1.3 a server sends two session tickets after each handshake, also where SSL_OP_NO_TICKET forbids those of
TLS 1.2. No OpenVPN client ever resumes a session, and to make and send them is a thirtieth of what a connect costs. How
many there are, OpenSSL can be told by its configuration file, which it reads once.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

__all__ = ["load_openssl"]

_FILE = Path(__file__).with_name("openssl.cnf")
_NAMES_IT = "OPENSSL_CONF"


def load_openssl() -> None:
    """Load the OpenSSL of `cryptography` by the gateway's own settings; a file that the environment names goes before.

    To be called before anything imports `cryptography`; later it has no effect. The host's own OpenSSL, and programs
    that are started, go on by the host's settings.
    """
    if _NAMES_IT in os.environ:
        return
    os.environ[_NAMES_IT] = str(_FILE)
    try:
        import_module("cryptography.hazmat.bindings.openssl.binding")
    finally:
        del os.environ[_NAMES_IT]
