"""How every command reaches Kafka, by the settings."""

from __future__ import annotations

from consumer.kafka.clients import KafkaClients
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.oauth import OAuthClient, TokenProvider
from consumer.settings import Settings
from consumer.wiring.secrets import renewable_secret


def kafka_connection(settings: Settings) -> KafkaConnection:
    """How every command reaches Kafka."""
    kafka = settings.kafka
    client = oauth_client(settings)
    password, key_password = kafka.sasl_password, kafka.ssl_key_password
    name = "KAFKA_SASL_OAUTH_CLIENT_SECRET"
    secret = renewable_secret(settings, name, kafka.sasl_oauth_client_secret)
    return KafkaConnection(
        bootstrap_servers=kafka.bootstrap_servers,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=password.get_secret_value() if password else None,
        ca_file=kafka.ssl_cafile,
        cert_file=kafka.ssl_certfile,
        key_file=kafka.ssl_keyfile,
        key_password=key_password.get_secret_value() if key_password else None,
        compression=kafka.compression,
        tokens=None if client is None else TokenProvider(client, secret=secret),
        renewable_password=renewable_secret(settings, "KAFKA_SASL_PASSWORD", password),
    )


def oauth_client(settings: Settings) -> OAuthClient | None:
    """Who we are at the token endpoint; None where Kafka wants no token."""
    kafka = settings.kafka
    endpoint, client_id = kafka.sasl_oauth_token_endpoint, kafka.sasl_oauth_client_id
    secret = kafka.sasl_oauth_client_secret
    if endpoint is None or client_id is None or secret is None:
        return None
    return OAuthClient(
        token_endpoint=endpoint,
        client_id=client_id,
        client_secret=secret.get_secret_value(),
        scope=kafka.sasl_oauth_scope,
        extensions=dict(kafka.sasl_oauth_extensions or ()),
        client_auth=kafka.sasl_oauth_client_auth,
        ca_file=kafka.sasl_oauth_cafile,
    )


def kafka_clients(settings: Settings) -> KafkaClients:
    """What every command opens of Kafka."""
    return KafkaClients(kafka_connection(settings))
