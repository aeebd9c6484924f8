"""The poison probe: a table of verdicts, and that neither chance nor a pattern fools it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from consumer.model.fault import Failure, Fault
from consumer.model.names import Slug
from consumer.pipeline.gates import Gates
from consumer.pipeline.poison_probe import CONTROL_TEXT, PoisonProbe, ProbeEvidence, ProbeVerdict
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.right_to_work import AssignmentRight
from consumer.resilience.blame import Tally
from consumer.resilience.fence import Fence, FenceClosedError
from tests.unit.pipeline.doubles import TRACE, Storage, finishing, gates_of

OWN = "the text of a chunk"
UNCLEAR = Failure("answered 500")

Embedding = Callable[[str], Failure | None]


class Scene:
    """A test over an embedder that answers as it is told."""

    def __init__(
        self, embedding: Embedding, *, seed: int = 1, slots: int = 1, threshold: int = 1_000_000
    ) -> None:
        self.storage = Storage(embedding=embedding)
        self.gates: Gates = gates_of(self.storage, threshold=threshold)
        self.slots = asyncio.Semaphore(slots)
        self.fence = Fence("assignment")
        slots_of_uploads = RequestSlots(self.slots, self.gates)
        self.test = PoisonProbe(self.storage, slots_of_uploads, random.Random(seed))

    async def judge(self) -> ProbeEvidence:
        return await self.test.judge(Slug("docs"), OWN, AssignmentRight(self.fence), trace_id=TRACE)

    def asked(self, text: str) -> int:
        return self.storage.calls.count(f"embed {text}")


def _fails(*texts: str, failure: Failure = UNCLEAR) -> Embedding:
    return lambda text: failure if text in texts else None


def _at_random(share: float, rng: random.Random) -> Embedding:
    return lambda text: UNCLEAR if rng.random() < share else None


@pytest.mark.parametrize(
    ("embedding", "verdict", "pairs"),
    [
        (_fails(), ProbeVerdict.ACQUITTED, 1),
        (_fails(CONTROL_TEXT), ProbeVerdict.ACQUITTED, 1),
        (_fails(OWN), ProbeVerdict.BLAMED, 11),
        (_fails(OWN, failure=Failure("422", fault=Fault.DOCUMENT)), ProbeVerdict.BLAMED, 11),
        (_fails(OWN, CONTROL_TEXT), ProbeVerdict.UNDECIDED, 3),
        (_fails(OWN, failure=Failure("refused", fault=Fault.THEIRS)), ProbeVerdict.UNDECIDED, 1),
        (_fails(OWN, failure=Failure("429", fault=Fault.BUSY)), ProbeVerdict.UNDECIDED, 1),
        (
            _fails(OWN, CONTROL_TEXT, failure=Failure("x", fault=Fault.THEIRS)),
            ProbeVerdict.UNDECIDED,
            1,
        ),
    ],
    ids=[
        "all pass",
        "only control fails",
        "poison",
        "poison, refused",
        "embedder down",
        "server down",
        "busy",
        "all down",
    ],
)
async def test_verdicts(embedding: Embedding, verdict: ProbeVerdict, pairs: int) -> None:
    """One success of its own text acquits; blame takes eleven pairs; doubt decides nothing."""
    scene = Scene(embedding)
    evidence = await scene.judge()

    assert evidence.verdict is verdict
    assert scene.asked(OWN) <= pairs
    assert evidence.controls.attempts <= pairs
    assert not scene.slots.locked()


@pytest.mark.parametrize("seed", range(40))
async def test_an_embedder_that_fails_every_second_call_does_not_blame(seed: int) -> None:
    """In strict alternation whoever is second would fail each time."""
    calls = 0

    def embedding(text: str) -> Failure | None:
        nonlocal calls
        calls += 1
        return UNCLEAR if calls % 2 else None

    assert (await Scene(embedding, seed=seed).judge()).verdict is ProbeVerdict.ACQUITTED


async def test_an_embedder_that_fails_half_its_calls_blames_nobody_in_a_thousand_tests() -> None:
    """Nor one that fails nine of ten."""
    rng = random.Random(7)
    verdicts = set()
    for share in (0.5, 0.9):
        scene = Scene(_at_random(share, rng))
        verdicts |= {(await scene.judge()).verdict for _ in range(500)}

    assert verdicts == {ProbeVerdict.ACQUITTED, ProbeVerdict.UNDECIDED}


async def test_poison_is_told_beside_an_embedder_that_fails_half_its_calls() -> None:
    """Sooner or later: a test that can't tell is made again."""
    rng = random.Random(7)

    def embedding(text: str) -> Failure | None:
        return UNCLEAR if text == OWN or rng.random() < 0.5 else None

    scene = Scene(embedding)
    verdicts = [(await scene.judge()).verdict for _ in range(20)]

    assert ProbeVerdict.ACQUITTED not in verdicts
    assert ProbeVerdict.BLAMED in verdicts


@pytest.mark.parametrize(("texts", "probes"), [((OWN,), 0), ((OWN, CONTROL_TEXT), 1)])
async def test_what_the_control_meets_is_told_and_what_a_poison_text_meets_is_not(
    texts: Sequence[str], probes: int
) -> None:
    """Thirty poison documents in a row must not look like an outage; a dead embedder must."""
    scene = Scene(_fails(*texts), threshold=3)
    watch: asyncio.Task[object] = asyncio.create_task(scene.gates.circuit.watch())
    async with finishing(watch):
        await scene.judge()
        for _ in range(5):
            await asyncio.sleep(0)

    assert scene.storage.calls.count("probe") == probes


@pytest.mark.parametrize("seed", range(4))
async def test_a_rest_that_its_own_text_is_asked_for_is_a_rest_for_all(seed: int) -> None:
    """429 says nothing about the text, and the next document must not ask at once."""
    scene = Scene(_fails(OWN, failure=Failure("429", fault=Fault.BUSY, retry_after=30)), seed=seed)
    await scene.judge()

    assert scene.gates.circuit.blocked


async def test_while_nothing_is_to_be_sent_nothing_is_decided() -> None:
    """The test is made again when things are better."""
    scene = Scene(_fails(OWN))
    scene.gates.circuit.note(Failure("429", fault=Fault.BUSY, retry_after=3600))
    evidence = await scene.judge()

    assert evidence == ProbeEvidence(ProbeVerdict.UNDECIDED, 0, Tally())
    assert scene.storage.calls == []


async def test_it_asks_with_slots_of_uploads_and_a_closed_fence_ends_the_wait() -> None:
    """It is no way around the bound on requests, and no way to outlive an assignment."""
    scene = Scene(_fails(OWN), slots=1)
    await scene.slots.acquire()
    judging: asyncio.Task[object] = asyncio.create_task(scene.judge())
    async with finishing(judging):
        for _ in range(5):
            await asyncio.sleep(0)
        assert scene.storage.calls == []
        scene.fence.close()
        with pytest.raises(FenceClosedError):
            await judging
    scene.slots.release()
    assert not scene.slots.locked()


def test_the_evidence_can_be_read_at_night() -> None:
    """In the dead letter: what failed how often, beside what."""
    evidence = ProbeEvidence(ProbeVerdict.BLAMED, 12, Tally(12, 1))

    assert str(evidence) == (
        "the embedder refused its text 12 of 12 times while 11 of 12 control texts passed"
    )
