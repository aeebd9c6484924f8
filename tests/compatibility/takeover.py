"""Two lives of one AnythingLLM: the first fills it, the second finds it and goes on.

Either can be lived by the present code or by that of commit cdefe5a, which is why nothing but the
world of the virtual tests is used here: both commits have it. Ids and instants of a life are the
same each time; how long it takes and where AnythingLLM puts its files is not, and is not told.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

if __name__ == "__main__":
    # The code to live with is named: its packages come before anything else.
    sys.path[:1] = [sys.argv[1], str(Path(__file__).resolve().parents[2])]

import consumer
from consumer.sandbox.simulator import Options, Simulator
from tests.compatibility.forms import Json, Sent, bytes_in
from tests.virtual.loop import VirtualLoop, virtually
from tests.virtual.world import EPOCH, World, event

AMBIGUITY = 600.0
LATER = 100  # offset of the second life's first record: behind all of the first life's
FOREIGN = {
    "title": "A note",
    "docSource": "a note that a person wrote",
    "docAuthor": "a person",
    "description": "A note",
}
NEWER = '{"alc":2,"of":"a format that nobody knows yet"}'

Headers = tuple[tuple[str, bytes], ...]


class WatchedSimulator(Simulator):
    """A simulated AnythingLLM that keeps what is uploaded as it came, by its ``docSource``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.bodies: dict[str, Json] = {}

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/raw-text"):
            body = orjson.loads(await request.read())
            self.bodies[body["metadata"]["docSource"]] = body
        return await super()._handle(request)


class Life(World):
    """A world that keeps what it published as it went out."""

    def __init__(self, sim: WatchedSimulator, environment: Json) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        super().__init__(loop, sim, 1, environment)
        self.published: list[Json] = []

    async def _publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        await super()._publish(topic, key, value, headers)
        self.published.append(Sent(topic, key, value, headers).form())

    def publish_raw(self, form: Any, *, key: str) -> None:
        """Append a record of these bytes."""
        self.publish(None, key=key)
        self.records[-1] = replace(self.records[-1], value=bytes_in(form))


@asynccontextmanager
async def life(first: int = 0, **environment: str) -> AsyncIterator[Life]:
    """A running life in an AnythingLLM without anything; records before ``first`` are settled."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    setattr(loop, "sockets", True)  # noqa: B010 - only the loop of cdefe5a has it, and needs it
    start = EPOCH.timestamp() + 30 * 86_400
    sim = WatchedSimulator(Options(seed=1), None, lambda: start + loop.now)
    await sim.start()
    lived = Life(sim, environment)
    for _ in range(first):
        lived.publish(None, key="settled")
    lived._committed = first
    try:
        await lived.start()
        yield lived
    finally:
        await lived.crash(commit=False)
        sim.faults.clear()
        await sim.close()


# -- what AnythingLLM holds ------------------------------------------------------------------------


def state_of(lived: Life) -> list[Json]:
    """Its workspaces with what was uploaded into each, by ``docSource``."""
    bodies = lived.sim.bodies  # type: ignore[attr-defined]
    listed = {
        slug: sorted(source for source, _, _ in lived.sim.chunks(slug)) for slug in _slugs(lived)
    }
    return [
        {"workspace": slug, "uploads": [bodies[source] for source in sources]}
        for slug, sources in listed.items()
    ]


async def restore(endpoint: str, api_key: str, state: list[Json]) -> None:
    """Fill an AnythingLLM through its API, as it was filled the first time."""
    headers = {"Authorization": f"Bearer {api_key}"}
    async with aiohttp.ClientSession(endpoint, headers=headers) as session:
        for workspace in state:
            if workspace["workspace"] is not None:
                name = {"name": workspace["workspace"]}
                await _post(session, "/api/v1/workspace/new", name)
            for body in workspace["uploads"]:
                await _post(session, "/api/v1/document/raw-text", body)


async def upload(lived: Life, slug: str, metadata: Json, text: str) -> None:
    """What somebody else puts into a workspace."""
    body = {"textContent": text, "addToWorkspaces": slug, "metadata": metadata}
    headers = {"Authorization": f"Bearer {lived.sim.api_key}"}
    async with aiohttp.ClientSession(lived.sim.endpoint, headers=headers) as session:
        await _post(session, "/api/v1/document/raw-text", body)


async def _post(session: aiohttp.ClientSession, path: str, body: Json) -> None:
    async with session.post(path, json=body) as answer:
        assert answer.status == 200, f"{path}: {answer.status} {await answer.text()}"


# -- the lives -------------------------------------------------------------------------------------

TEXTS = ["One. ガイド 🔔", "Two.\n\n  «two»  ", "Three.", "Four.", "Five."]


def documents() -> dict[str, Json]:
    """What is published first, by id."""
    return {
        "grows": event("grows", TEXTS),
        "shrinks": event("shrinks", TEXTS),
        "goes": event("goes", TEXTS[:2]),
        "returns": event("returns", TEXTS[:2]),
        "stays": event("stays", TEXTS[:3], technology="C# & .NET") | {"title": "Ü. «Ein» 🔔 C#"},
        "doubled": event("doubled", ["same", "same", "other"]),
        "ünï/cödé 日本": event("ünï/cödé 日本", TEXTS[:2]),
        "empties": event("empties", TEXTS[:1]),
        "refused": event("refused", ["fine", "REFUSED by the server"]),
        "all-refused": event("all-refused", ["REFUSED one", "REFUSED two"]),
        "newer": event("newer", ["the newest"], day=9),
    }


async def first(lived: Life) -> None:
    """Documents of every kind are stored, changed, removed, refused."""
    lived.sim.faults.add("status", status=422, path="*/raw-text", contains="REFUSED", body="no")
    for each in documents().values():
        lived.publish(each)
    await lived.settled()
    lived.publish(event("grows", [*TEXTS[:4], "Five, changed."], day=1))
    lived.publish(None, key="goes")
    lived.publish_raw({"base64": "/wB7"}, key="undecodable")
    lived.publish({**event("invalid", ["x"]), "title": " ", "word_count": -1})
    lived.publish({**event("unroutable", ["x"]), "workspace": "No Slug"})
    await lived.settled()
    await upload(lived, "docs", FOREIGN, "A note of a person.")
    await upload(lived, "docs", {**FOREIGN, "docSource": NEWER}, "Of a newer version of us.")


async def second(lived: Life) -> None:
    """What was stored is published again: unchanged, changed, removed, older; what failed, too."""
    again = documents()
    for id in ("stays", "doubled", "ünï/cödé 日本", "refused", "all-refused", "packed"):
        lived.publish(again.get(id) or packed())
    lived.publish(event("grows", [*TEXTS[:3], "Four, changed.", "Five, changed.", "Six."], day=2))
    lived.publish(event("shrinks", TEXTS[:2], day=2))
    lived.publish(event("goes", TEXTS[:2]))
    lived.publish(None, key="returns")
    lived.publish(event("empties", [], day=2))
    lived.publish(event("newer", ["an older one"], day=1))
    lived.publish(event("ahead", ["of the same day, and of an earlier record"]))
    await lived.settled()
    lived.publish(event("returns", TEXTS[:2]))
    await lived.settled()
    await lived.idle(AMBIGUITY + 120)


def packed() -> Json:
    """A document whose chunks lie in two units: an earlier version of us stored several in one."""
    return event("packed", [f"Text {n} of a pack." for n in range(4)])


def ahead() -> Json:
    """A document of a record that lies behind all others: read once more, they are older."""
    return event("ahead", ["of the same day"])


def told(lived: Life) -> Json:
    """What a life did and left, without how long it took."""
    listed = {slug: Counter(c for _, _, c in lived.sim.chunks(slug)) for slug in _slugs(lived)}
    return {
        "results": sorted(map(_result, lived.results), key=lambda each: each["source"]),
        "letters": sorted(map(_letter, lived.letters)),
        "copies": {slug: sorted(map(list, counts.items())) for slug, counts in listed.items()},
        "files": len(lived.sim.state.files),
    }


def _slugs(lived: Life) -> list[str]:
    return sorted(lived.sim.state.workspaces)


def _letter(headers: dict[str, str]) -> list[str]:
    names = ("dlq.reason", "dlq.document-id", "__connect.errors.exception.message")
    return [headers.get(name, "") for name in names]


def _result(result: Json) -> Json:
    left_out = ("at", "started_at", "completed_at", "duration_ms", "trace_id", "event_id")
    fields = {name: value for name, value in result.items() if name not in left_out}
    return {**fields, "source": result["source"]["offset"]}


def story() -> Json:
    """Both lives in one: what they published, with the events and what AnythingLLM holds."""

    async def way() -> Json:
        async with life() as lived:
            await first(lived)
            lived.sim.faults.clear()
            await second(lived)
            return {
                "events": [_recorded(record) for record in lived.records],
                "published": lived.published,
                "state": state_of(lived),
            }

    return _lived(way)  # type: ignore[no-any-return]


def _recorded(record: Any) -> Json:
    sent = Sent(record.at.topic, record.key, record.value, record.headers)
    return {**sent.form(), "timestamp_ms": record.timestamp_ms}


def _lived(way: Callable[[], Awaitable[Any]]) -> Any:
    found: list[Any] = []

    @virtually
    async def run() -> None:
        found.append(await way())

    run()
    return found[0]


def fill(packing: str | None = None) -> Json:
    """The first life, from nothing: what it left, what it did, and what it published.

    Args:
        packing: UPLOAD_CHUNKS_PER_PACK, which cdefe5a does not know.
    """

    async def way() -> Json:
        packs = (
            life()
            if packing is None
            else life(UPLOAD_CHUNKS_PER_PACK=packing, UPLOAD_PACKS_TRIAL="true")
        )
        async with packs as lived:
            await first(lived)
            await lived.idle(AMBIGUITY + 120)
            return {"state": state_of(lived), "told": told(lived)}

    return _lived(way)  # type: ignore[no-any-return]


def take_over(state: list[Json]) -> Json:
    """The second life, in what the first one left."""

    async def way() -> Json:
        async with life(first=LATER) as lived:
            await restore(lived.sim.endpoint, lived.sim.api_key, state)
            lived.sim.journal.clear()
            await second(lived)
            return {"state": state_of(lived), "told": told(lived), "uploads": uploads(lived)}

    return _lived(way)  # type: ignore[no-any-return]


def uploads(lived: Life) -> list[str]:
    """The ``docSource`` of everything that was uploaded, test documents not counted."""
    stored = lived.sim.journal.of("document.stored")
    return sorted(e["doc_source"] for e in stored if e["doc_source"].startswith('{"alc":'))


LIVES: dict[str, Callable[..., Json]] = {"fill": fill, "take-over": take_over, "story": story}

if __name__ == "__main__":
    assert str(consumer.__file__).startswith(sys.argv[1]), "the code of somewhere else is used"
    given = orjson.loads(sys.stdin.buffer.read() or b"[]")
    # Into a file: the log goes to standard output.
    Path(sys.argv[3]).write_bytes(orjson.dumps(LIVES[sys.argv[2]](*given)))
