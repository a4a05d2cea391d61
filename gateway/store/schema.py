"""The tables: what the API, the command line and the gateways know of each other.

Conventions: times are Unix seconds; networks are text in canonical form (`10.20.0.0/24`), so that equal networks are
equal text; JSON columns hold small lists and records that are only ever read whole; text that may be absent is NULL
where absence differs from emptiness. What has ended and may still be asked for keeps its row, with `ended_at`, and is
outside the partial unique indexes of what lives.

Whoever changes a table adds a migration; a test holds the two equal.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

__all__ = [
    "access_key",
    "association",
    "association_security_group",
    "audit",
    "authorization_rule",
    "certificate",
    "change",
    "connection",
    "connection_event",
    "crl",
    "endpoint",
    "executed_signature",
    "gateway_node",
    "idempotency",
    "key_proof",
    "metadata",
    "network",
    "route",
    "security_group",
    "security_group_rule",
    "tag",
    "usage",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID: Final = String(64)
_CIDR: Final = String(64)
_CODE: Final = String(32)
_ALIVE: Final = text("ended_at IS NULL")

# What gateways offer

change = Table(
    "change",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("counter", BigInteger, nullable=False),
    comment="One row. Grows by one with every change that gateways have to know of.",
)

key_proof = Table(
    "key_proof",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    comment="One row, sealed with the key that all secrets in here are sealed with.",
)

gateway_node = Table(
    "gateway_node",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("configuration_file", Text, nullable=False),
    comment="The gateways that work from this store.",
)

network = Table(
    "network",
    metadata,
    Column("subnet_id", _ID, primary_key=True),
    Column("vpc_id", _ID, nullable=False),
    Column("vpc_name", String(255), nullable=False),
    Column("name", String(255), nullable=False, unique=True),
    Column("cidr", _CIDR, nullable=False),
    Column("interface", String(15), nullable=False),
    Column("next_hop", String(64)),
    Column("zone", String(255), nullable=False),
    Column("nat", Boolean, nullable=False),
    Column("node", String(255), nullable=False),
    Column("file_endpoint_id", _ID, comment="Set for a target network that only one endpoint of a file knows."),
    comment="The networks that hosts offer, as their configuration files declare them: AWS's subnets.",
)

certificate = Table(
    "certificate",
    metadata,
    Column("arn", String(255), primary_key=True),
    Column("origin", _CODE, nullable=False, comment="'pki' or 'imported'"),
    Column("name", String(255), nullable=False),
    Column("chain", Text, nullable=False, comment="PEM: the certificate, followed by its issuers"),
    Column("private_key", LargeBinary, comment="sealed; NULL where there is none, as for authorities"),
    Column("not_after", Double, nullable=False),
    Column("created_at", Double, nullable=False),
)

# Endpoints and what they own

endpoint = Table(
    "endpoint",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("origin", _CODE, CheckConstraint("origin IN ('api', 'file')", name="origin"), nullable=False),
    Column("name", String(255), comment="the name in the file; NULL for one of the API's"),
    Column("declared_in", Text, comment="the file; NULL for one of the API's"),
    Column("description", Text, nullable=False, server_default=""),
    Column("status_code", _CODE, nullable=False),
    Column("status_message", Text, nullable=False, server_default=""),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("client_cidr_block", _CIDR, nullable=False),
    Column("server_certificate_arn", String(255), nullable=False),
    Column("authentication_options", JSON, nullable=False, comment="as the API takes them, in the SDK's member names"),
    Column("transport_protocols", JSON, nullable=False, comment="['udp'], ['tcp'] or both"),
    Column("vpn_port", Integer, nullable=False),
    Column("dns_servers", JSON, nullable=False),
    Column("split_tunnel", Boolean, nullable=False),
    Column("session_timeout_hours", Double, nullable=False),
    Column("disconnect_on_session_timeout", Boolean, nullable=False),
    Column("vpc_id", _ID),
    Column("default_security_group_ids", JSON, nullable=False),
    Column("connection_log_options", JSON, nullable=False),
    Column("client_connect_options", JSON, nullable=False),
    Column("client_login_banner_options", JSON, nullable=False),
    Column("client_route_enforcement_options", JSON, nullable=False),
    Column("self_service_portal", Boolean, nullable=False),
    Column("endpoint_ip_address_type", _CODE, nullable=False),
    Column("traffic_ip_address_type", _CODE, nullable=False),
    Column("settings", JSON, nullable=False, comment="Portway's own settings, by the keys of config.toml"),
    Column("control_channel_keys", LargeBinary, comment="sealed JSON of base64: the keys made for this endpoint"),
)
Index(
    "uq_endpoint_name_alive",
    endpoint.c.name,
    unique=True,
    sqlite_where=text("ended_at IS NULL AND name IS NOT NULL"),
    postgresql_where=text("ended_at IS NULL AND name IS NOT NULL"),
)
Index(
    "uq_endpoint_client_cidr_block_alive",
    endpoint.c.client_cidr_block,
    unique=True,
    sqlite_where=_ALIVE,
    postgresql_where=_ALIVE,
)


def _of_endpoint() -> Column[str]:
    return Column("endpoint_id", _ID, ForeignKey("endpoint.id", ondelete="CASCADE"), nullable=False)


association = Table(
    "association",
    metadata,
    Column("id", _ID, primary_key=True),
    _of_endpoint(),
    Column("subnet_id", _ID, nullable=False),
    Column("vpc_id", _ID, nullable=False),
    Column("zone", String(255), nullable=False),
    Column("status_code", _CODE, nullable=False),
    Column("status_message", Text, nullable=False, server_default=""),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    comment="Target networks of endpoints.",
)
Index(
    "uq_association_zone_alive",
    association.c.endpoint_id,
    association.c.zone,
    unique=True,
    sqlite_where=_ALIVE,
    postgresql_where=_ALIVE,
)
Index(
    "uq_association_subnet_alive",
    association.c.endpoint_id,
    association.c.subnet_id,
    unique=True,
    sqlite_where=_ALIVE,
    postgresql_where=_ALIVE,
)

route = Table(
    "route",
    metadata,
    _of_endpoint(),
    Column("destination_cidr", _CIDR, nullable=False),
    Column("subnet_id", _ID, nullable=False, comment="'local' for client to client"),
    Column("association_id", _ID, ForeignKey("association.id", ondelete="CASCADE"), comment="NULL for 'local'"),
    Column("origin", _CODE, CheckConstraint("origin IN ('associate', 'add-route')", name="origin"), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("status_code", _CODE, nullable=False),
    Column("status_message", Text, nullable=False, server_default=""),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("endpoint_id", "destination_cidr", "subnet_id"),
)

authorization_rule = Table(
    "authorization_rule",
    metadata,
    _of_endpoint(),
    Column("destination_cidr", _CIDR, nullable=False),
    Column("group_id", String(255), nullable=False, comment="'' for all groups"),
    Column("description", Text, nullable=False, server_default=""),
    Column("status_code", _CODE, nullable=False),
    Column("status_message", Text, nullable=False, server_default=""),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("endpoint_id", "destination_cidr", "group_id"),
)

crl = Table(
    "crl",
    metadata,
    Column("endpoint_id", _ID, ForeignKey("endpoint.id", ondelete="CASCADE"), primary_key=True),
    Column("pem", Text, nullable=False),
    Column("status_code", _CODE, nullable=False),
    Column("status_message", Text, nullable=False, server_default=""),
    Column("imported_at", Double, nullable=False),
)

security_group = Table(
    "security_group",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("vpc_id", _ID, nullable=False),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("vpc_id", "name"),
)

security_group_rule = Table(
    "security_group_rule",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("group_id", _ID, ForeignKey("security_group.id", ondelete="CASCADE"), nullable=False),
    Column("is_egress", Boolean, nullable=False),
    Column("protocol", _CODE, nullable=False, comment="'tcp', 'udp', 'icmp', a number, or '-1' for all"),
    Column("from_port", Integer, nullable=False, comment="the ICMP type for 'icmp'; -1 for any"),
    Column("to_port", Integer, nullable=False, comment="the ICMP code for 'icmp'; -1 for any"),
    Column("cidr", _CIDR, nullable=False, comment="'' where the other side is a group"),
    Column("referenced_group_id", _ID, nullable=False, server_default="", comment="'' where the other side is a CIDR"),
    Column("description", Text, nullable=False, server_default=""),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("group_id", "is_egress", "protocol", "from_port", "to_port", "cidr", "referenced_group_id"),
    CheckConstraint("(cidr = '') <> (referenced_group_id = '')", name="one_other_side"),
)

association_security_group = Table(
    "association_security_group",
    metadata,
    Column("association_id", _ID, ForeignKey("association.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", _ID, ForeignKey("security_group.id"), primary_key=True),
    Column("position", Integer, nullable=False),
)

tag = Table(
    "tag",
    metadata,
    Column("resource_id", _ID, primary_key=True),
    Column("resource_type", String(64), nullable=False),
    Column("key", String(128), primary_key=True),
    Column("value", String(256), nullable=False),
)

# Connections

connection = Table(
    "connection",
    metadata,
    Column("id", _ID, primary_key=True),
    _of_endpoint(),
    Column("node", String(255), nullable=False),
    Column("status_code", _CODE, nullable=False, comment="active, terminating, terminated or failed-to-terminate"),
    Column("status_message", Text, nullable=False, server_default=""),
    Column("username", String(1024), nullable=False, server_default=""),
    Column("common_name", String(255), nullable=False),
    Column("groups", JSON, nullable=False),
    Column("client_ip", String(64), nullable=False),
    Column("device_ip", String(64), nullable=False),
    Column("device_port", Integer, nullable=False),
    Column("transport_protocol", _CODE, nullable=False),
    Column("device_type", String(64), nullable=False, server_default=""),
    Column("client_version", String(64), nullable=False, server_default=""),
    Column("established_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("ingress_bytes", BigInteger, nullable=False, server_default="0"),
    Column("egress_bytes", BigInteger, nullable=False, server_default="0"),
    Column("ingress_packets", BigInteger, nullable=False, server_default="0"),
    Column("egress_packets", BigInteger, nullable=False, server_default="0"),
    Index(None, "endpoint_id", "established_at", "id"),
    Index(None, "ended_at"),
    comment="Sessions that run, and those that have ended lately.",
)

connection_event = Table(
    "connection_event",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("endpoint_id", _ID, nullable=False),
    Column("connection_id", _ID, nullable=False),
    Column("name", String(1024), nullable=False, comment="the user's name, or the certificate's; '' where unknown"),
    Column("outcome", _CODE, nullable=False, comment="successful, failed or ended"),
    Column("record", JSON, nullable=False, comment="the line of the connection log"),
    Index(None, "at"),
    Index(None, "endpoint_id", "at"),
    Index(None, "name", "at"),
    comment="The connection log, kept for a configurable time.",
)

usage = Table(
    "usage",
    metadata,
    Column("kind", _CODE, CheckConstraint("kind IN ('association', 'connection')", name="kind"), primary_key=True),
    Column("id", _ID, primary_key=True, comment="of the association or connection"),
    Column("endpoint_id", _ID, nullable=False),
    Column("name", String(1024), nullable=False, server_default="", comment="of the user; '' for an association"),
    Column("groups", JSON, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False, comment="when it was last known to go on"),
    Column("ended_at", Double),
    Index(None, "endpoint_id", "started_at"),
    Index(None, "started_at"),
    comment="What is accounted by the hour, for as long as accounts are asked for.",
)

# Callers

access_key = Table(
    "access_key",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("secret", LargeBinary, nullable=False, comment="sealed"),
    Column("role", _CODE, CheckConstraint("role IN ('admin', 'operator', 'read-only')", name="role"), nullable=False),
    Column("endpoint_ids", JSON, nullable=False, comment="[] for all endpoints"),
    Column("description", Text, nullable=False, server_default=""),
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double),
    Column("disabled_at", Double),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", String(128), primary_key=True),
    Column("action", String(128), primary_key=True),
    Column("token", String(64), primary_key=True),
    Column("request_digest", String(64), nullable=False),
    Column("response", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "created_at"),
)

executed_signature = Table(
    "executed_signature",
    metadata,
    Column("signature", String(64), primary_key=True),
    Column("expires_at", Double, nullable=False),
    Index(None, "expires_at"),
    comment="Signatures of changes without an idempotency token, which must not be carried out twice.",
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("caller", String(128), nullable=False, comment="an access key id, 'socket:UID', or 'file:PATH'"),
    Column("face", _CODE, nullable=False, comment="api, socket or file"),
    Column("source_ip", String(64), nullable=False, server_default=""),
    Column("action", String(128), nullable=False),
    Column("resource_id", _ID, nullable=False, server_default=""),
    Column("parameters", JSON, nullable=False, comment="without secrets"),
    Column("before", JSON),
    Column("after", JSON),
    Column("outcome", String(128), nullable=False, comment="'ok', or the error code"),
    Index(None, "at"),
    Index(None, "resource_id", "at"),
)
