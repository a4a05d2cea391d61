"""The first tables."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID: Final = sa.String(64)
_CIDR: Final = sa.String(64)
_CODE: Final = sa.String(32)


def upgrade() -> None:
    """From nothing."""
    _offers()
    _endpoints()
    _security_groups()
    _connections()
    _callers()
    op.execute("INSERT INTO change (id, counter) VALUES (1, 0)")


def _of_endpoint() -> sa.Column[str]:
    return sa.Column("endpoint_id", _ID, sa.ForeignKey("endpoint.id", ondelete="CASCADE"), nullable=False)


def _unique(name: str, *columns: str, where: str = "ended_at IS NULL") -> sa.Index:
    """Among what lives: what has ended keeps its row."""
    return sa.Index(name, *columns, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _offers() -> None:
    op.create_table(
        "change",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
        comment="One row. Grows by one with every change that gateways have to know of.",
    )
    op.create_table(
        "key_proof",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        comment="One row, sealed with the key that all secrets in here are sealed with.",
    )
    op.create_table(
        "gateway_node",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("configuration_file", sa.Text, nullable=False),
        comment="The gateways that work from this store.",
    )
    op.create_table(
        "network",
        sa.Column("subnet_id", _ID, primary_key=True),
        sa.Column("vpc_id", _ID, nullable=False),
        sa.Column("vpc_name", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("cidr", _CIDR, nullable=False),
        sa.Column("interface", sa.String(15), nullable=False),
        sa.Column("next_hop", sa.String(64)),
        sa.Column("zone", sa.String(255), nullable=False),
        sa.Column("nat", sa.Boolean, nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("file_endpoint_id", _ID, comment="Set for a target network that only one endpoint of a file knows."),
        comment="The networks that hosts offer, as their configuration files declare them: AWS's subnets.",
    )
    op.create_table(
        "certificate",
        sa.Column("arn", sa.String(255), primary_key=True),
        sa.Column("origin", _CODE, nullable=False, comment="'pki' or 'imported'"),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("chain", sa.Text, nullable=False, comment="PEM: the certificate, followed by its issuers"),
        sa.Column("private_key", sa.LargeBinary, comment="sealed; NULL where there is none, as for authorities"),
        sa.Column("not_after", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )


def _endpoints() -> None:
    op.create_table(
        "endpoint",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("origin", _CODE, sa.CheckConstraint("origin IN ('api', 'file')", name="origin"), nullable=False),
        sa.Column("name", sa.String(255), comment="the name in the file; NULL for one of the API's"),
        sa.Column("declared_in", sa.Text, comment="the file; NULL for one of the API's"),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("status_code", _CODE, nullable=False),
        sa.Column("status_message", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("client_cidr_block", _CIDR, nullable=False),
        sa.Column("server_certificate_arn", sa.String(255), nullable=False),
        sa.Column(
            "authentication_options",
            sa.JSON,
            nullable=False,
            comment="as the API takes them, in the SDK's member names",
        ),
        sa.Column("transport_protocols", sa.JSON, nullable=False, comment="['udp'], ['tcp'] or both"),
        sa.Column("vpn_port", sa.Integer, nullable=False),
        sa.Column("dns_servers", sa.JSON, nullable=False),
        sa.Column("split_tunnel", sa.Boolean, nullable=False),
        sa.Column("session_timeout_hours", sa.Double, nullable=False),
        sa.Column("disconnect_on_session_timeout", sa.Boolean, nullable=False),
        sa.Column("vpc_id", _ID),
        sa.Column("default_security_group_ids", sa.JSON, nullable=False),
        sa.Column("connection_log_options", sa.JSON, nullable=False),
        sa.Column("client_connect_options", sa.JSON, nullable=False),
        sa.Column("client_login_banner_options", sa.JSON, nullable=False),
        sa.Column("client_route_enforcement_options", sa.JSON, nullable=False),
        sa.Column("self_service_portal", sa.Boolean, nullable=False),
        sa.Column("endpoint_ip_address_type", _CODE, nullable=False),
        sa.Column("traffic_ip_address_type", _CODE, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False, comment="Portway's own settings, by the keys of config.toml"),
        sa.Column(
            "control_channel_keys", sa.LargeBinary, comment="sealed JSON of base64: the keys made for this endpoint"
        ),
        _unique("uq_endpoint_name_alive", "name", where="ended_at IS NULL AND name IS NOT NULL"),
        _unique("uq_endpoint_client_cidr_block_alive", "client_cidr_block"),
    )
    op.create_table(
        "association",
        sa.Column("id", _ID, primary_key=True),
        _of_endpoint(),
        sa.Column("subnet_id", _ID, nullable=False),
        sa.Column("vpc_id", _ID, nullable=False),
        sa.Column("zone", sa.String(255), nullable=False),
        sa.Column("status_code", _CODE, nullable=False),
        sa.Column("status_message", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        _unique("uq_association_zone_alive", "endpoint_id", "zone"),
        _unique("uq_association_subnet_alive", "endpoint_id", "subnet_id"),
        comment="Target networks of endpoints.",
    )
    op.create_table(
        "route",
        _of_endpoint(),
        sa.Column("destination_cidr", _CIDR, nullable=False),
        sa.Column("subnet_id", _ID, nullable=False, comment="'local' for client to client"),
        sa.Column(
            "association_id", _ID, sa.ForeignKey("association.id", ondelete="CASCADE"), comment="NULL for 'local'"
        ),
        sa.Column(
            "origin", _CODE, sa.CheckConstraint("origin IN ('associate', 'add-route')", name="origin"), nullable=False
        ),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("status_code", _CODE, nullable=False),
        sa.Column("status_message", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("endpoint_id", "destination_cidr", "subnet_id"),
    )
    op.create_table(
        "authorization_rule",
        _of_endpoint(),
        sa.Column("destination_cidr", _CIDR, nullable=False),
        sa.Column("group_id", sa.String(255), nullable=False, comment="'' for all groups"),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("status_code", _CODE, nullable=False),
        sa.Column("status_message", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("endpoint_id", "destination_cidr", "group_id"),
    )
    op.create_table(
        "crl",
        sa.Column("endpoint_id", _ID, sa.ForeignKey("endpoint.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("pem", sa.Text, nullable=False),
        sa.Column("status_code", _CODE, nullable=False),
        sa.Column("status_message", sa.Text, nullable=False, server_default=""),
        sa.Column("imported_at", sa.Double, nullable=False),
    )


def _security_groups() -> None:
    op.create_table(
        "security_group",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("vpc_id", _ID, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("vpc_id", "name"),
    )
    op.create_table(
        "security_group_rule",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("group_id", _ID, sa.ForeignKey("security_group.id", ondelete="CASCADE"), nullable=False),
        sa.Column("is_egress", sa.Boolean, nullable=False),
        sa.Column("protocol", _CODE, nullable=False, comment="'tcp', 'udp', 'icmp', a number, or '-1' for all"),
        sa.Column("from_port", sa.Integer, nullable=False, comment="the ICMP type for 'icmp'; -1 for any"),
        sa.Column("to_port", sa.Integer, nullable=False, comment="the ICMP code for 'icmp'; -1 for any"),
        sa.Column("cidr", _CIDR, nullable=False, comment="'' where the other side is a group"),
        sa.Column(
            "referenced_group_id", _ID, nullable=False, server_default="", comment="'' where the other side is a CIDR"
        ),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.UniqueConstraint("group_id", "is_egress", "protocol", "from_port", "to_port", "cidr", "referenced_group_id"),
        sa.CheckConstraint("(cidr = '') <> (referenced_group_id = '')", name="one_other_side"),
    )
    op.create_table(
        "association_security_group",
        sa.Column("association_id", _ID, sa.ForeignKey("association.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("group_id", _ID, sa.ForeignKey("security_group.id"), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
    )
    op.create_table(
        "tag",
        sa.Column("resource_id", _ID, primary_key=True),
        sa.Column("resource_type", sa.String(64), nullable=False),
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("value", sa.String(256), nullable=False),
    )


def _connections() -> None:
    op.create_table(
        "connection",
        sa.Column("id", _ID, primary_key=True),
        _of_endpoint(),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column(
            "status_code", _CODE, nullable=False, comment="active, terminating, terminated or failed-to-terminate"
        ),
        sa.Column("status_message", sa.Text, nullable=False, server_default=""),
        sa.Column("username", sa.String(1024), nullable=False, server_default=""),
        sa.Column("common_name", sa.String(255), nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("client_ip", sa.String(64), nullable=False),
        sa.Column("device_ip", sa.String(64), nullable=False),
        sa.Column("device_port", sa.Integer, nullable=False),
        sa.Column("transport_protocol", _CODE, nullable=False),
        sa.Column("device_type", sa.String(64), nullable=False, server_default=""),
        sa.Column("client_version", sa.String(64), nullable=False, server_default=""),
        sa.Column("established_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("ingress_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("egress_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("ingress_packets", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("egress_packets", sa.BigInteger, nullable=False, server_default="0"),
        sa.Index(None, "endpoint_id", "established_at", "id"),
        sa.Index(None, "ended_at"),
        comment="Sessions that run, and those that have ended lately.",
    )
    op.create_table(
        "connection_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("endpoint_id", _ID, nullable=False),
        sa.Column("connection_id", _ID, nullable=False),
        sa.Column(
            "name", sa.String(1024), nullable=False, comment="the user's name, or the certificate's; '' where unknown"
        ),
        sa.Column("outcome", _CODE, nullable=False, comment="successful, failed or ended"),
        sa.Column("record", sa.JSON, nullable=False, comment="the line of the connection log"),
        sa.Index(None, "at"),
        sa.Index(None, "endpoint_id", "at"),
        sa.Index(None, "name", "at"),
        comment="The connection log, kept for a configurable time.",
    )
    op.create_table(
        "usage",
        sa.Column(
            "kind", _CODE, sa.CheckConstraint("kind IN ('association', 'connection')", name="kind"), primary_key=True
        ),
        sa.Column("id", _ID, primary_key=True, comment="of the association or connection"),
        sa.Column("endpoint_id", _ID, nullable=False),
        sa.Column(
            "name", sa.String(1024), nullable=False, server_default="", comment="of the user; '' for an association"
        ),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False, comment="when it was last known to go on"),
        sa.Column("ended_at", sa.Double),
        sa.Index(None, "endpoint_id", "started_at"),
        sa.Index(None, "started_at"),
        comment="What is accounted by the hour, for as long as accounts are asked for.",
    )


def _callers() -> None:
    op.create_table(
        "access_key",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("secret", sa.LargeBinary, nullable=False, comment="sealed"),
        sa.Column(
            "role", _CODE, sa.CheckConstraint("role IN ('admin', 'operator', 'read-only')", name="role"), nullable=False
        ),
        sa.Column("endpoint_ids", sa.JSON, nullable=False, comment="[] for all endpoints"),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("last_used_at", sa.Double),
        sa.Column("disabled_at", sa.Double),
    )
    op.create_table(
        "idempotency",
        sa.Column("caller", sa.String(128), primary_key=True),
        sa.Column("action", sa.String(128), primary_key=True),
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("response", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Index(None, "created_at"),
    )
    op.create_table(
        "executed_signature",
        sa.Column("signature", sa.String(64), primary_key=True),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Index(None, "expires_at"),
        comment="Signatures of changes without an idempotency token, which must not be carried out twice.",
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("caller", sa.String(128), nullable=False, comment="an access key id, 'socket:UID', or 'file:PATH'"),
        sa.Column("face", _CODE, nullable=False, comment="api, socket or file"),
        sa.Column("source_ip", sa.String(64), nullable=False, server_default=""),
        sa.Column("action", sa.String(128), nullable=False),
        sa.Column("resource_id", _ID, nullable=False, server_default=""),
        sa.Column("parameters", sa.JSON, nullable=False, comment="without secrets"),
        sa.Column("before", sa.JSON),
        sa.Column("after", sa.JSON),
        sa.Column("outcome", sa.String(128), nullable=False, comment="'ok', or the error code"),
        sa.Index(None, "at"),
        sa.Index(None, "resource_id", "at"),
    )
