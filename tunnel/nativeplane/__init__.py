"""The data plane in C, behind the same interface as the Python plane: threads of its own move the packets.

plane.py                    the `DataPlane` itself: opening, running, ending, and what control may ask
peers.py access.py          peers, keys and tables in the core's terms; exporting and importing
streams.py paths.py         accepting TCP streams; where clients are
_core.pyi                   what the compiled extension offers
core/                       the plane itself, in C that knows no Python
binding/                    the extension `_core`: the core in Python's terms, and every argument checked

Importing this raises ImportError, with a sentence, where the extension was not built or does not fit these sources.
"""

import importlib

try:
    importlib.import_module("tunnel.nativeplane._core")
except ModuleNotFoundError as error:
    raise ImportError(
        "it was not compiled: a C compiler, or the headers of Python or OpenSSL, were missing at the installation"
    ) from error

from tunnel.nativeplane.plane import MOST_WORKERS, NativeDataPlane

__all__ = ["MOST_WORKERS", "NativeDataPlane"]
