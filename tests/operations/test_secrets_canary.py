"""No secret is told: by logs, metrics, page, results, dead letters and their headers, or a crash.

The server in between repeats whatever it is sent, as badly made proxies and debug pages do.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from consumer.anythingllm import AnythingLLMClient, AnythingLLMError
from consumer.app import Service
from consumer.cli.common import ExitCode
from consumer.model.record import Headers
from consumer.settings import load_settings
from consumer.telemetry.logs import mask_also, set_up_logging
from consumer.wiring.anythingllm import anythingllm_config
from consumer.wiring.kafka import kafka_connection
from tests.commands import CANARY, Commands, clean_environment
from tests.doubles.stage import MemoryStage
from tests.e2e.support import REPOSITORY
from tests.operations.conftest import MakeStage
from tests.staging import document

SECRETS = {
    "ANYTHINGLLM_API_KEY": CANARY,
    "KAFKA_SASL_PASSWORD": f"{CANARY}-password",
    "KAFKA_SSL_KEY_PASSWORD": f"{CANARY}-key-password",
}
OAUTH = {
    "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "KAFKA_SASL_OAUTH_CLIENT_SECRET": f"{CANARY}-client-secret",
    "KAFKA_SASL_OAUTH_CLIENT_ID": "us",
    "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT": "http://127.0.0.1:1/token",
}
NOWHERE = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "ANYTHINGLLM_ENDPOINT": "http://127.0.0.1:1",
    "ADMIN_PORT": "0",
}


def _forms() -> Iterator[str]:
    """As it is, and as it travels."""
    raw = CANARY.encode()
    yield from (CANARY, quote(CANARY), base64.b64encode(raw).decode().rstrip("="))
    yield from (CANARY[:16], CANARY[-16:])


def _told(text: str | bytes) -> list[str]:
    shown = text.decode(errors="replace") if isinstance(text, bytes) else text
    return [form for form in _forms() if form in shown]


def _parts(headers: Headers) -> Iterator[bytes]:
    for name, value in headers:
        yield name.encode()
        yield value or b""


@asynccontextmanager
async def repeating(status: int, content_type: str) -> AsyncIterator[tuple[str, list[str]]]:
    """An AnythingLLM's address where every answer repeats the request's headers; and those."""
    heard: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        told = str(dict(request.headers))
        heard.append(told)
        body = json.dumps({"error": told, "message": told, "success": False})
        return web.Response(
            status=status, text=body, content_type=content_type, headers={"X-Echo": told}
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", heard
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "content_type"),
    [
        (200, "application/json"),
        (200, "text/html"),
        (302, "text/html"),
        (401, "application/json"),
        (403, "text/html"),
        (422, "application/json"),
        (429, "application/json"),
        (500, "application/json"),
        (502, "text/html"),
    ],
)
async def test_what_a_server_repeats_of_us_is_told_to_nobody(
    status: int, content_type: str
) -> None:
    """Neither in the message of what went wrong, nor in the log of it, masked or not."""
    sink = io.BytesIO()
    set_up_logging(level="debug", sink=sink)  # without the mask: nothing must need it
    async with repeating(status, content_type) as (endpoint, heard):
        settings = load_settings({"ANYTHINGLLM_API_KEY": CANARY, "ANYTHINGLLM_ENDPOINT": endpoint})
        async with AnythingLLMClient(anythingllm_config(settings)) as client:
            said = [repr(client), json.dumps(await client.health_check())]
            for call in (
                client.list_workspaces(),
                client.search_workspace("docs", "a query"),
                client.get_or_create_workspace("docs"),
                client.list_workspace_documents("docs"),
            ):
                with pytest.raises(AnythingLLMError) as failed:
                    await call
                said += [str(failed.value), repr(failed.value)]

    assert any(CANARY in each for each in heard)
    assert [] == [form for text in said for form in _told(text)]
    assert _told(sink.getvalue()) == []


async def test_the_journey_tells_no_secret(make_stage: MakeStage) -> None:
    """Stored, refused and dead-lettered documents: what their publisher sent comes back."""
    sink = io.BytesIO()
    stage: MemoryStage = await make_stage()
    stage.simulator.change_key(CANARY)
    stage.env["ANYTHINGLLM_API_KEY"] = CANARY
    set_up_logging(level="debug", sink=sink)
    trace = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)
    stage.publish(document("good", ["one", "two"]), headers=trace)
    stage.publish(document("bad", [" "]), headers=trace)
    stage.publish(b"no event", key="junk", headers=trace)
    service = stage.start()
    await stage.settled()
    await stage.stop()

    assert set(stage.stored()) == {"good"}
    assert len(stage.dead_letters) == 2
    records = [*stage.as_they_came("results"), *stage.dead_letters]
    told = [part for record in records for part in _parts(record.headers)]
    told += [record.value or b"" for record in records]
    assert [] == [form for text in told for form in _told(text)]
    assert _told(service.metrics.render()) == []
    assert _told(sink.getvalue()) == []


def test_nothing_that_holds_a_secret_shows_it() -> None:
    """A repr comes into a traceback's last line, or into somebody's print, sooner or later."""
    for more in (
        {"KAFKA_SASL_USERNAME": "us", **SECRETS},
        {**OAUTH, "ANYTHINGLLM_API_KEY": CANARY},
    ):
        env = NOWHERE | more
        env.pop("KAFKA_SSL_KEY_PASSWORD", None)  # without TLS it is an error of its own
        settings = load_settings(env)
        connection = kafka_connection(settings)
        shown = [repr(each) for each in (settings, connection, anythingllm_config(settings))]
        shown += [str(settings), str(connection), repr(connection.tokens)]
        assert [] == [form for text in shown for form in _told(text)]


async def test_the_status_page_tells_no_secret() -> None:
    """Its settings and whatever text of it holds one; also one that came while the service ran."""
    renewed = "CANARY-that-came-later"
    set_up_logging(secrets=[CANARY], sink=io.BytesIO())
    mask_also(renewed)
    named = f"in-{CANARY}-and-{renewed}"
    settings = load_settings(
        NOWHERE
        | {"ANYTHINGLLM_API_KEY": CANARY, "KAFKA_GROUP_ID": named}
        | {"KAFKA_SASL_USERNAME": "us", "KAFKA_SASL_PASSWORD": CANARY}
    )
    body = Service(settings)._page.body()

    assert b"in-***-and-***" in body
    assert renewed.encode() not in body
    assert _told(body) == []


@pytest.mark.parametrize("words", [("check",), ("check", "--json"), ("topics", "create")])
def test_commands_tell_no_secret(commands: Commands, words: tuple[str, ...]) -> None:
    """Where nothing answers, so that all they have is settings; and where those are wrong."""
    env = NOWHERE | SECRETS | {"KAFKA_SASL_USERNAME": "us"}
    wrong = commands.run_here(*words, settings=env)
    env.pop("KAFKA_SSL_KEY_PASSWORD")
    ended = [wrong, commands.run_here(*words, settings=env)]
    ended.append(commands.run_here(*words, settings=NOWHERE | OAUTH | {"ANYTHINGLLM_API_KEY": "k"}))

    assert wrong.code == ExitCode.WRONG_USAGE
    assert all(each.code in {ExitCode.FAILED, ExitCode.FOUND} for each in ended[1:])
    assert [] == [form for each in ended for form in _told(each.out + each.err)]


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"]
)
@pytest.mark.parametrize(
    "headers",
    [
        f"Authorization: Bearer {CANARY}",
        f"Authorization Bearer {CANARY}",
        f"'x-key:{CANARY}',tenant=us",
        f"tenant=us,{CANARY}",
        f"x-key={CANARY}\N{LATIN SMALL LETTER E WITH ACUTE}",
        quote(f"Authorization: Bearer {CANARY}"),
    ],
)
def test_headers_for_a_collector_are_told_in_no_form(
    commands: Commands, name: str, headers: str
) -> None:
    """OpenTelemetry repeats in a warning what it can't read."""
    env = NOWHERE | {"ANYTHINGLLM_API_KEY": "k", "TRACING_ENABLED": "true", name: headers}
    env["KAFKA_SECURITY_PROTOCOL"] = "PLAINTEXT"
    ended = commands.run_here("check", settings=env)

    assert ended.code == ExitCode.FOUND
    assert "library.message" in ended.err
    assert _told(ended.out + ended.err) == []


CRASH = """
import sys
from consumer.app.service import Service
from consumer.cli.main import main

def told(self):
    secrets = self._settings.secrets()
    return f"with {secrets} at {self._settings.anythingllm.api_key.get_secret_value()}"

async def at_start(self):
    raise RuntimeError(told(self))

async def in_the_journey(self):
    async def dies():
        inner = ValueError(told(self))
        raise ExceptionGroup(told(self), [inner]) from KeyError(told(self))
    import asyncio
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dies(), name=told(self))

def made(self, settings, **more):
    self._settings = settings
    raise RuntimeError(told(self))

if sys.argv[1] == "made":
    Service.__init__ = made
else:
    Service.run = {"start": at_start, "journey": in_the_journey}[sys.argv[1]]
sys.argv[1:] = sys.argv[2:]
main()
"""


@pytest.mark.slow  # a process each: what a crash writes, it writes at a process's end
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("where", ["made", "start", "journey"])
async def test_a_crash_tells_no_secret(tmp_path: Path, where: str, debug: bool) -> None:
    """Whatever the exception's text, its cause, its group or a task's name hold."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CRASH, where, *(["--debug"] if debug else []), "run"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env=clean_environment(
            tmp_path,
            NOWHERE
            | SECRETS
            | {
                "KAFKA_SASL_USERNAME": "us",
                "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "KAFKA_SSL_CERTFILE": __file__,
                "LOG_LEVEL": "debug" if debug else "info",
            },
        ),
    )
    out, err = await process.communicate()

    assert process.returncode == ExitCode.FAILED, err.decode()
    assert b"***" in err, "the crash said nothing of what it was made to say"
    assert where == "made" or b"service.died" in out
    assert _told(out + err) == []
