"""Who calls is known by what they sign, over the wire: right, fresh, once, and for the service that it is for."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gateway.actions import Action, Role
from gateway.api import app
from gateway.api.parsing import parse_fields_untrusted
from tests.unit.gateway.api.asking import CREATE, IDENTITY, ask, ask_socket, audited, keys_of, now
from tests.unit.gateway.api.keys import add_key
from tests.unit.gateway.api.signing import presigned, signed
from tests.unit.gateway.api.site import ApiSite

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store


def test_a_wrong_signature_is_refused_and_leaves_no_trace(site: ApiSite) -> None:
    key_id, _ = add_key(site.store)
    status, text = ask(site, signed(key_id, "guessed", body=CREATE, service="portway", at=now()))
    assert status == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in text
    assert audited(site.store) == []


@pytest.mark.parametrize("secret", ["guessed", None])
def test_what_nobody_has_signed_is_not_read(site: ApiSite, monkeypatch: pytest.MonkeyPatch, secret: str | None) -> None:
    """To decode two megabytes of a stranger's form takes a second."""
    read: list[bytes] = []
    monkeypatch.setattr(app, "parse_fields_untrusted", read.append)
    key_id, _ = add_key(site.store)
    body = b"Action=%41" * 50_000
    request = signed(key_id, "guessed", body=body, at=now())
    if secret is None:
        request = replace(request, headers=tuple(pair for pair in request.headers if pair[0] != "authorization"))
    assert ask(site, request)[0] == 403
    assert read == []


def test_what_is_read_holds_up_nobody(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def note(form: bytes) -> dict[str, str]:
        threads.append(threading.current_thread())
        return parse_fields_untrusted(form)

    monkeypatch.setattr(app, "parse_fields_untrusted", note)
    assert ask_socket(site, IDENTITY)[0] == 200
    assert [thread.name for thread in threads] != ["api"], "that is the loop's"


@pytest.mark.parametrize(("service", "form"), [("ec2", "<Response>"), ("sts", "<ErrorResponse>")])
def test_who_is_refused_is_told_so_in_the_form_of_the_service(site: ApiSite, service: str, form: str) -> None:
    key_id, _ = add_key(site.store)
    for request in (
        signed(key_id, "guessed", service=service, at=now()),
        signed(key_id, "guessed", service=service, at=now() - timedelta(hours=1)),
        presigned(key_id, "guessed", service=service, at=now()),
    ):
        assert form in ask(site, request)[1]


def test_a_replayed_change_is_refused(site: ApiSite) -> None:
    key_id, secret = add_key(site.store)
    request = signed(key_id, secret, body=CREATE, service="portway", at=now())
    assert ask(site, request)[0] == 200
    status, text = ask(site, request)
    assert status == 400
    assert "<Code>Throttling</Code>" in text
    assert len(keys_of(site)) == 2


@pytest.mark.parametrize("off", [timedelta(minutes=-6), timedelta(minutes=6)], ids=["slow", "fast"])
def test_a_clock_that_is_wrong_is_refused(site: ApiSite, off: timedelta) -> None:
    key_id, secret = add_key(site.store)
    status, text = ask(site, signed(key_id, secret, at=now() + off))
    assert status == 400
    assert "<Code>RequestExpired</Code>" in text


def test_a_presigned_address_is_enough(site: ApiSite) -> None:
    key_id, secret = add_key(site.store)
    assert ask(site, presigned(key_id, secret, at=now()))[0] == 200


def test_a_disabled_key_is_as_good_as_none(site: ApiSite) -> None:
    key_id, secret = add_key(site.store, disabled_at=1.0)
    status, text = ask(site, signed(key_id, secret, at=now()))
    assert status == 403
    assert "<Code>InvalidClientTokenId</Code>" in text


def test_an_unknown_key_costs_what_a_known_one_costs(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    key_id, _ = add_key(site.store)
    opened: list[bytes] = []
    vault_open = site.store.vault.open

    def noted(sealed: bytes) -> bytes:
        opened.append(sealed)
        return vault_open(sealed)

    monkeypatch.setattr(site.store.vault, "open", noted)
    for each in (key_id, "PWKANOBODYNOBODYNOBO"):
        assert ask(site, signed(each, "guessed", at=now()))[0] == 403
    assert len(opened) == 2


def test_a_key_is_good_for_the_service_that_it_signs_for(site: ApiSite) -> None:
    key_id, secret = add_key(site.store)
    status, text = ask(site, signed(key_id, secret, service="ec2", at=now()))
    assert status == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in text


def test_who_has_used_a_key_is_known(site: ApiSite) -> None:
    key_id, secret = add_key(site.store)
    ask(site, signed(key_id, secret, at=now()))
    site.callers.write_uses()
    (row,) = keys_of(site)
    assert abs(row.last_used_at - now().timestamp()) < 3600


def test_an_honest_caller_who_is_quick_gets_through(store: Store, tmp_path: Path) -> None:
    """Two equal changes of one second have one signature; the SDK signs the second one anew."""
    delete = Action("DeleteClientVpnEndpoint", lambda _: {}, changes=True, role=Role.OPERATOR)
    with ApiSite(store, tmp_path, {"DeleteClientVpnEndpoint": delete}) as site:
        key_id, secret = add_key(site.store)
        client = site.client_with("ec2", key_id, secret, retries={"mode": "standard", "total_max_attempts": 8})
        for _ in range(3):
            client.delete_client_vpn_endpoint(ClientVpnEndpointId="cvpn-endpoint-0")
    assert [row.outcome for row in audited(store)].count("ok") == 3
