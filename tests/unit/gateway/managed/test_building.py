from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet

from gateway.store import Vault, schema
from tests.unit.gateway.managed.world import OFFICE_ID, managed_world

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store

BY_PASSWORD = [{"Type": "directory-service-authentication", "ActiveDirectory": {"DirectoryId": "d-1"}}]
FOREIGN = Vault(Fernet.generate_key())


def set_row(store: Store, endpoint_id: str, **values: Any) -> None:
    """As another release, or another hand, may have left it."""
    with store.write() as connection:
        connection.execute(schema.endpoint.update().where(schema.endpoint.c.id == endpoint_id).values(**values))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"server_certificate_arn": "arn:gone"}, "There is no server certificate arn:gone"),
        ({"authentication_options": BY_PASSWORD}, "by certificates only"),
        (
            {
                "authentication_options": [
                    {
                        "Type": "certificate-authentication",
                        "MutualAuthentication": {"ClientRootCertificateChainArn": "arn:gone"},
                    }
                ]
            },
            "There is no client root certificate arn:gone",
        ),
        ({"settings": {"tls_version_min": "1.1"}}, "Its setting tls_version_min cannot be used"),
        ({"settings": {"nonsense": 1}}, "Its setting nonsense cannot be used"),
        ({"control_channel_keys": None}, 'no key for "tls-crypt"'),
        ({"control_channel_keys": FOREIGN.seal(b"{}")}, "The key of its control channel cannot be read"),
        ({"dns_servers": ["somewhere"]}, "Its row cannot be read: "),
        ({"client_cidr_block": "somewhere"}, "Its row cannot be read: "),
        ({"authentication_options": ["certificate"]}, "A fault in the gateway"),
        ({"authentication_options": [{"MutualAuthentication": "arn"}]}, "by certificates only"),
        ({"settings": []}, "cannot be used"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
async def test_what_an_endpoint_cannot_be_without_fails_it_and_no_other(
    tmp_path: Path, store: Store, values: dict[str, Any], sentence: str
) -> None:
    async with managed_world(tmp_path, store) as world:
        broken, sound = world.create(), world.create(ClientCidrBlock="10.94.0.0/22", VpnPort=1194)
        association_id = world.associate(broken)
        world.associate(sound)
        set_row(store, broken, **values)
        await world.round()
        assert world.fleet.running == [sound]
        code, message = world.statuses(schema.endpoint)[broken]
        assert code == "pending-associate"
        assert sentence in message
        assert world.statuses(schema.association)[association_id] == ("association-failed", message)


async def test_a_private_key_that_was_sealed_with_another_key_is_said(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        with store.write() as connection:
            connection.execute(
                schema.certificate.update()
                .where(schema.certificate.c.private_key.is_not(None))
                .values(private_key=FOREIGN.seal(b"key"))
            )
        await world.round()
        assert "was sealed with another key" in world.statuses(schema.endpoint)[endpoint_id][1]


async def test_settings_of_portways_own_are_used(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        world.associate(endpoint_id)
        set_row(
            store,
            endpoint_id,
            settings={
                "listen": "127.0.0.1",
                "groups_from": "subject.O",
                "sessions_per_client": 3,
                "control_channel": "none",
                "search_domains": ["corp.example"],
                "keepalive": {"interval_s": 5},
                "data_channel": {"mtu": 1400},
            },
        )
        await world.round()
        spec = world.spec(endpoint_id)
        assert (str(spec.listen), spec.sessions_per_client, spec.search_domains) == ("127.0.0.1", 3, ("corp.example",))
        assert spec.authentication.groups_from == "subject.O"
        assert [protection.value for protection in spec.control_channel.accept] == ["none"]
        assert (spec.keepalive.interval_s, spec.keepalive.timeout_s, spec.data_channel.mtu) == (5, 60, 1400)


async def test_a_revocation_list_is_in_force_with_the_endpoint(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        endpoint_id = world.create()
        pem = (tmp_path / "pki" / "crl.pem").read_text()
        world.call(
            "ImportClientVpnClientCertificateRevocationList",
            ClientVpnEndpointId=endpoint_id,
            CertificateRevocationList=pem,
        )
        await world.round()
        assert [row.status_code for row in world.rows(schema.crl)] == ["active"]
        world.associate(endpoint_id)
        await world.round()
        assert world.spec(endpoint_id).authentication.certificate_revocation_list == pem.encode()
        with store.write() as connection:
            connection.execute(schema.crl.update().values(pem="-----BEGIN X509 CRL-----", status_code="pending"))
        await world.round()
        (row,) = world.rows(schema.crl)
        assert row.status_code == "pending"
        assert "The revocation list holds no revocation list" in row.status_message
        assert world.spec(endpoint_id).authentication.certificate_revocation_list == pem.encode()


async def test_a_server_s_certificate_stands_for_the_authority_behind_it(tmp_path: Path, store: Store) -> None:
    async with managed_world(tmp_path, store) as world:
        root, server = world.arns()
        of_root = world.create()
        world.associate(of_root)
        await world.round()
        expected = world.spec(of_root).authentication.client_root_certificate_chain
        options = [
            {
                "Type": "certificate-authentication",
                "MutualAuthentication": {"ClientRootCertificateChainArn": server},
            }
        ]
        of_server = world.create(AuthenticationOptions=options, ClientCidrBlock="10.94.0.0/22", VpnPort=1194)
        world.associate(of_server)
        await world.round()
        assert root != server
        assert world.spec(of_server).authentication.client_root_certificate_chain == expected
        assert world.spec(of_server).target_networks[0].name == OFFICE_ID
