"""One cell of the matrix: a behaviour meets an operation, in virtual time with default settings.

What is played is a day in small: new documents, new versions, tombstones, a workspace that is not
there yet, a text that the embedder refuses, searches by others. What is judged is the same in
every cell, whatever the behaviour is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from consumer.anythingllm import AnythingLLMError
from consumer.model.marker import decode_marker
from consumer.model.packing import contents_of
from consumer.sandbox.simulator import Options, VectorDb
from tests.between.behaviours import BEHAVIOURS, PHRASE, Only, Restarts
from tests.between.operations import OPERATIONS
from tests.between.proxy import Proxy, between
from tests.virtual.world import HOUR, World, event, world

SERVER_PORT = 3001
AMBIGUITY = 600.0  # seconds, the default
WINDOW = 900.0  # seconds that a behaviour lasts where it lasts
SETTLES = 2 * AMBIGUITY  # seconds until everything is settled once it is over
OWN_FAULT = 2 * HOUR  # seconds until one that lasts is answered for
OTHERS = 120.0  # seconds until what has nothing to do with it is settled
RATE = 1.0  # requests a second that it may meet, on average: nobody is asked in a loop
FORBIDS = ("answers-401", "answers-403")  # what AnythingLLM may have forbidden itself
POISON = "a text that the embedder can't take"


@dataclass(frozen=True, slots=True)
class Cell:
    """What meets what.

    Args:
        behaviour: by its name.
        operation: by its name.
        lasts: for `WINDOW` seconds (or for ever, where it is set up like that); else it strikes
            one request.
    """

    behaviour: str
    operation: str
    lasts: bool

    def __str__(self) -> str:
        return f"{self.behaviour}-{self.operation}-{'lasts' if self.lasts else 'once'}"

    @property
    def for_ever(self) -> bool:
        """Whether nobody ever ends it."""
        return BEHAVIOURS[self.behaviour].lasts

    @property
    def vector_db(self) -> VectorDb:
        """Where a search proves every chunk, for what searches meet."""
        return VectorDb.PGVECTOR if self.operation == "search" else VectorDb.LANCEDB


@dataclass(slots=True)
class Figures:
    """What came of it; everything is judged, nothing raised.

    Args:
        struck: requests that the behaviour struck.
        settled: seconds from its begin until every event was settled; None: never.
        others: the same for the documents of another workspace that were published meanwhile.
        repeats: chunks that were uploaded although they had been before.
        letters: documents with a dead letter.
        wrong: what must not be, in words.
    """

    struck: int = 0
    settled: float | None = None
    others: float | None = None
    repeats: int = 0
    letters: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@asynccontextmanager
async def stage(vector_db: str = VectorDb.LANCEDB) -> AsyncIterator[tuple[World, Proxy]]:
    """A world with a proxy in between; call it on a virtual loop."""
    server = f"http://127.0.0.1:{SERVER_PORT}"
    async with (
        between(server) as proxy,
        world(
            options=Options(port=SERVER_PORT, vector_db=vector_db),
            ANYTHINGLLM_ENDPOINT=proxy.endpoint,
            BREAKER_RECOVERY_SECONDS="60",
        ) as w,
    ):
        proxy.server = w.sim
        w.sim.faults.latency = 0.02
        yield w, proxy


FRESH = ("proof", "readiness", "creation", "search", "listing", "embedding")
"""Operations that a workspace which is not there yet has to do with."""

BEFORE = {
    "kept": ["kept one", "kept two"],
    "shrinks": ["shrinks one", "shrinks two", "shrinks three"],
    "gone": ["gone one", "gone two"],
}
DURING = {
    "new": ["new one", "new two", "new three"],
    "shrinks": ["shrinks one", "shrinks 2"],
}
BLOCKED = ["blocked one", f"blocked two {PHRASE}", "blocked three"]


async def played(cell: Cell) -> Figures:
    """Play a cell; call it on a virtual loop."""
    async with stage(cell.vector_db) as (w, proxy):
        for id, texts in BEFORE.items():
            w.publish(event(id, texts))
        w.publish(event("other0", ["other zero"], technology="others"))
        await w.settled()
        await w.idle(AMBIGUITY + 120)
        figures = Figures()
        begun = w.loop.now
        struck = proxy.behave(
            BEHAVIOURS[cell.behaviour], OPERATIONS[cell.operation], None if cell.lasts else 1
        )
        await _publish(w, cell)
        await _others(w, figures)
        if cell.lasts and not cell.for_ever:
            await w.idle(max(0.0, begun + WINDOW - w.loop.now))
            proxy.well()
        await _settle(w, cell, figures, begun)
        if figures.settled is not None:
            await w.idle(3 * AMBIGUITY)
        figures.struck = struck.count
        _judge(w, cell, figures)
        proxy.well()
        return figures


async def _publish(w: World, cell: Cell) -> None:
    """A day in small. What others ask is not answered for here; it must only harm nobody."""
    for id, texts in DURING.items():
        w.publish(event(id, texts, day=1))
    w.publish(None, key="gone")
    if cell.operation in FRESH:
        w.publish(event("fresh", ["fresh one", "fresh two"], technology="fresh"))
    if cell.operation == "embedding":
        w.sim.faults.embedder_poison = [POISON]
        w.publish(event("poison", ["poison one", POISON]))
    if BEHAVIOURS[cell.behaviour].only is Only.PHRASE:
        w.publish(event("blocked", _blocked(cell)))
    if cell.operation == "search":
        with suppress(AnythingLLMError):
            await w.client.search_workspace("docs", "kept one")


def _blocked(cell: Cell) -> list[str]:
    """Of the document that has the phrase; on pgvector a text of its own searches for it."""
    match cell.operation:
        case "embedding":
            return [*BLOCKED, f"{POISON} {PHRASE}"]
        case "search":
            return [BLOCKED[1]]
    return BLOCKED


async def _others(w: World, figures: Figures) -> None:
    begun = w.loop.now
    offset = w.publish(event("other1", ["other one", "other two"], technology="others"))
    try:
        await w._until(lambda: _answered(w, offset), OTHERS)
    except TimeoutError:
        return
    figures.others = w.loop.now - begun


def _answered(w: World, offset: int) -> bool:
    return any(result["source"]["offset"] == offset for result in w.results)


async def _settle(w: World, cell: Cell, figures: Figures, begun: float) -> None:
    try:
        await w.settled(within=OWN_FAULT if cell.for_ever else SETTLES)
    except TimeoutError:
        figures.wrong.append(f"waits for ever: {_unanswered(w) or 'a commit'}")
    else:
        figures.settled = w.loop.now - begun


def _unanswered(w: World) -> list[str]:
    done = {result["source"]["offset"] for result in w.results}
    waiting = (record for record in w.records if record.at.offset not in done)
    return sorted({(record.key or b"").decode() for record in waiting})


def _judge(w: World, cell: Cell, figures: Figures) -> None:
    figures.letters = sorted({letter["dlq.identity"] for letter in w.letters})
    figures.repeats = _repeats(w)
    fallen = _blamable(cell) & {*figures.letters}
    reasons = sorted({letter["dlq.reason"] for letter in w.letters})
    if unfair := {*figures.letters} - fallen:
        figures.wrong.append(f"dead letters of {sorted(unfair)}: {reasons}")
    figures.wrong += _misplaced(_texts(w), _wanted(cell), fallen)
    is_outage = cell.lasts and not cell.for_ever
    if figures.others is None and not is_outage and not _struck_all(cell):
        figures.wrong.append(f"others were not settled within {OTHERS:.0f} s")
    if figures.struck > RATE * WINDOW and not cell.for_ever:
        figures.wrong.append(f"asked {figures.struck} times")


def _misplaced(
    stored: Counter[str], wanted: Mapping[str, Sequence[str]], fallen: Collection[str]
) -> Iterator[str]:
    """What is lost, double or left; of documents that have fallen only what is double."""
    texts = {text for each in wanted.values() for text in each}
    kept = {text for id, each in wanted.items() if id not in fallen for text in each}
    yield from (f"lost: {text!r}" for text in sorted(kept - stored.keys()))
    yield from (f"{copies} copies of {text!r}" for text, copies in stored.items() if copies > 1)
    left = sorted(text for text in stored.keys() - texts if _id_of(text) not in fallen)
    yield from (f"still there: {text!r}" for text in left)


def _struck_all(cell: Cell) -> bool:
    """Whether it concerns everybody: nobody can be served by a proxy that is not there."""
    return isinstance(BEHAVIOURS[cell.behaviour].way, Restarts)


def _wanted(cell: Cell) -> dict[str, list[str]]:
    wanted = {
        "kept": BEFORE["kept"],
        **DURING,
        "other0": ["other zero"],
        "other1": ["other one", "other two"],
    }
    if cell.operation in FRESH:
        wanted["fresh"] = ["fresh one", "fresh two"]
    if cell.operation == "embedding":
        wanted["poison"] = ["poison one"]
    if BEHAVIOURS[cell.behaviour].only is Only.PHRASE:
        wanted["blocked"] = _blocked(cell)
    return wanted


def _blamable(cell: Cell) -> set[str]:
    """Whose own fault it may be."""
    blamable = {"poison"} if cell.operation == "embedding" else set[str]()
    match BEHAVIOURS[cell.behaviour].only:
        case Only.PHRASE:
            blamable.add("blocked")
        case Only.DELETE_BODY:
            blamable |= {"shrinks", "gone"}
    if cell.operation == "upload" and cell.behaviour.startswith(("answers-413", "answers-422")):
        blamable |= {"new", "shrinks", "other1"}
    if cell.operation == "removal" and cell.lasts and cell.behaviour in FORBIDS:
        blamable |= {"shrinks", "gone"}  # refused for longer than is asked again
    return blamable


def _id_of(text: str) -> str:
    return text.split(" ", maxsplit=1)[0]


def _texts(w: World) -> Counter[str]:
    """Every text of a document that a search can find, in all workspaces, listed or not."""
    found: Counter[str] = Counter()
    for slug in w.sim.state.workspaces:
        for source, text, copies in w.sim.chunks(slug):
            if decode_marker(source) is not None:
                found.update(dict.fromkeys(contents_of(text), copies))
    return +found


def _repeats(w: World) -> int:
    sent: Counter[str] = Counter()
    for entry in w.sim.journal.of("document.stored"):
        if decode_marker(entry["doc_source"]) is not None:
            sent[entry["sha256"]] += 1
    return sum(sent.values()) - len(sent)
