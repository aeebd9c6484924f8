"""The settings as they may be seen."""

from __future__ import annotations

from pathlib import Path

from consumer.settings import load_settings
from consumer.settings.shown import shown_settings
from consumer.settings.table import TABLE

SECRETS = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT": "https://idp.example/token?CANARY=query",
    "KAFKA_SASL_OAUTH_CLIENT_ID": "us",
    "KAFKA_SASL_OAUTH_CLIENT_SECRET": "CANARY-client",
    "KAFKA_SASL_OAUTH_EXTENSIONS": "logicalCluster=lkc-1, identityPoolId=pool-1",
}


def shown(**values: str) -> dict[str, tuple[str, bool]]:
    settings = load_settings({**SECRETS, **values})
    return {each.name: (each.value, each.is_default) for each in shown_settings(settings)}


def test_every_setting_is_shown_as_people_write_it() -> None:
    """In the table's order, with a word whether it is the default."""
    found = shown(
        ANYTHINGLLM_API_KEY="k", ADMIN_ALLOWED_HOSTS="Status.example, 10.0.0.5", FUSE_SHARE="0.25"
    )

    assert list(found) == list(TABLE)
    assert found["INTAKE_MAX_BYTES_IN_FLIGHT"] == ("64 MiB", True)
    assert found["FUSE_SHARE"] == ("0.25", False)
    assert found["DOCUMENT_IDENTITY"] == ("{id}", True)
    assert found["ROUTING_WORKSPACE"] == ("{technology}", True)
    assert found["ROUTING_CREATE_WORKSPACES"] == ("true", True)
    assert found["ANYTHINGLLM_CAFILE"] == ("not set", True)
    assert found["ADMIN_ALLOWED_HOSTS"] == ("status.example, 10.0.0.5", False)
    extensions = "logicalCluster=lkc-1, identityPoolId=pool-1"
    assert found["KAFKA_SASL_OAUTH_EXTENSIONS"] == (extensions, False)


def test_secrets_are_only_said_to_be_there(tmp_path: Path) -> None:
    """Keys in files of several servers among them, and the query of a token endpoint."""
    key = tmp_path / "CANARY-file"
    key.write_text("CANARY-server", encoding="utf-8")
    found = shown(
        ANYTHINGLLM_ENDPOINTS=f"eu http://eu.example:3001 {key}", ANYTHINGLLM_ENDPOINTS_TRIAL="true"
    )

    assert "CANARY" not in str(found)
    assert found["KAFKA_SASL_OAUTH_CLIENT_SECRET"] == ("set, not shown", False)
    assert shown(ANYTHINGLLM_API_KEY="CANARY")["ANYTHINGLLM_API_KEY"] == ("set, not shown", False)
    assert found["KAFKA_SASL_PASSWORD"] == ("not set", True)
    assert found["ANYTHINGLLM_ENDPOINTS"] == ("eu http://eu.example:3001", False)
    assert found["KAFKA_SASL_OAUTH_TOKEN_ENDPOINT"] == ("https://idp.example/token", False)
