"""How every command reaches Kafka, by the settings."""

from __future__ import annotations

from consumer.kafka.clients import KafkaClients
from consumer.kafka.connection import KafkaConnection
from consumer.settings import Settings


def kafka_connection(settings: Settings) -> KafkaConnection:
    """How every command reaches Kafka."""
    kafka = settings.kafka
    password, key_password = kafka.sasl_password, kafka.ssl_key_password
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
    )


def kafka_clients(settings: Settings) -> KafkaClients:
    """What every command opens of Kafka."""
    return KafkaClients(kafka_connection(settings))
