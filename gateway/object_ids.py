"""Ids of what configuration files declare: in AWS's form, and the same on every node and after every start.

What is made at run time has a random id of the same form.
"""

from __future__ import annotations

import functools
import hashlib
import re

__all__ = ["DIGITS", "endpoint_id", "is_endpoint_id", "subnet_id", "vpc_id"]

DIGITS = 17
"""Hex digits behind the prefix: as many as AWS's ids have."""

_ENDPOINT_ID = re.compile(rf"cvpn-endpoint-[0-9a-f]{{{DIGITS}}}")


@functools.cache
def endpoint_id(name: str) -> str:
    """The id of an endpoint by its name; one that was made at run time has its id for a name."""
    return name if is_endpoint_id(name) else _derived("cvpn-endpoint", name)


def is_endpoint_id(text: str) -> bool:
    """Whether somebody has written an endpoint's id rather than its name."""
    return _ENDPOINT_ID.fullmatch(text) is not None


def subnet_id(network: str) -> str:
    """The id of a network by its name; a target network of a file's endpoint is `ENDPOINT/NAME`."""
    return _derived("subnet", network)


def vpc_id(name: str) -> str:
    """The id of a VPC by the name that networks give it."""
    return _derived("vpc", name)


def _derived(prefix: str, name: str) -> str:
    return f"{prefix}-{hashlib.sha256(name.encode()).hexdigest()[:DIGITS]}"
