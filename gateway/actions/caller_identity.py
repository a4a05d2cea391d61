"""STS's GetCallerIdentity: what tools ask first, to see whether their keys are good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.actions.call import action

if TYPE_CHECKING:
    from gateway.actions.call import Call

__all__: list[str] = []


@action("GetCallerIdentity")
def get_caller_identity(call: Call) -> dict[str, Any]:
    """Say who calls. The ARN is of AWS's partition, since tools take it apart to learn the account from it."""
    account, caller = call.settings.account_id, call.caller.id
    return {"UserId": caller, "Account": account, "Arn": f"arn:aws:iam::{account}:user/{caller}"}
