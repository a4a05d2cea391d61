"""The compiled part of the package; everything else about it is in pyproject.toml.

It is optional: where it cannot be compiled, for want of a compiler or of the headers of Python or OpenSSL, the package
is installed without it, and the Python data plane runs instead.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PLANE = Path("tunnel/nativeplane")


class BuildExtension(build_ext):
    """Puts a new file in the place of an old one: whoever runs the old one goes on with it."""

    def copy_extensions_to_source(self) -> None:
        """In a checkout, next to the sources."""
        for old in PLANE.glob("*.so"):
            old.unlink()
        super().copy_extensions_to_source()


setup(
    ext_modules=[
        Extension(
            "tunnel.nativeplane._core",
            sources=sorted(map(str, PLANE.glob("*/*.c"))),
            include_dirs=[str(PLANE / "core")],
            depends=["setup.py", *sorted(map(str, PLANE.glob("*/*.h")))],
            libraries=["crypto"],
            extra_compile_args=[
                *("-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread", "-fvisibility=hidden"),
                *("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong"),
            ],
            extra_link_args=["-pthread", "-Wl,-z,relro,-z,now"],
            py_limited_api=True,
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
