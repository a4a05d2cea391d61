"""From the validated file to the values that the daemon works with.

Owns the mapping of keys to `GatewaySettings` and `GatewaySpec`; nothing can be wrong here any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import policy
from gateway.actions.settings import Quotas, ServiceSettings
from gateway.config.settings import (
    ApiSettings,
    EndpointDefaults,
    GatewaySettings,
    LogGroupSettings,
    LogSettings,
    Network,
    StoreSettings,
)

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import models, models_logs, models_service
    from gateway.config.files import NamedFile

__all__ = ["build_networks", "build_settings", "build_spec"]

_MIB = 1024 * 1024


def build_settings(file: models.ConfigFile, directory: Path, host_name: str) -> GatewaySettings:
    """Build the daemon's settings; `directory` is the configuration's, `host_name` what this host calls itself."""
    gateway = file.gateway
    state_dir = directory / gateway.state_dir
    log_groups = _build_log_groups(file, state_dir)
    defaults = _build_endpoint_defaults(file)
    return GatewaySettings(
        state_dir=state_dir,
        control_socket=state_dir / gateway.control_socket,
        pki_dir=directory / gateway.pki_dir,
        node=gateway.node or host_name,
        plane=gateway.plane,
        workers=gateway.workers,
        log=LogSettings(level=gateway.log.level, format=gateway.log.format),
        log_groups=log_groups,
        log_refresh_s=gateway.connection_log.refresh_s,
        store=_build_store(file.store, state_dir),
        api=_build_api(file, state_dir, defaults, tuple(log_groups)),
        endpoint_defaults=defaults,
    )


def build_networks(file: models.ConfigFile) -> tuple[Network, ...]:
    """Build what this host offers; a network without a zone is one of its own."""
    return tuple(Network(**{**dict(network), "zone": network.zone or network.name}) for network in file.network)


def build_spec(file: models.ConfigFile) -> policy.GatewaySpec:
    """Build what `policy` judges and the daemon reconciles to."""
    return policy.GatewaySpec(tuple(_build_endpoint(endpoint) for endpoint in file.endpoint))


def _build_log_groups(file: models.ConfigFile, state_dir: Path) -> dict[str, LogGroupSettings]:
    groups = {policy.DEFAULT_LOG_GROUP: file.gateway.connection_log, **{group.name: group for group in file.log_group}}
    return {
        name: LogGroupSettings(
            file=state_dir / group.file if group.file else None,
            rotate_bytes=group.rotate_mib * _MIB,
            rotate_keep=group.rotate_keep,
            stdout=group.stdout,
            journal=group.journal,
        )
        for name, group in groups.items()
    }


def _build_store(store: models_service.Store, state_dir: Path) -> StoreSettings:
    return StoreSettings(
        url=store.url or f"sqlite:///{state_dir / 'portway.db'}",
        key_file=state_dir / store.key_file,
        connection_log_days=store.connection_log_days,
        usage_days=store.usage_days,
        audit_days=store.audit_days,
    )


def _build_endpoint_defaults(file: models.ConfigFile) -> EndpointDefaults:
    """Where nothing says how clients find endpoints, they are taken to be where the API is, or the file's are."""
    section = file.endpoint_defaults
    own = {endpoint.public_hostname for endpoint in file.endpoint}
    host = section.public_hostname or file.api.public_hostname or (own.pop() if len(own) == 1 else "")
    return EndpointDefaults(**{**dict(section), "public_hostname": host})


def _build_api(
    file: models.ConfigFile, state_dir: Path, defaults: EndpointDefaults, log_groups: tuple[str, ...]
) -> ApiSettings:
    api = file.api
    return ApiSettings(
        enabled=api.enabled,
        listen=api.listen,
        socket=state_dir / api.socket,
        certificate=api.certificate.path if api.certificate else None,
        private_key=api.private_key.path if api.private_key else None,
        public_hostname=api.public_hostname,
        metrics_listen=api.metrics_listen,
        service=ServiceSettings(
            region=api.region,
            account_id=api.account_id,
            dns_suffix=api.dns_suffix,
            endpoint_defaults=defaults,
            quotas=Quotas(**dict(api.quotas)),
            log_groups=log_groups,
        ),
    )


def _build_endpoint(endpoint: models.Endpoint) -> policy.EndpointSpec:
    return policy.EndpointSpec(
        name=endpoint.name,
        client_cidr_block=endpoint.client_cidr_block,
        server_certificate=policy.ServerCertificate(
            certificate_chain=endpoint.server_certificate.octets, private_key=endpoint.server_key.octets
        ),
        authentication=_build_authentication(endpoint.authentication),
        control_channel=_build_control_channel(endpoint.control_channel),
        listen=endpoint.listen,
        transport_protocol=endpoint.transport_protocol,
        vpn_port=endpoint.vpn_port,
        public_hostname=endpoint.public_hostname,
        description=endpoint.description,
        split_tunnel=endpoint.split_tunnel,
        dns_servers=endpoint.dns_servers,
        search_domains=endpoint.search_domains,
        tls_version_min=endpoint.tls_version_min,
        session_timeout_hours=endpoint.session_timeout_hours,
        disconnect_on_session_timeout=endpoint.disconnect_on_session_timeout,
        login_banner=endpoint.login_banner,
        client_route_enforcement=endpoint.client_route_enforcement,
        connection_log=_build_log_destination(endpoint.connection_log),
        max_clients=endpoint.max_clients,
        sessions_per_client=endpoint.sessions_per_client,
        clients_reachable=endpoint.clients_reachable,
        data_channel=policy.DataChannel(**dict(endpoint.data_channel)),
        keepalive=policy.Keepalive(**dict(endpoint.keepalive)),
        handshake=policy.HandshakeLimits(**dict(endpoint.handshake)),
        target_networks=tuple(policy.TargetNetwork(**dict(network)) for network in endpoint.target_network),
        routes=tuple(policy.Route(**dict(route)) for route in endpoint.route),
        authorization_rules=tuple(_build_rule(rule) for rule in endpoint.authorization_rule),
    )


def _build_authentication(section: models.Authentication) -> policy.CertificateAuthentication:
    crl = section.certificate_revocation_list
    return policy.CertificateAuthentication(
        client_root_certificate_chain=section.client_root_certificate_chain.octets,
        certificate_revocation_list=crl.octets if crl else None,
        groups_from=section.groups_from,
    )


def _build_control_channel(section: models.ControlChannel) -> policy.ControlChannel:
    return policy.ControlChannel(
        accept=tuple(policy.ControlChannelProtection(protection) for protection in section.accept),
        tls_crypt_key=_key(section.tls_crypt_key),
        tls_auth_key=_key(section.tls_auth_key),
        tls_auth_digest=section.tls_auth_digest,
        tls_auth_direction=None if section.tls_auth_direction == "both" else section.tls_auth_direction,
        tls_crypt_v2_server_key=_key(section.tls_crypt_v2_server_key),
        tls_crypt_v2_max_age_days=section.tls_crypt_v2_max_age_days,
    )


def _build_log_destination(section: models_logs.EndpointConnectionLog) -> policy.LogDestination | None:
    return policy.LogDestination(section.group, section.stream) if section.enabled else None


def _key(file: NamedFile[bytes] | None) -> bytes | None:
    return (file.content or b"") if file else None


def _build_rule(rule: models.AuthorizationRule) -> policy.AuthorizationRule:
    return policy.AuthorizationRule(destination=rule.destination, group=rule.group, description=rule.description)
