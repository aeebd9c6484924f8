"""``check`` finds what is wrong, once, with what to do. Kafka is in memory."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from consumer.kafka.group_kinds import GroupKind
from consumer.kafka.groups import GroupOffset
from consumer.kafka.publisher import OutgoingRecord
from consumer.wiring.topics import topic_specs
from tests.commands import CANARY, PATIENCE, Commands, Ended
from tests.operations.conftest import MakeStage, Operator
from tests.staging import Json, document


def wrong_findings(ended: Ended) -> list[Json]:
    """What `check --json` has to be mended."""
    return [found for found in map(json.loads, ended.lines) if not found["ok"]]


async def test_check_finds_nothing_where_all_is_right(operator: Operator) -> None:
    """Every finding is a line of JSON with what was looked at; nothing is changed."""
    workspaces = dict(operator.stage.simulator.state.workspaces)
    ended = await operator.run("check", "--json")

    findings = [json.loads(line) for line in ended.lines]
    assert (ended.code, ended.err) == (0, "")
    assert all(found["ok"] for found in findings)
    subjects = [found["subject"] for found in findings]
    assert subjects[:2] == ["settings", "Kafka"]
    assert sum(subject.startswith("topic ") for subject in subjects) == 5
    assert operator.stage.simulator.state.workspaces == workspaces


async def test_check_takes_the_address_of_the_developer_api(operator: Operator) -> None:
    """People copy it from its pages, where paths begin with /api/v1."""
    endpoint = f"{operator.stage.simulator.endpoint}/api/v1/"
    ended = await operator.run("check", "--json", ANYTHINGLLM_ENDPOINT=endpoint)
    assert (ended.code, wrong_findings(ended), ended.err) == (0, [], "")


async def test_check_says_what_traces_need(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they are asked for, before the service would not start."""
    monkeypatch.delitem(sys.modules, "consumer.telemetry.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    ended = await operator.run("check", "--json", TRACING_ENABLED="true")

    (found,) = wrong_findings(ended)
    assert ended.code == 3
    assert found["subject"] == "traces"
    assert 'pip install ".[service,otel]"' in found["what_to_do"]
    assert "PACKAGES=requirements-otel.lock" in found["what_to_do"]


async def test_check_says_where_spans_go(operator: Operator) -> None:
    """Nobody is asked there: a collector that is away holds up nothing."""
    ended = await operator.run(
        "check", TRACING_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1"
    )

    assert ended.code == 0
    assert ": spans go to http://127.0.0.1:1/v1/traces by HTTP" in ended.out


async def test_check_names_a_protocol_for_spans_that_is_not_there(operator: Operator) -> None:
    """OpenTelemetry would not say so: it sends by HTTP to a port that speaks gRPC."""
    ended = await operator.run(
        "check", "--json", TRACING_ENABLED="true", OTEL_EXPORTER_OTLP_PROTOCOL="grpc"
    )

    (found,) = wrong_findings(ended)
    assert found["finding"].startswith("OTEL_EXPORTER_OTLP_PROTOCOL asks for")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "99999"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "abc"),
        ("OTEL_PYTHON_TRACER_PROVIDER", "junk"),
    ],
)
async def test_check_names_what_opentelemetry_can_not_use(
    operator: Operator, name: str, value: str
) -> None:
    """Its variables are not ours to check, but a wrong one is no fault in the program."""
    ended = await operator.run("check", "--json", TRACING_ENABLED="true", **{name: value})

    (found,) = wrong_findings(ended)
    assert ended.code == 3
    assert found["subject"] == "traces"
    assert found["finding"].startswith("OpenTelemetry can't be set up: ")
    assert "OTEL_" in found["what_to_do"]


@pytest.mark.parametrize(
    ("faults", "settings", "subject", "what_to_do"),
    [
        ({}, {"ANYTHINGLLM_API_KEY": CANARY + "x"}, "AnythingLLM key", "ANYTHINGLLM_API_KEY"),
        ({}, {"ANYTHINGLLM_ENDPOINT": "http://127.0.0.1:1"}, "AnythingLLM", "ANYTHINGLLM_ENDPOINT"),
        ({"collector": "down"}, {}, "AnythingLLM collector", "log"),
        ({"embedder_down": True}, {}, "AnythingLLM embedder", "embedder settings"),
        ({"embedder_nonsense": "zeros"}, {}, "AnythingLLM embedder", "embedder settings"),
        ({"embedder_nonsense": "nulls"}, {}, "AnythingLLM embedder", "embedder settings"),
        ({"embedder_nonsense": "constant"}, {}, "AnythingLLM embedder", "embedder settings"),
        ({"database_down": True}, {}, "AnythingLLM vector database", "check that it runs"),
        ({}, {"KAFKA_PARKED_TOPIC": "test-nowhere"}, "topic test-nowhere", "topics create"),
    ],
    ids=[
        "key",
        "server",
        "collector",
        "embedder",
        "zeros",
        "nulls",
        "constant",
        "database",
        "topic",
    ],
)
async def test_check_names_what_is_wrong_once(
    operator: Operator, faults: Json, settings: dict[str, str], subject: str, what_to_do: str
) -> None:
    """Exit 3; one finding for one cause, with what to do, and not what follows from it."""
    operator.stage.simulator.faults.update(faults)
    ended = await operator.run("check", "--json", **settings)

    (found,) = wrong_findings(ended)
    assert ended.code == 3
    assert found["subject"] == subject
    assert what_to_do in found["what_to_do"]
    assert ended.err == ""
    assert ended.seconds < PATIENCE / 2


async def test_check_names_a_kafka_that_is_not_there(
    operator: Operator, commands: Commands
) -> None:
    """Once, by its address, and goes on with AnythingLLM; here it is the real client."""
    commands.kafka = None
    ended = await operator.run("check", "--json", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")

    (found,) = wrong_findings(ended)
    assert (ended.code, ended.err) == (3, "")
    assert (found["subject"], found["what_to_do"].split()[1]) == (
        "Kafka",
        "KAFKA_BOOTSTRAP_SERVERS",
    )
    assert "127.0.0.1:1" in found["finding"]
    assert ended.seconds < PATIENCE / 2


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (GroupKind("share", "share", "Empty"), "is a share group"),
        (GroupKind("consumer", "consumer", "Stable"), "members of the new consumer protocol"),
        (GroupKind("classic", "connect", "Stable"), "members of another kind (connect)"),
        (GroupKind("consumer", "consumer", "Empty"), None),
        (GroupKind("classic", "connect", "Empty"), None),
        (GroupKind("classic", "consumer", "Stable"), None),
    ],
)
async def test_check_names_a_group_that_is_not_for_us(
    operator: Operator, kind: GroupKind, told: str | None
) -> None:
    """By its id, with the setting; those of the new protocol that are empty become ours."""
    group = operator.stage.settings.kafka.group_id
    operator.stage.kafka.others_groups[group] = kind
    ended = await operator.run("check", "--json")

    found = wrong_findings(ended)
    assert [one["subject"] for one in found] == (["consumer group"] if told else [])
    for one in found:
        assert f"{group} " in one["finding"]
        assert told is not None
        assert told in one["finding"]
        assert "KAFKA_GROUP_ID" in one["what_to_do"]


async def test_check_tells_how_much_waits_and_what_retention_took(operator: Operator) -> None:
    """Records that were deleted before they were committed are lost: said before `run` says it."""
    kafka, names = operator.stage.kafka, operator.stage.settings.kafka
    topic = names.documents_topic
    for number in range(5):
        kafka.append(OutgoingRecord(topic, b"key", b"{}", partition=number % 2))
    kafka.commit(names.group_id, {(topic, 0): GroupOffset(1), (topic, 1): GroupOffset(0)})
    ended = await operator.run("check", "--json")
    told = [json.loads(line)["finding"] for line in ended.lines]
    assert ended.code == 0
    assert f"{topic}: 4 of 5 records not committed by {names.group_id}" in told

    kafka.delete_records(topic, {0: 2, 1: 2})
    ended = await operator.run("check", "--json")
    (found,) = wrong_findings(ended)
    assert ended.code == 3
    assert found["subject"] == "group progress"
    assert found["finding"] == (
        f"{topic}: 3 records were deleted before {names.group_id} committed them, in partition 0, 1"
    )
    assert "retention" in found["what_to_do"]


async def test_check_tells_that_a_topic_was_made_anew(operator: Operator) -> None:
    """The group's offsets are behind its end then, and where `run` begins is a setting."""
    kafka, names = operator.stage.kafka, operator.stage.settings.kafka
    kafka.commit(names.group_id, {(names.documents_topic, 1): GroupOffset(7)})
    ended = await operator.run("check", "--json")

    assert ended.code == 0
    (told,) = [
        one for one in map(json.loads, ended.lines) if "made anew" in one.get("what_to_do", "")
    ]
    assert "partition 1" in told["finding"]


@pytest.mark.parametrize(
    ("host", "is_wrong"), [("127.0.0.1", False), ("192.0.2.1", True)], ids=["in use", "not ours"]
)
async def test_check_tries_the_admin_address(operator: Operator, host: str, is_wrong: bool) -> None:
    """One in use is the service's own, where it runs; `run` can't listen on a stranger's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await operator.run("check", "--json", ADMIN_HOST=host, ADMIN_PORT=str(port))

    (found,) = [one for one in map(json.loads, ended.lines) if one["subject"] == "admin address"]
    assert found["ok"] is not is_wrong
    assert f"{host}:{port}" in found["finding"]
    assert "ADMIN_PORT" in found["what_to_do"]


async def test_check_holds_topics_to_the_contract(
    make_stage: MakeStage, commands: Commands
) -> None:
    """Dead letters that expire, records that do not fit, replays out of order: all of it."""
    stage = await make_stage(topics=False)
    letters = stage.settings.kafka.dead_letters_topic
    replay = stage.settings.kafka.replay_topic
    for spec in topic_specs(stage.settings, 3):
        if spec.name not in (letters, replay):
            stage.kafka.create(spec.name, spec.partitions, spec.settings)
    stage.kafka.create(letters, 3, {"retention.ms": "1000", "max.message.bytes": "1000"})
    stage.kafka.create(replay, 2, {"max.message.bytes": "9000000"})
    ended = await Operator(stage, commands).run("check", "--json")

    assert ended.code == 3
    told = [found["subject"] + ": " + found["finding"] for found in wrong_findings(ended)]
    assert [text.split(" is ")[0] for text in told[:2]] == [
        f"topic {letters}: retention.ms",
        f"topic {letters}: max.message.bytes",
    ]
    assert "partitions" in told[2]
    assert len(told) == 3


async def test_shared_collections_are_judged_by_whose_they_are(
    make_stage: MakeStage, commands: Commands
) -> None:
    """Exit 3 for ours; a line for others', and exit 0."""
    stage = await make_stage(vector_db="chroma", workspaces=("docs", "their", "their_"))
    operator = Operator(stage, commands)
    told = await operator.run("check", ROUTING_ALLOWED_WORKSPACES="docs")
    wrong = await operator.run("check", "--json", ROUTING_ALLOWED_WORKSPACES="docs,their*")

    assert told.code == 0
    assert "their and their_" in told.out
    assert wrong.code == 3
    assert [found["subject"] for found in wrong_findings(wrong)] == ["vector database"]


async def test_trying_to_write_leaves_a_record_that_disturbs_nobody(operator: Operator) -> None:
    """One on each output topic, none where it would be worked; results and letters are alike."""
    kafka = operator.stage.settings.kafka
    plain = await operator.run("check", "--json")
    assert _lengths(operator) == dict.fromkeys(_topics(operator), 0)

    tried = await operator.run("check", "--json", "--try-writing")
    subjects = [json.loads(line)["subject"] for line in tried.lines]
    written = [kafka.results_topic, kafka.dead_letters_topic, kafka.parked_topic]

    assert (plain.code, tried.code) == (0, 0)
    assert [each for each in subjects if each.startswith("writing ")] == [
        f"writing {name}" for name in written
    ]
    assert _lengths(operator) == {name: int(name in written) for name in _topics(operator)}
    (result,) = operator.stage.everything(kafka.results_topic)
    assert json.loads(result.value or b"")["status"] == "superseded"
    for words in (("results", "--json"), ("dlq", "list", "--json"), ("dlq", "stats", "--json")):
        shown = await operator.run(*words)
        assert shown.code == 0
        assert "anythingllm-consumer-check" not in shown.out + shown.err
    assert (await operator.run("dlq", "list", "--json")).lines == []


def _topics(operator: Operator) -> list[str]:
    return [spec.name for spec in topic_specs(operator.stage.settings)]


def _lengths(operator: Operator) -> dict[str, int]:
    return {name: len(operator.stage.everything(name)) for name in _topics(operator)}


@pytest.mark.parametrize("status", [400, 404, 405, 406, 411, 501, 500])
async def test_check_finds_a_proxy_that_refuses_removals(operator: Operator, status: int) -> None:
    """By removing a file that is not there: nothing else changes."""
    server = operator.stage.simulator
    files, workspaces = set(server.state.files), dict(server.state.workspaces)
    rule = server.faults.add("status", status=status, method="DELETE")
    ended = await operator.run("check", "--json")

    (found,) = wrong_findings(ended)
    assert (ended.code, ended.err, rule.fired) == (3, "", 1)
    assert found["subject"] == "AnythingLLM removals"
    assert f"answered {status}" in found["finding"]
    assert "its file stays" in found["finding"]
    assert "DELETE /api/v1/system/remove-documents" in found["what_to_do"]
    assert (set(server.state.files), dict(server.state.workspaces)) == (files, workspaces)


@pytest.mark.parametrize("status", [401, 403])
async def test_check_finds_that_removals_are_forbidden(operator: Operator, status: int) -> None:
    """Whoever forbids it: events that remove something would fail."""
    operator.stage.simulator.faults.add("status", status=status, method="DELETE")
    ended = await operator.run("check", "--json")

    (found,) = wrong_findings(ended)
    assert found["subject"] == "AnythingLLM removals"
    assert f"answered {status}" in found["finding"]
    assert "allow DELETE" in found["what_to_do"]


@pytest.mark.parametrize("status", [429, 502, 503])
async def test_check_does_not_call_a_passing_refusal_a_rule(
    operator: Operator, status: int
) -> None:
    """It was not looked at, and that is said."""
    operator.stage.simulator.faults.add("status", status=status, method="DELETE")
    ended = await operator.run("check", "--json")

    assert (ended.code, wrong_findings(ended)) == (0, [])
    told = [json.loads(line) for line in ended.lines]
    (removals,) = [each for each in told if each["subject"] == "AnythingLLM removals"]
    assert "not looked at" in removals["finding"]


@pytest.mark.parametrize("length", [32, 128])
async def test_check_finds_that_the_embedder_has_another_length_than_what_is_stored(
    operator: Operator, length: int
) -> None:
    """LanceDB takes longer vectors with success, cut to its own length; no search works then."""
    await operator.stage.worked(document("a", ["one", "two"]))
    operator.stage.simulator.faults.embedder_dimension = length
    ended = await operator.run("check", "--json")

    (found,) = wrong_findings(ended)
    assert (ended.code, found["subject"]) == (3, "AnythingLLM vector database")
    assert "a search fails in docs" in found["finding"]
    assert "If the embedding model was changed" in found["finding"]
