"""The simulator misbehaves as asked, as often as asked, and not otherwise."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from consumer.sandbox.simulator import Costs, Simulator
from consumer.sandbox.simulator import simulator as running

RAW_TEXT = "/api/v1/document/raw-text"
AUTH = "/api/v1/auth"


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with the right key and a workspace ``docs`` that has its table."""
    headers = {"Authorization": f"Bearer {simulator.api_key}"}
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(
        simulator.endpoint, headers=headers, timeout=timeout
    ) as session:
        async with session.post("/api/v1/workspace/new", json={"name": "docs"}):
            pass
        await upload(session, "first")
        simulator.journal.clear()
        yield session


async def upload(session: aiohttp.ClientSession, text: str, slug: str = "docs") -> tuple[int, Any]:
    """Status and JSON body of an upload."""
    body = {
        "textContent": text,
        "metadata": {"title": "t", "docSource": text},
        "addToWorkspaces": slug,
    }
    async with session.post(RAW_TEXT, json=body) as response:
        return response.status, await response.json()


def sources(server: Simulator, slug: str = "docs") -> list[str]:
    """The docSource of every searchable row."""
    return [source for source, _, searchable in server.chunks(slug) if searchable]


async def cached(session: aiohttp.ClientSession, answer: Any) -> bool:
    """What the server says of the file that an upload made."""
    name = answer["documents"][0]["location"].rpartition("/")[2]
    async with session.get(f"/api/v1/document/{name}") as response:
        return bool((await response.json())["document"]["cached"])


@pytest.mark.parametrize(
    "switch",
    [
        {"embedder_down": True},
        {"embedder_fails_every": 1},
        {"embedder_poison": ["poison"]},
        {"workspace_dimensions": {"docs": 3}},
        {"embedder_dimension": 3},
        {"rules": [{"kind": "embedder-fails", "times": 1}]},
    ],
    ids=lambda switch: next(iter(switch)),
)
async def test_failing_embedders_answer_success(
    simulator: Simulator, client: aiohttp.ClientSession, switch: dict[str, Any]
) -> None:
    """Whatever the embedder does, the upload says success; only ``cached`` tells."""
    simulator.faults.update(switch)
    status, answer = await upload(client, "a poison text")
    assert (status, answer["success"]) == (200, True)
    assert not await cached(client, answer)
    assert sources(simulator) == ["first"]
    assert simulator.journal.count("embedding.failed", slug="docs") == 1


async def test_poison_is_refused_alone_and_always(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """Other texts pass, adding the file again does not help, the probe fails for that text only."""
    simulator.faults.embedder_poison = ["poison"]
    _, answer = await upload(client, "a poison text")
    adds = {"adds": [answer["documents"][0]["location"]]}
    async with client.post("/api/v1/workspace/docs/update-embeddings", json=adds) as response:
        assert response.status == 200
    await upload(client, "healthy")
    statuses = []
    for text in ("a poison text", "healthy"):
        async with client.post("/api/v1/openai/embeddings", json={"input": [text]}) as response:
            statuses.append(response.status)
    assert sources(simulator) == ["first", "healthy"]
    assert statuses == [500, 200]


async def test_an_embedder_refuses_what_is_long(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """All texts of one call together count, as they do for one that is out of tokens."""
    simulator.faults.embedder_longest = 1_000
    statuses = []
    for texts in (["a" * 1_000], ["a" * 1_001], ["a" * 500, "a" * 501]):
        async with client.post("/api/v1/openai/embeddings", json={"input": texts}) as response:
            statuses.append(response.status)

    assert statuses == [200, 500, 500]


async def test_a_minute_has_so_many_characters(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """A call that is refused takes none: a shorter one may still pass."""
    simulator.faults.embedder_per_minute = 1_000
    statuses = []
    for length in (600, 600, 400, 1):
        texts = ["a" * length]
        async with client.post("/api/v1/openai/embeddings", json={"input": texts}) as response:
            statuses.append(response.status)

    assert statuses == [200, 500, 200, 500]


async def test_every_nth_embedding_fails(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """A flaky embedder fails on a beat, so that tests can count."""
    simulator.faults.embedder_fails_every = 3
    for number in range(6):
        await upload(client, f"{number}")
    assert len(sources(simulator)) == 1 + 4


async def test_a_collector_that_is_down_stores_nothing(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """500 JSON, no file, and the probe says 404."""
    simulator.faults.collector = "down"
    status, answer = await upload(client, "x")
    async with client.get("/api/v1/document/accepted-file-types") as response:
        probe = response.status
    assert (status, answer["success"], probe) == (500, False, 404)
    assert len(simulator.state.files) == 1


async def test_a_frozen_collector_stores_what_the_client_gave_up_on(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """Giving up does not cancel: the upload takes effect when the collector wakes."""
    simulator.faults.collector = "frozen"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await upload(client, "abandoned")
    assert sources(simulator) == ["first"]
    simulator.faults.collector = "up"
    await simulator.journal.wait_for("document.embedded")
    assert sources(simulator) == ["first", "abandoned"]


async def test_fetch_failed_strikes_every_nth_upload(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """The server's stale connection to its collector: 500, nothing stored."""
    simulator.faults.fetch_failed_every = 2
    answers = [await upload(client, f"{number}") for number in range(4)]
    assert sorted(status for status, _ in answers) == [200, 200, 500, 500]
    assert {body["error"] for status, body in answers if status == 500} == {"fetch failed"}
    assert len(simulator.state.files) == 1 + 2


@pytest.mark.parametrize("switch", [{"key_revoked": True}, {"rules": [{"kind": "key-refused"}]}])
async def test_a_revoked_key_is_403(
    simulator: Simulator, client: aiohttp.ClientSession, switch: dict[str, Any]
) -> None:
    """The right key is refused like a wrong one."""
    simulator.faults.update(switch)
    async with client.get(AUTH) as response:
        assert response.status == 403


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("reset", False),
        ("fin", False),
        ("reset-after", True),
        ("fin-after", True),
        ("half-body", True),
        ("large-header", True),
        ("unreadable-header", True),
    ],
)
async def test_broken_connections(
    simulator: Simulator, client: aiohttp.ClientSession, kind: str, *, stored: bool
) -> None:
    """Before or after the upload took effect: the client cannot tell, the rule decides."""
    rule = simulator.faults.add(kind, path="*/raw-text", times=1)
    with pytest.raises(aiohttp.ClientError):
        await upload(client, "unsure")
    assert ("unsure" in sources(simulator)) is stored
    assert rule.fired == 1
    assert (await upload(client, "sure"))[0] == 200


async def test_a_reset_is_a_reset(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    """``reset`` breaks the connection with RST, not with an orderly close."""
    simulator.faults.add("reset")
    with pytest.raises(aiohttp.ClientOSError) as caught:
        async with client.get(AUTH):
            pass
    assert caught.value.errno == errno.ECONNRESET


@pytest.mark.parametrize("kind", ["truncated", "html"])
async def test_answers_that_are_no_json(
    simulator: Simulator, client: aiohttp.ClientSession, kind: str
) -> None:
    """A complete answer with status 200 whose body is not JSON."""
    simulator.faults.add(kind)
    async with client.get(AUTH) as response:
        assert response.status == 200
        with pytest.raises((ValueError, aiohttp.ContentTypeError)):
            await response.json()


async def test_dripping_takes_longer_than_any_single_read(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """Bytes keep coming, so only a limit on the whole call ends it."""
    simulator.faults.add("drip", path=RAW_TEXT, seconds=0.05)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await upload(client, "x" * 2000)


async def test_redirects_point_elsewhere(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """307 keeps method and body: a client that follows sends its key there."""
    simulator.faults.add("redirect", body="http://127.0.0.1:1/")
    async with client.get(AUTH, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (307, "http://127.0.0.1:1/")


async def test_status_rules_end_after_their_times(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """429 twice with its header, then all is well; nothing was stored meanwhile."""
    simulator.faults.add("status", status=429, headers={"Retry-After": "7"}, times=2)
    statuses = []
    for _ in range(3):
        async with client.get(AUTH) as response:
            statuses.append((response.status, response.headers.get("Retry-After")))
    assert statuses == [(429, "7"), (429, "7"), (200, None)]


async def test_rules_pick_by_text_and_count(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """Only matching texts, the first left alone, then every second one."""
    json = {"headers": {"Content-Type": "application/json"}, "body": "{}"}
    simulator.faults.add("status", status=422, contains="bad", skip=1, every=2, **json)
    statuses = [(await upload(client, text))[0] for text in ("bad", "good", "bad", "bad", "bad")]
    assert statuses == [200, 200, 422, 200, 422]


async def test_a_status_may_apply_all_the_same(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """502 from a proxy in front of a server that did its work."""
    json = {"headers": {"Content-Type": "application/json"}, "body": "{}"}
    simulator.faults.add("status", status=502, apply=True, **json)
    assert (await upload(client, "applied"))[0] == 502
    assert sources(simulator) == ["first", "applied"]


@pytest.mark.parametrize("kind", ["status", "reset", "fin"])
async def test_what_a_proxy_gave_up_may_take_effect_later(
    simulator: Simulator, client: aiohttp.ClientSession, kind: str
) -> None:
    """The answer, or none, comes at once; the server is still at it."""
    json = {"headers": {"Content-Type": "application/json"}, "body": "{}"}
    simulator.faults.add(kind, status=504, apply=True, late=0.05, times=1, **json)
    with suppress(aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        assert (await upload(client, "late"))[0] == 504
    assert sources(simulator) == ["first"]
    await simulator.journal.wait_for("document.embedded")
    assert sources(simulator) == ["first", "late"]


async def test_what_was_to_take_effect_later_never_does_once_the_server_is_killed(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """As with everything else that it was at."""
    simulator.faults.add("reset", apply=True, late=0.02, times=1)
    with suppress(aiohttp.ClientOSError):
        await upload(client, "late")
    await simulator.stop()
    await asyncio.sleep(0.05)
    assert sources(simulator) == ["first"]


async def test_lies(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    """Success without storing, and success with another file's location."""
    simulator.faults.add("pretend", times=1)
    status, answer = await upload(client, "not stored")
    async with client.get(
        f"/api/v1/document/{answer['documents'][0]['location'].rpartition('/')[2]}"
    ) as response:
        assert (status, response.status) == (200, 404)
    simulator.faults.add("wrong-location", times=1)
    _, answer = await upload(client, "second")
    first = next(iter(simulator.state.files))
    assert answer["documents"][0]["location"] == first
    assert sources(simulator) == ["first", "second"]


@pytest.mark.parametrize(("kind", "stored"), [("hold", False), ("hold-after", True)])
async def test_held_requests_wait_until_released(
    simulator: Simulator, client: aiohttp.ClientSession, kind: str, *, stored: bool
) -> None:
    """A test can stop a request before or after it took effect, look around, and let it go."""
    rule = simulator.faults.add(kind, path="*/raw-text")
    uploading = asyncio.create_task(upload(client, "held"))
    await simulator.journal.wait_for("request.held")
    assert ("held" in sources(simulator)) is stored
    rule.released = True
    assert (await uploading)[0] == 200
    assert "held" in sources(simulator)


async def test_clearing_faults_lets_held_requests_go(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """No request hangs on a rule that is gone."""
    simulator.faults.add("hold")
    uploading = asyncio.create_task(upload(client, "held"))
    await simulator.journal.wait_for("request.held")
    simulator.faults.clear()
    assert (await uploading)[0] == 200


async def test_a_stopped_server_keeps_what_it_stored(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """Down is refused connections; up again is the same port with everything still there."""
    await simulator.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        async with aiohttp.request("GET", f"{simulator.endpoint}/api/ping"):
            pass
    await simulator.start()
    assert (await upload(client, "again"))[0] == 200
    assert sources(simulator) == ["first", "again"]


async def test_a_server_killed_while_embedding_leaves_an_orphan(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """The file is there, not cached, in no workspace; what waited never takes effect."""
    simulator.faults.embedder_latency = 60
    uploading = asyncio.create_task(upload(client, "orphan"))
    await simulator.journal.wait_for("document.stored")
    await simulator.stop()
    with pytest.raises(aiohttp.ClientError):
        await uploading
    assert sources(simulator) == ["first"]
    assert [file.cache for file in simulator.state.files.values() if file.text == "orphan"] == [
        None
    ]


@pytest.mark.parametrize("count", [2, 5, 20])
async def test_concurrent_first_uploads_lose_some(
    simulator: Simulator, client: aiohttp.ClientSession, count: int
) -> None:
    """All succeed, at least one and not all stay searchable; a wiped one is still listed."""
    async with client.post("/api/v1/workspace/new", json={"name": "fresh"}):
        pass
    answers = await asyncio.gather(*(upload(client, f"{n}", "fresh") for n in range(count)))
    assert all(body["success"] for _, body in answers)
    assert 1 <= len(sources(simulator, "fresh")) < count
    lost_before_listing = simulator.journal.count("embedding.failed", slug="fresh")
    wiped = sum(len(e["locations"]) for e in simulator.journal.of("vectors.wiped", slug="fresh"))
    assert len(simulator.chunks("fresh")) == count - lost_before_listing
    assert len(sources(simulator, "fresh")) == count - lost_before_listing - wiped


async def test_the_race_is_over_once_the_table_exists(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """Fifty at once lose nothing, neither when all rows were removed before."""
    names = {"names": list(simulator.state.files)}
    async with client.delete("/api/v1/system/remove-documents", json=names):
        pass
    await asyncio.gather(*(upload(client, f"{number}") for number in range(50)))
    assert len(sources(simulator)) == 50


async def test_a_deleted_workspace_races_again(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """Deleting drops the table."""
    async with client.delete("/api/v1/workspace/docs"):
        pass
    async with client.post("/api/v1/workspace/new", json={"name": "docs"}):
        pass
    await asyncio.gather(*(upload(client, f"{number}") for number in range(2)))
    assert len(sources(simulator)) == 1


async def test_uploads_share_one_thread_when_they_cost_time() -> None:
    """Costs add up over concurrent uploads, and others wait for the thread, too."""
    async with running(costs=Costs(upload=0.03)) as server:
        headers = {"Authorization": f"Bearer {server.api_key}"}
        async with aiohttp.ClientSession(server.endpoint, headers=headers) as session:
            loop = asyncio.get_running_loop()
            started = loop.time()
            await asyncio.gather(*(upload(session, f"{number}", "") for number in range(5)))
            assert loop.time() - started >= 5 * 0.03


async def test_an_upload_whose_client_leaves_takes_effect(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """A request that was held goes on when it is released, whether or not somebody still waits."""
    rule = simulator.faults.add("hold", path="*/raw-text")
    waiting = asyncio.create_task(upload(client, "late"))
    await simulator.journal.wait_for("request.held")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    rule.released = True
    await simulator.journal.wait_for("document.embedded", slug="docs")

    assert "late" in sources(simulator)


async def test_a_proxy_gives_up_and_the_request_goes_on(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """Its answer comes after a while, and the effect after that."""
    loop = asyncio.get_running_loop()
    simulator.faults.add(
        "status", path="*/raw-text", status=524, seconds=0.1, apply=True, late=0.2, times=1
    )
    begun = loop.time()
    body = {"textContent": "late", "metadata": {"title": "t"}, "addToWorkspaces": "docs"}
    async with client.post(RAW_TEXT, json=body) as response:
        assert response.status == 524
    assert loop.time() - begun >= 0.1
    assert simulator.journal.count("document.stored") == 0
    await simulator.journal.wait_for("document.stored")

    assert loop.time() - begun >= 0.3
