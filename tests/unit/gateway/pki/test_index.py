from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pki import PkiError
from gateway.pki.index import Index, IssuedCertificate, Role, build_index, parse_index

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ISSUED = IssuedCertificate(
    name="alice", role=Role.CLIENT, serial="ab", groups=("é",), not_before=NOW, not_after=NOW + timedelta(days=1)
)
INDEX = (
    Index(crl_number=3, certificates=(ISSUED,))
    .with_revocation("ab", NOW)
    .with_certificate(ISSUED.model_copy(update={"serial": "cd"}))
)


def test_what_is_built_parses_to_the_same() -> None:
    assert parse_index(build_index(INDEX)) == INDEX


def test_the_file_can_be_read_by_people() -> None:
    assert '"name": "alice",\n' in build_index(INDEX).decode()


def test_the_current_certificate_of_a_name_is_the_one_not_revoked() -> None:
    current = INDEX.current("alice")
    assert current is not None
    assert current.serial == "cd"
    assert INDEX.with_revocation("cd", NOW).current("alice") is None


@given(st.binary())
def test_octets_of_any_kind_are_an_index_or_a_sentence(octets: bytes) -> None:
    with pytest.raises(PkiError, match=r"index\.json"):
        parse_index(octets)


@pytest.mark.parametrize(
    "text", ['{"version": 2}', '{"certificates": [{}]}', '{"unknown": 1}', '{"crl_number": "many"}', "[]", "null"]
)
def test_an_index_of_another_shape_is_a_sentence(text: str) -> None:
    with pytest.raises(PkiError, match="damaged at"):
        parse_index(text.encode())


def test_revocation_outlasts_expiry() -> None:
    revoked = INDEX.certificates[0]
    assert revoked.state(NOW + timedelta(days=9)) == "revoked"
