"""What can be asked of Portway, action by action: the objects of AWS Client VPN, and what Portway adds.

Actions read and write the store, and nothing else. They know neither HTTP nor gateways.
"""

from __future__ import annotations

from gateway.actions.call import ACTIONS, Action, ActionError, Call, Caller, Face, Role, action
from gateway.actions.settings import EndpointDefaults, Quotas, ServiceSettings

__all__ = [
    "ACTIONS",
    "Action",
    "ActionError",
    "Call",
    "Caller",
    "EndpointDefaults",
    "Face",
    "Quotas",
    "Role",
    "ServiceSettings",
    "action",
]
