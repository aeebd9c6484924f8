"""The poison probe: what a pair shows; neither chance nor a pattern fools pairs in a row."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from consumer.model.fault import Failure, Fault
from consumer.model.names import Slug
from consumer.pipeline.gates import Gates
from consumer.pipeline.poison_probe import CutShort, NoTurn, PoisonProbe, Suspect
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.right_to_work import AssignmentRight
from consumer.resilience.blame import MOST_PAIRS, Comparison, Tally
from consumer.resilience.fence import Fence, FenceClosedError
from tests.unit.pipeline.doubles import TRACE, Storage, finishing, gates_of
from tests.virtual.loop import virtually

OWN = "the text of a chunk, which is as long as a chunk's text is"
UNCLEAR = Failure("answered 500", http_status=500)


class _Silent(Failure):
    unanswered = True


SILENT = _Silent("no answer within 120 s")

Embedding = Callable[[str], Failure | None]


def _between(fault: Fault) -> Failure:
    failure = Failure("answered a web page", fault=fault, http_status=200)
    failure.by_intermediary = True
    return failure


class Scene:
    """A probe over an embedder that answers as it is told, and a workspace that does."""

    def __init__(
        self,
        embedding: Embedding = lambda text: None,
        storing: Embedding = lambda text: None,
        *,
        seed: int = 1,
        slots: int = 1,
        threshold: int = 1_000_000,
    ) -> None:
        self.storage = Storage(embedding=embedding, storing_control=storing)
        self.gates: Gates = gates_of(self.storage, threshold=threshold)
        self.slots = asyncio.Semaphore(slots)
        self.fence = Fence("assignment")
        slots_of_uploads = RequestSlots(self.slots, self.gates)
        self.probe = PoisonProbe(self.storage, slots_of_uploads, random.Random(seed))
        self.suspect = Suspect(Slug("docs"), OWN, AssignmentRight(self.fence), TRACE)

    async def embedding(self, so_far: Comparison | None = None) -> Comparison | None:
        return await self.probe.embedding(self.suspect, so_far or Comparison(0.0))

    async def pairs(self, most: int = MOST_PAIRS) -> Comparison | None:
        """Pairs until it is acquitted, would be blamed but for the time, or there are so many."""
        so_far: Comparison | None = Comparison(0.0)
        for _ in range(most):
            so_far = await self.embedding(so_far)
            if so_far is None or so_far.blames(1.0, 0.0):
                break
        return so_far

    def controls(self) -> list[str]:
        """What was sent to the embedder beside the own text."""
        texts = [each.removeprefix("embed ") for each in self.storage.calls if "embed" in each]
        return [text for text in texts if text != OWN]


def _own(failure: Failure) -> Embedding:
    return lambda text: failure if text == OWN else None


def _control(failure: Failure) -> Embedding:
    return lambda text: failure if text != OWN else None


def _both(failure: Failure) -> Embedding:
    return lambda text: failure


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("embedding", "own", "controls"),
    [
        (_own(UNCLEAR), (1, 0, 0), Tally(1, 0)),
        (_own(Failure("422", fault=Fault.DOCUMENT, http_status=422)), (1, 0, 0), Tally(1, 0)),
        (_own(SILENT), (1, 0, 1), Tally(1, 0)),
        (_own(_between(Fault.THEIRS)), (1, 1, 0), Tally(1, 0)),
        (_own(_between(Fault.UNCLEAR)), (1, 1, 0), Tally(1, 0)),
        (_both(UNCLEAR), (1, 0, 0), Tally(1, 1)),
        (_both(_between(Fault.THEIRS)), (1, 1, 0), Tally(1, 1)),
    ],
)
async def test_what_a_pair_counts(
    embedding: Embedding, own: tuple[int, int, int], controls: Tally, seed: int
) -> None:
    """Both texts once, in whichever order; who answered for the own one is kept."""
    found = await Scene(embedding, seed=seed).embedding()

    assert found is not None
    assert (found.own_failures, found.by_intermediary, found.unanswered) == own
    assert found.controls == controls


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("embedding", [lambda text: None, _control(UNCLEAR)])
async def test_one_success_of_its_own_text_acquits(embedding: Embedding, seed: int) -> None:
    """Whatever is wrong, it is not what it says."""
    assert await Scene(embedding, seed=seed).embedding() is None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "failure",
    [
        Failure("no connection", fault=Fault.THEIRS),
        Failure("429", fault=Fault.BUSY, http_status=429),
    ],
)
async def test_an_outage_or_a_rest_ends_the_pair_and_nothing_is_counted(
    failure: Failure, seed: int
) -> None:
    """It would have met any text."""
    with pytest.raises(CutShort):
        await Scene(_own(failure), seed=seed).embedding()


async def test_the_control_is_as_long_as_the_text_and_no_two_are_the_same() -> None:
    """A short one would pass where what is long fails, and a cache would answer for a known one."""
    scene = Scene(_own(UNCLEAR))
    await scene.pairs(5)

    assert [len(text) for text in scene.controls()] == [len(OWN)] * 5
    assert len(set(scene.controls())) == 5


async def test_an_embedder_that_refuses_what_is_long_blames_nobody() -> None:
    """However often it is asked."""
    found = await Scene(lambda text: UNCLEAR if len(text) > 20 else None).pairs()

    assert found is not None
    assert found.controls == Tally(MOST_PAIRS, MOST_PAIRS)


@pytest.mark.parametrize("seed", range(40))
async def test_an_embedder_that_fails_every_second_call_does_not_blame(seed: int) -> None:
    """In strict alternation whoever is second would fail each time."""
    calls = 0

    def embedding(text: str) -> Failure | None:
        nonlocal calls
        calls += 1
        return UNCLEAR if calls % 2 else None

    assert await Scene(embedding, seed=seed).pairs() is None


async def test_an_embedder_that_fails_at_random_blames_nobody_in_a_thousand_tests() -> None:
    """Nor one that fails nine of ten."""
    rng = random.Random(7)
    for share in (0.5, 0.9):
        scene = Scene(lambda text, share=share: UNCLEAR if rng.random() < share else None)  # type: ignore[misc]
        for _ in range(500):
            found = await scene.pairs()
            assert found is None or not found.blames(1.0, 0.0)


async def test_poison_is_told_beside_an_embedder_that_fails_half_its_calls() -> None:
    """Sooner or later: a comparison that can't tell is made anew."""
    rng = random.Random(7)
    scene = Scene(lambda text: UNCLEAR if text == OWN or rng.random() < 0.5 else None)
    found = [await scene.pairs() for _ in range(20)]

    assert None not in found
    assert any(each is not None and each.blames(1.0, 0.0) for each in found)


@pytest.mark.parametrize("seed", range(6))
async def test_test_documents_are_compared_as_embeddings_are(seed: int) -> None:
    """With its own text and with a control, in whichever order."""
    scene = Scene(storing=_own(UNCLEAR), seed=seed)
    found = await scene.probe.storing(scene.suspect, Comparison(0.0))

    assert found is not None
    assert (found.own_failures, found.controls) == (1, Tally(1, 0))
    assert await Scene(seed=seed).probe.storing(scene.suspect, Comparison(0.0)) is None


@pytest.mark.parametrize("seed", range(20))
async def test_uploads_of_controls_are_counted_beside_its_own(seed: int) -> None:
    """One or two at random: against every second upload that fails, a fixed number would blame."""
    scene = Scene(storing=lambda text: UNCLEAR, seed=seed)
    found = await scene.probe.uploading(scene.suspect, _between(Fault.THEIRS), Comparison(0.0))

    assert (found.own_failures, found.by_intermediary) == (1, 1)
    assert found.controls.failures == found.controls.attempts == len(scene.storage.calls)
    assert found.controls.attempts in (1, 2)


@pytest.mark.parametrize(
    ("embedding", "probes"),
    [(_own(UNCLEAR), 0), (_own(_between(Fault.THEIRS)), 0), (_both(UNCLEAR), 1)],
)
async def test_what_the_control_meets_is_told_and_what_a_poison_text_meets_is_not(
    embedding: Embedding, probes: int
) -> None:
    """Thirty poison documents in a row must not look like an outage; a dead embedder must."""
    scene = Scene(embedding, threshold=3)
    watch: asyncio.Task[object] = asyncio.create_task(scene.gates.circuit.watch())
    async with finishing(watch):
        await scene.pairs(3)
        for _ in range(5):
            await asyncio.sleep(0)

    assert scene.storage.calls.count("probe") == probes


@pytest.mark.parametrize("seed", range(4))
async def test_a_rest_that_its_own_text_is_asked_for_is_a_rest_for_all(seed: int) -> None:
    """429 says nothing about the text, and the next document must not ask at once."""
    scene = Scene(_own(Failure("429", fault=Fault.BUSY, retry_after=30)), seed=seed)
    with pytest.raises(CutShort):
        await scene.embedding()

    assert scene.gates.circuit.blocked


async def test_while_nothing_is_to_be_sent_nothing_is_asked() -> None:
    """The pair is made when things are better."""
    scene = Scene(_own(UNCLEAR))
    scene.gates.circuit.note(Failure("429", fault=Fault.BUSY, retry_after=3600))
    with pytest.raises(CutShort):
        await scene.embedding()

    assert scene.storage.calls == []


async def test_it_asks_with_slots_of_uploads_and_a_closed_fence_ends_the_wait() -> None:
    """It is no way around the bound on requests, and no way to outlive an assignment."""
    scene = Scene(_own(UNCLEAR), slots=1)
    await scene.slots.acquire()
    asking: asyncio.Task[object] = asyncio.create_task(scene.embedding())
    async with finishing(asking):
        for _ in range(5):
            await asyncio.sleep(0)
        assert scene.storage.calls == []
        scene.fence.close()
        with pytest.raises(FenceClosedError):
            await asking
    scene.slots.release()
    assert not scene.slots.locked()


@virtually
async def test_a_text_that_finds_no_turn_soon_is_compared_later() -> None:
    """Where each call takes minutes, documents would wait for each other in their places."""
    scene = Scene(_own(UNCLEAR), slots=10)
    for _ in range(10):
        await scene.slots.acquire()
    asking: Sequence[asyncio.Task[object]] = [
        asyncio.create_task(scene.embedding()) for _ in range(2)
    ]
    async with finishing(*asking):
        await asyncio.sleep(0)
        begun = asyncio.get_running_loop().time()
        with pytest.raises(NoTurn):
            await scene.embedding()
        assert asyncio.get_running_loop().time() - begun < 10
        for _ in range(10):
            scene.slots.release()
        await asyncio.gather(*asking)

    assert await scene.embedding() is not None
