"""Settings: environment over file over defaults, and everything wrong told at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.settings import SettingProblem, Settings, SettingsError, load_settings, settings_table
from consumer.settings.names import NAMES, meant
from consumer.settings.table import GROUPS, TABLE

KEY = {"ANYTHINGLLM_API_KEY": "CANARY-api-key"}


def problems_of(env: Mapping[str, str], config: Path | None = None) -> tuple[SettingProblem, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(env, config)
    return caught.value.problems


def names_of(env: Mapping[str, str], config: Path | None = None) -> list[str]:
    return [problem.name for problem in problems_of(env, config)]


def file_with(folder: Path, text: str) -> Path:
    path = folder / "consumer.toml"
    path.write_text(text, encoding="utf-8")
    return path


CONTRACT: dict[str, object] = {
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "KAFKA_GROUP_ID": "anythingllm-consumer",
    "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": None,
    "KAFKA_SASL_PASSWORD": None,
    "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT": None,
    "KAFKA_SASL_OAUTH_CLIENT_ID": None,
    "KAFKA_SASL_OAUTH_CLIENT_SECRET": None,
    "KAFKA_SASL_OAUTH_SCOPE": None,
    "KAFKA_SASL_OAUTH_EXTENSIONS": None,
    "KAFKA_SASL_OAUTH_CLIENT_AUTH": "basic",
    "KAFKA_SASL_OAUTH_CAFILE": None,
    "KAFKA_SSL_CAFILE": None,
    "KAFKA_SSL_CERTFILE": None,
    "KAFKA_SSL_KEYFILE": None,
    "KAFKA_SSL_KEY_PASSWORD": None,
    "KAFKA_DOCUMENTS_TOPIC": "documents.processed",
    "KAFKA_REPLAY_TOPIC": "documents.processed.replay",
    "KAFKA_RESULTS_TOPIC": "documents.upload-results",
    "KAFKA_DEAD_LETTERS_TOPIC": "documents.processed.dlq",
    "KAFKA_PARKED_TOPIC": "documents.processed.parked",
    "KAFKA_AUTO_OFFSET_RESET": "earliest",
    "KAFKA_COMPRESSION": "lz4",
    "KAFKA_COMMIT_INTERVAL_SECONDS": 1,
    "KAFKA_SESSION_TIMEOUT_SECONDS": 45,
    "KAFKA_DELIVERY_TIMEOUT_SECONDS": 120,
    "ANYTHINGLLM_ENDPOINT": "http://localhost:3001",
    "ANYTHINGLLM_ENDPOINTS": None,
    "ANYTHINGLLM_ENDPOINTS_TRIAL": False,
    "ANYTHINGLLM_PINS": None,
    "ANYTHINGLLM_TIMEOUT_SECONDS": 30,
    "ANYTHINGLLM_CAFILE": None,
    "ANYTHINGLLM_AMBIGUITY_SECONDS": 600,
    "ANYTHINGLLM_VECTOR_DB": "auto",
    "BREAKER_FAILURE_THRESHOLD": 3,
    "BREAKER_RECOVERY_SECONDS": 60,
    "FUSE_SHARE": 0.5,
    "FUSE_WINDOW": 200,
    "FUSE_MINIMUM": 50,
    "UPLOAD_MAX_CHUNKS_IN_FLIGHT": 5,
    "UPLOAD_MAX_CHUNKS_PER_DOCUMENT": 5,
    "UPLOAD_CHUNKS_PER_PACK": 1,
    "UPLOAD_PACKS_TRIAL": False,
    "UPLOAD_ATTEMPTS": 3,
    "UPLOAD_BACKOFF_BASE_SECONDS": 1,
    "UPLOAD_BACKOFF_CAP_SECONDS": 60,
    "UPLOAD_TIMEOUT_SECONDS": 120,
    "REMOVAL_TIMEOUT_SECONDS": 600,
    "INTAKE_MAX_DOCUMENTS_IN_FLIGHT": 32,
    "INTAKE_MAX_BYTES_IN_FLIGHT": 64 * 2**20,
    "INTAKE_MAX_ASIDE_BYTES": 256 * 2**20,
    "INDEX_MAX_AGE_SECONDS": 600,
    "INDEX_MAX_BYTES": 256 * 2**20,
    "DOCUMENT_MAX_CHUNKS": 20_000,
    "DOCUMENT_MAX_CHUNK_BYTES": 2**20,
    "DOCUMENT_MAX_BYTES": 8 * 2**20,
    "DOCUMENT_ENVELOPES": True,
    "ROUTING_WORKSPACE": "{technology}",
    "ROUTING_CREATE_WORKSPACES": True,
    "ROUTING_ALLOWED_WORKSPACES": ("*",),
    "SHUTDOWN_DRAIN_SECONDS": 20,
    "REPLAY_MAX_REPLAYS": 3,
    "ADMIN_HOST": "127.0.0.1",
    "ADMIN_PORT": 8080,
    "ADMIN_PAGE": "loopback",
    "ADMIN_ALLOWED_HOSTS": None,
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "auto",
    "TRACING_ENABLED": False,
}


def value_of(settings: Settings, name: str) -> object:
    row = TABLE[name]
    return getattr(getattr(settings, row.group), row.key)


def test_names_and_defaults_are_the_contract() -> None:
    """Operators' files rely on names and defaults: a change here is a breaking one."""
    settings = load_settings(KEY)

    assert set(TABLE) == {*CONTRACT, "ANYTHINGLLM_API_KEY", "DOCUMENT_IDENTITY"}
    assert {name: value_of(settings, name) for name in CONTRACT} == CONTRACT
    assert settings.document.identity.text == "{id}"
    assert settings.anythingllm.api_key.get_secret_value() == "CANARY-api-key"
    assert settings.warnings == ()


def test_every_setting_can_be_set_by_the_environment_and_by_the_file(tmp_path: Path) -> None:
    """The file's [group] key is the environment's GROUP_KEY, for every setting there is."""
    for row in TABLE.values():
        if row.spec.default is None:
            continue
        literal = row.spec.default.replace("'", "")
        config = file_with(tmp_path, f"[{row.group}]\n{row.key} = '{literal}'\n")

        assert load_settings(KEY, config) == load_settings(KEY | {row.name: literal})


def test_environment_wins_over_file_wins_over_default(tmp_path: Path) -> None:
    """Name by name, so that one variable can correct one line of a shared file."""
    config = file_with(tmp_path, "[kafka]\ngroup_id = 'from-file'\n[admin]\nport = 9000\n")

    settings = load_settings(KEY | {"KAFKA_GROUP_ID": "from-env"}, config)

    assert settings.kafka.group_id == "from-env"
    assert settings.admin.port == 9000
    assert settings.log.level == "info"


def test_all_problems_are_told_at_once_with_name_value_and_what_is_allowed() -> None:
    """Nobody should have to start ten times to find ten mistakes."""
    found = problems_of(
        {
            "UPLOAD_ATTEMPTS": "many",
            "FUSE_SHARE": "1.5",
            "KAFKA_GROUPID": "x",
            "LOG_LEVEL": "loud",
            "DOCUMENT_MAX_BYTES": "8 MB",
            "UPLOAD_TIMEOUT_SECONDS": "nan",
        }
    )

    assert {str(problem) for problem in found} == {
        "UPLOAD_ATTEMPTS = 'many': allowed: a whole number of attempts, 1 to 100",
        "FUSE_SHARE = '1.5': allowed: a share, 0 to 1",
        "KAFKA_GROUPID: is no setting; did you mean KAFKA_GROUP_ID?",
        "LOG_LEVEL = 'loud': allowed: debug, info, warning or error",
        "DOCUMENT_MAX_BYTES = '8 MB': allowed: bytes, plain or as KiB, MiB, GiB, 1 KiB to 1 GiB",
        "UPLOAD_TIMEOUT_SECONDS = 'nan': allowed: seconds, 1 to 1,800",
        "ANYTHINGLLM_API_KEY: is required (or ANYTHINGLLM_API_KEY_FILE):"
        " Developer API key (AnythingLLM: Settings, Developer API).",
    }


@pytest.mark.parametrize("empty", ["", "   ", "\n"])
def test_an_empty_value_is_an_unset_one(empty: str) -> None:
    """Compose files and charts write NAME= for "nothing"."""
    settings = load_settings(KEY | {"KAFKA_GROUP_ID": empty, "KAFKA_SASL_PASSWORD_FILE": empty})

    assert settings.kafka.group_id == "anythingllm-consumer"
    assert "ANYTHINGLLM_API_KEY" in names_of({"ANYTHINGLLM_API_KEY": empty})


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MiB", 2**26), ("8 MiB", 2**23), ("1048576", 2**20), ("1 gib", 2**30), ("2048KiB", 2**21)],
)
def test_sizes_are_plain_bytes_or_carry_a_binary_unit(text: str, size: int) -> None:
    """64MiB, 64 MiB and 67108864 are the same; MB is refused because it has two meanings."""
    settings = load_settings(KEY | {"INDEX_MAX_BYTES": text})

    assert settings.index.max_bytes == size


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
        ("KAFKA_BOOTSTRAPSERVERS", "KAFKA_BOOTSTRAP_SERVERS"),
        ("kafka_group_id", "KAFKA_GROUP_ID"),
        ("KAFKA_GROUP", "KAFKA_GROUP_ID"),
        ("KAFKA_TOPIC_RESULTS", "KAFKA_RESULTS_TOPIC"),
        ("KAFKA_DEAD_LETTER_TOPIC", "KAFKA_DEAD_LETTERS_TOPIC"),
        ("KAFKA_SESSION_TIMEOUT_MS", "KAFKA_SESSION_TIMEOUT_SECONDS"),
        ("ANYTHINGLM_API_KEY", "ANYTHINGLLM_API_KEY"),
        ("ANYTHINGLLM_APIKEY", "ANYTHINGLLM_API_KEY"),
        ("ANYTHINGLLM_KEY", "ANYTHINGLLM_API_KEY"),
        ("ANYTHINGLLM_API_KEY_FIEL", "ANYTHINGLLM_API_KEY_FILE"),
        ("ANYTHINGLLM_ENPOINT", "ANYTHINGLLM_ENDPOINT"),
        ("UPLOAD_TIMEOUT", "UPLOAD_TIMEOUT_SECONDS"),
        ("UPLOAD_MAX_CHUNK_IN_FLIGHT", "UPLOAD_MAX_CHUNKS_IN_FLIGHT"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("BREAKER_THRESHOLD", "BREAKER_FAILURE_THRESHOLD"),
    ],
)
def test_a_misspelt_name_is_an_error_with_the_right_spelling(name: str, ours: str) -> None:
    """Ignored silently, it would leave the service on a default nobody chose."""
    (problem,) = problems_of(KEY | {name: "12"})

    assert str(problem) == f"{name}: is no setting; did you mean {ours}?"


@pytest.mark.parametrize(
    "name",
    [
        *("KAFKA_OPTS", "KAFKA_HEAP_OPTS", "KAFKA_LOG4J_OPTS", "KAFKA_JMX_PORT", "KAFKA_HOME"),
        *("KAFKA_NODE_ID", "KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_VERSION"),
        *("KAFKA_SSL_KEYSTORE_LOCATION", "KAFKA_SSL_TRUSTSTORE_PASSWORD", "KAFKA_CLUSTER_ID"),
        *("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "KAFKA_CFG_PROCESS_ROLES", "KAFKA_UI_PORT"),
        *("LOG_DIR", "LOGNAME", "LOG_FILE", "ADMIN_PASSWORD", "ADMIN_USER", "UPLOAD_DIR"),
        *("DOCUMENT_ROOT", "INDEX_URL", "ANYTHINGLLM_TEST_ENDPOINT", "ANYTHINGLLM_TEST_API_KEY"),
        *("TEST_KAFKA_BOOTSTRAP_SERVERS", "PATH", "HOME", "PYTHONPATH", "HOSTNAME", "LANG"),
        *(
            "KAFKA_SERVICE_HOST",
            "KAFKA_SERVICE_PORT",
            "KAFKA_PORT_9092_TCP_ADDR",
            "ADMIN_SERVICE_HOST",
        ),
    ],
)
def test_names_of_others_pass_silently(name: str) -> None:
    """A shared prefix alone does not make a name ours."""
    assert load_settings(KEY | {name: "whatever"}).warnings == ()


def test_no_name_of_ours_is_taken_for_a_misspelling_of_another() -> None:
    """All of ours are known as they are."""
    assert {name: meant(name) for name in NAMES} == {name: name for name in NAMES}


def test_addresses_of_kubernetes_services_are_ignored_with_a_warning() -> None:
    """A service named "admin" injects ADMIN_PORT=tcp://…, which is not a port."""
    settings = load_settings(
        KEY
        | {
            "ADMIN_PORT": "tcp://10.0.0.7:80",
            "ANYTHINGLLM_PORT": "tcp://10.0.0.8:3001",
            "KAFKA_PORT_9092_TCP": "tcp://10.0.0.9:9092",
            "KAFKA_BOOTSTRAP_SERVER": "tcp://10.0.0.9:9092",
        }
    )

    assert settings.admin.port == 8080
    assert [warning.split(" ")[0].split("=")[0] for warning in settings.warnings] == [
        "ADMIN_PORT",
        "KAFKA_BOOTSTRAP_SERVER",
    ]


BEARER = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT": "https://login.example/oauth2/token?policy=x",
    "KAFKA_SASL_OAUTH_CLIENT_ID": "us",
    "KAFKA_SASL_OAUTH_CLIENT_SECRET": "CANARY-client",
}
SECRETS = (
    "KAFKA_SASL_PASSWORD",
    "KAFKA_SASL_OAUTH_CLIENT_SECRET",
    "KAFKA_SSL_KEY_PASSWORD",
    "ANYTHINGLLM_API_KEY",
)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    """The line end that editors and `kubectl create secret` leave is no part of it."""
    (tmp_path / "secret").write_text("CANARY-from-file\r\n", encoding="utf-8")
    pem = tmp_path / "some.pem"
    pem.write_text("x", encoding="utf-8")
    env = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": "u",
        "KAFKA_SASL_PASSWORD": "p",
        "KAFKA_SSL_CERTFILE": str(pem),
        **KEY,
    }
    if name == "KAFKA_SASL_OAUTH_CLIENT_SECRET":
        env = BEARER | KEY
    env.pop(name, None)

    settings = load_settings(env | {f"{name}_FILE": str(tmp_path / "secret")})

    secret: Any = value_of(settings, name)
    assert secret.get_secret_value() == "CANARY-from-file"


def test_a_secret_given_twice_is_a_problem_unless_the_environment_overrides_the_file(
    tmp_path: Path,
) -> None:
    """Which of the two was meant can't be known; between sources the environment wins."""
    (tmp_path / "secret").write_text("CANARY-from-file", encoding="utf-8")
    pointer = {"ANYTHINGLLM_API_KEY_FILE": str(tmp_path / "secret")}
    config = file_with(tmp_path, "[anythingllm]\napi_key = 'CANARY-in-toml'\n")

    assert names_of(KEY | pointer) == ["ANYTHINGLLM_API_KEY_FILE"]
    settings = load_settings(pointer, config)
    assert settings.anythingllm.api_key.get_secret_value() == "CANARY-from-file"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_an_unusable_secret_file_is_one_problem(content: bytes | None, tmp_path: Path) -> None:
    """Missing, empty or not text: told once, not also as "is required"."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)

    assert names_of({"ANYTHINGLLM_API_KEY_FILE": str(path)}) == ["ANYTHINGLLM_API_KEY_FILE"]


def test_only_secrets_can_come_from_files() -> None:
    """KAFKA_GROUP_ID_FILE would otherwise be ignored silently."""
    assert names_of(KEY | {"KAFKA_GROUP_ID_FILE": "/x"}) == ["KAFKA_GROUP_ID_FILE"]


@pytest.mark.parametrize("key", ["CANARY key", "CANARY\r\nX-Evil: 1", "CANARY-ключ"])
def test_a_key_that_would_break_out_of_its_header_is_refused(key: str) -> None:
    """And the refusal does not show it."""
    (problem,) = problems_of({"ANYTHINGLLM_API_KEY": key})

    assert problem.value == "***"
    assert "CANARY" not in str(problem)


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    """Neither by repr and str of settings nor in any problem."""
    env = KEY | {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": "u",
        "KAFKA_SASL_PASSWORD": "CANARY-password",
    }
    settings = load_settings(env)
    wrong = problems_of(
        env
        | {
            "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
            "KAFKA_SSL_KEY_PASSWORD": "CANARY-key-password",
            "ANYTHINGLLM_ENDPOINT": "http://user:CANARY-userinfo@host",
            "ANYTHINGLLM_APIKEY": "CANARY-misspelt",
        }
    )

    assert "CANARY" not in repr(settings)
    assert "CANARY" not in str(settings)
    assert len(wrong) >= 5
    assert "CANARY" not in "".join(map(str, wrong))
    assert set(settings.secrets()) == {"CANARY-api-key", "CANARY-password"}


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"KAFKA_DEAD_LETTERS_TOPIC": "documents.processed"}, "KAFKA_DEAD_LETTERS_TOPIC"),
        ({"KAFKA_RESULTS_TOPIC": "documents_processed"}, "KAFKA_RESULTS_TOPIC"),
        ({"KAFKA_DOCUMENTS_TOPIC": "documents.processed.replay"}, "KAFKA_REPLAY_TOPIC"),
        ({"KAFKA_PARKED_TOPIC": ".."}, "KAFKA_PARKED_TOPIC"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka"}, "KAFKA_BOOTSTRAP_SERVERS"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092,,other"}, "KAFKA_BOOTSTRAP_SERVERS"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka:99999"}, "KAFKA_BOOTSTRAP_SERVERS"),
        ({"KAFKA_SASL_USERNAME": "u"}, "KAFKA_SASL_USERNAME"),
        ({"KAFKA_SSL_CAFILE": "/no/such/file"}, "KAFKA_SSL_CAFILE"),
        ({"ANYTHINGLLM_ENDPOINT": "localhost:3001"}, "ANYTHINGLLM_ENDPOINT"),
        ({"ANYTHINGLLM_ENDPOINT": "http://host:99999"}, "ANYTHINGLLM_ENDPOINT"),
        ({"ANYTHINGLLM_ENDPOINT": "http://host/?a=b"}, "ANYTHINGLLM_ENDPOINT"),
        ({"ANYTHINGLLM_ENDPOINT": "http://[::1"}, "ANYTHINGLLM_ENDPOINT"),
        ({"ANYTHINGLLM_AMBIGUITY_SECONDS": "60"}, "ANYTHINGLLM_AMBIGUITY_SECONDS"),
        ({"UPLOAD_BACKOFF_BASE_SECONDS": "61"}, "UPLOAD_BACKOFF_BASE_SECONDS"),
        ({"INTAKE_MAX_BYTES_IN_FLIGHT": "1 MiB"}, "INTAKE_MAX_BYTES_IN_FLIGHT"),
        ({"DOCUMENT_MAX_CHUNK_BYTES": "9 MiB"}, "DOCUMENT_MAX_CHUNK_BYTES"),
        ({"FUSE_WINDOW": "10"}, "FUSE_MINIMUM"),
        ({"FUSE_SHARE": "-0.1"}, "FUSE_SHARE"),
        ({"DOCUMENT_IDENTITY": "{technology}"}, "DOCUMENT_IDENTITY"),
        ({"DOCUMENT_IDENTITY": "{title}"}, "DOCUMENT_IDENTITY"),
        ({"ROUTING_WORKSPACE": "{source_url}"}, "ROUTING_WORKSPACE"),
        ({"ROUTING_ALLOWED_WORKSPACES": "a/b"}, "ROUTING_ALLOWED_WORKSPACES"),
        ({"ROUTING_WORKSPACE": "docs", "ROUTING_ALLOWED_WORKSPACES": "x-*"}, "ROUTING_WORKSPACE"),
        ({"ROUTING_MAP": "a=b"}, "ROUTING_MAP"),
        ({"ADMIN_PORT": "65536"}, "ADMIN_PORT"),
        ({"ADMIN_ALLOWED_HOSTS": "status.example:8080"}, "ADMIN_ALLOWED_HOSTS"),
        ({"ADMIN_ALLOWED_HOSTS": "fe80::1%eth0"}, "ADMIN_ALLOWED_HOSTS"),
        ({"UPLOAD_ATTEMPTS": "9" * 5000}, "UPLOAD_ATTEMPTS"),
    ],
)
def test_what_can_not_work_is_refused_at_the_start(env: dict[str, str], name: str) -> None:
    """Each on its own gives exactly one problem, at the setting to change."""
    assert names_of(KEY | env) == [name]


@pytest.mark.parametrize("given", ["::1", "[::1]", "0:0:0:0:0:0:0:1"])
def test_an_ipv6_address_needs_no_brackets(given: str) -> None:
    """The page compares it with what browsers send, which is short and has them."""
    settings = load_settings(KEY | {"ADMIN_ALLOWED_HOSTS": f"status.example,{given}"})

    assert settings.admin.allowed_hosts == ("status.example", "[::1]")


def test_sasl_needs_user_and_password() -> None:
    """Both missing ones are named."""
    found = names_of(KEY | {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"})

    assert found == ["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"]


def test_oauthbearer_is_whole_with_endpoint_and_client() -> None:
    """Extensions and scope are read; the secret is one of those that the log masks."""
    more = {
        "KAFKA_SASL_OAUTH_SCOPE": "api://kafka/.default offline",
        "KAFKA_SASL_OAUTH_EXTENSIONS": "logicalCluster=lkc-1, identityPoolId=pool=2",
    }
    settings = load_settings(KEY | BEARER | more)

    assert settings.warnings == ()
    assert "CANARY-client" in settings.secrets()
    assert settings.kafka.sasl_oauth_extensions == (
        ("logicalCluster", "lkc-1"),
        ("identityPoolId", "pool=2"),
    )


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"KAFKA_SASL_OAUTH_CLIENT_SECRET": ""}, "KAFKA_SASL_OAUTH_CLIENT_SECRET"),
        ({"KAFKA_SASL_OAUTH_TOKEN_ENDPOINT": ""}, "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT"),
        ({"KAFKA_SASL_USERNAME": "u"}, "KAFKA_SASL_USERNAME"),
        ({"KAFKA_SASL_OAUTH_TOKEN_ENDPOINT": "login"}, "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT"),
        (
            {"KAFKA_SASL_OAUTH_TOKEN_ENDPOINT": "https://u:CANARY@x/t"},
            "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT",
        ),
        ({"KAFKA_SASL_OAUTH_EXTENSIONS": "auth=x"}, "KAFKA_SASL_OAUTH_EXTENSIONS"),
        ({"KAFKA_SASL_OAUTH_EXTENSIONS": "a=b,a=c"}, "KAFKA_SASL_OAUTH_EXTENSIONS"),
        ({"KAFKA_SASL_OAUTH_EXTENSIONS": "a_b=c"}, "KAFKA_SASL_OAUTH_EXTENSIONS"),
    ],
)
def test_oauthbearer_that_is_not_whole_is_a_problem(changes: dict[str, str], wrong: str) -> None:
    """One for each setting that is missing, wrong, or would be ignored."""
    assert names_of(KEY | BEARER | changes) == [wrong]


def test_tokens_without_oauthbearer_are_a_problem() -> None:
    """Nobody would use them."""
    plain = {"KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p"}
    post = {"KAFKA_SASL_OAUTH_CLIENT_AUTH": "post"}
    found = names_of(KEY | BEARER | post | plain | {"KAFKA_SASL_MECHANISM": "PLAIN"})

    assert found == [name for name in BEARER | post if "OAUTH_" in name]


def test_a_client_secret_that_travels_readable_is_worth_a_warning() -> None:
    """To another machine; on this one it may."""
    away = {"KAFKA_SASL_OAUTH_TOKEN_ENDPOINT": "http://login.example/token"}
    (warning,) = load_settings(KEY | BEARER | away).warnings

    assert "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT" in warning
    assert "login.example" in warning


def test_the_group_waits_for_uploads_of_a_revoked_partition() -> None:
    """The rebalance timeout is derived, and an upload timeout it can't contain is refused."""
    env = KEY | {"UPLOAD_TIMEOUT_SECONDS": "500"}

    assert load_settings(env).rebalance_timeout_seconds == 500 + 120 + 35
    silent = KEY | {"KAFKA_SESSION_TIMEOUT_SECONDS": "900"}
    assert load_settings(silent).rebalance_timeout_seconds == 900, "not shorter than a session"
    found = names_of(
        env
        | {
            "UPLOAD_TIMEOUT_SECONDS": "1800",
            "ANYTHINGLLM_AMBIGUITY_SECONDS": "1800",
        }
    )
    assert found == ["UPLOAD_TIMEOUT_SECONDS"]


def test_a_broken_rule_names_a_default_as_such() -> None:
    """Somebody who never set the value must not look for it in vain."""
    (problem,) = problems_of(KEY | {"FUSE_WINDOW": "10"})

    assert problem.value == "'50' (the default)"


def test_routing_map_comes_from_the_file(tmp_path: Path) -> None:
    """Raw values may be anything; what they name must be slugs."""
    good = file_with(tmp_path, "[routing.map]\n'C++ (new)' = 'cpp'\n")
    assert dict(load_settings(KEY, good).routing.map) == {"C++ (new)": "cpp"}

    bad = file_with(tmp_path, "[routing.map]\n'C' = 'no slug'\n'D' = 4\n'E' = 'e'\n")
    assert names_of(KEY, bad) == ["[routing.map] 'C'", "[routing.map] 'D'"]


def test_unknown_names_in_the_file_are_errors_with_the_nearest(tmp_path: Path) -> None:
    """Unlike the environment, the file is ours alone: nothing in it is somebody else's."""
    config = file_with(
        tmp_path,
        "stray = 1\n[kafka]\ngroup = 'x'\nopts = 'y'\n[kafak]\na = 1\n[upload]\nattempts = {}\n",
    )

    assert [str(problem) for problem in problems_of(KEY, config)] == [
        "[stray]: is no group of settings; known: " + ", ".join(GROUPS),
        "[kafka] group: is no setting; did you mean group_id?",
        "[kafka] opts: is no setting; known: "
        + ", ".join(
            sorted(
                name.removeprefix("KAFKA_").lower() for name in NAMES if name.startswith("KAFKA_")
            )
        ),
        "[kafak]: is no group of settings; did you mean [kafka]?",
        "[upload] attempts: must be a text, a number, true, false or a list of texts",
    ]


def test_a_file_that_can_not_be_read_is_a_problem_like_others(tmp_path: Path) -> None:
    """Missing or not TOML: one line that names the file, beside all other problems."""
    missing = tmp_path / "nowhere.toml"
    broken = file_with(tmp_path, "[kafka\n")

    assert names_of({"ADMIN_PORT": "x"}, missing) == [
        f"--config {missing}",
        "ANYTHINGLLM_API_KEY",
        "ADMIN_PORT",
    ]
    assert names_of(KEY, broken) == [f"--config {broken}"]


def test_lists_in_the_file_may_be_lists(tmp_path: Path) -> None:
    """TOML has lists; the environment writes them with commas."""
    config = file_with(
        tmp_path,
        "[kafka]\nbootstrap_servers = ['a:1', 'b:2']\n"
        "[routing]\nallowed_workspaces = ['x', 'y-*']\n",
    )
    settings = load_settings(KEY, config)

    assert settings.kafka.bootstrap_servers == "a:1,b:2"
    assert settings.routing.allowed_workspaces == ("x", "y-*")


def test_readable_secrets_on_the_wire_are_pointed_out() -> None:
    """Allowed, but worth a line: passwords and keys without TLS."""
    settings = load_settings(
        KEY
        | {
            "ANYTHINGLLM_ENDPOINT": "http://llm.example.org:3001",
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_USERNAME": "u",
            "KAFKA_SASL_PASSWORD": "pass",
        }
    )

    assert [warning.split(":")[0].split("=")[0] for warning in settings.warnings] == [
        "KAFKA_SECURITY_PROTOCOL",
        "ANYTHINGLLM_ENDPOINT",
    ]


def test_settings_can_not_be_changed() -> None:
    """What was checked together stays together."""
    settings = load_settings(KEY)

    with pytest.raises(AttributeError):
        settings.kafka.group_id = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.routing.map["a"] = "b"  # type: ignore[index]


def test_the_readme_table_has_a_row_for_every_setting() -> None:
    """Name, default, what is allowed and a sentence, in a table that renders."""
    lines = settings_table().splitlines()

    assert len(lines) == len(TABLE) + 2
    assert {line.count(" | ") for line in lines} == {3}
    assert all(row.spec.meaning.endswith(".") for row in TABLE.values())
    assert "| `ANYTHINGLLM_API_KEY` | **required** |" in settings_table()


@given(st.sampled_from(sorted(TABLE)), st.text(max_size=40))
@example("ROUTING_WORKSPACE", "{\x1f}")
@example("DOCUMENT_IDENTITY", "{\n}")
def test_whatever_is_given_is_taken_or_refused_in_words(name: str, text: str) -> None:
    """No text makes loading fail in any other way, and no secret is repeated."""
    told: tuple[SettingProblem, ...] = ()
    try:
        load_settings(KEY | {name: text})
    except SettingsError as error:
        told = error.problems

    assert all(str(problem).isprintable() for problem in told)
    assert not any(text in str(problem) for problem in told if name in SECRETS and len(text) > 3)


def test_work_that_only_speaks_to_kafka_runs_without_the_api_key() -> None:
    """`publish` and `results` are for people who have no key; a wrong one is still told."""
    settings = load_settings({}, needs_anythingllm=False)

    assert settings.anythingllm.api_key.get_secret_value() == ""
    with pytest.raises(SettingsError, match="ANYTHINGLLM_API_KEY"):
        load_settings({"ANYTHINGLLM_API_KEY": "no key"}, needs_anythingllm=False)


def test_packs_are_refused_unless_they_are_to_be_tried() -> None:
    """They are not proven (README): nobody is to try them in production unawares."""
    env = {"ANYTHINGLLM_API_KEY": "k", "UPLOAD_CHUNKS_PER_PACK": "10"}
    with pytest.raises(SettingsError, match="packs are on trial"):
        load_settings(env)
    with pytest.raises(SettingsError, match="packs are on trial"):
        load_settings({**env, "UPLOAD_CHUNKS_PER_PACK": "auto"})
    tried: Settings = load_settings({**env, "UPLOAD_PACKS_TRIAL": "true"})
    assert tried.upload.chunks_per_pack == 10
