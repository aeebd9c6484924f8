"""Makes schedules at random, with a liking for unlucky orders.

Small ones find most: few documents with few texts that they share, versions of nearly the same
date, things that happen in the middle of a request. What goes wrong goes wrong at a *moment* more
often than at a time: during a removal, at the second upload, when a result is about to be written.

No request takes effect later than ANYTHINGLLM_AMBIGUITY_SECONDS: what is beyond it nobody promises.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from consumer.sandbox.simulator import VectorDb
from tests.packing import packing_or
from tests.simulation.scenes import LONG, SHORT, SLUGS, Document, Scene, scene_of
from tests.simulation.schedule import (
    At,
    Change,
    Doc,
    Endpoint,
    Hit,
    Life,
    Nothing,
    On,
    Published,
    Replay,
    Schedule,
    Setup,
    Tomb,
    When,
)

T = TypeVar("T")

TEXTS = ("one", "two", "three", "four", "five", "six")
IDS = ("a", "b", "c", "d")
STRANGERS = "strangers"
_MOMENTS = (
    "removal", "removal", "removal", "removal", "upload", "upload", "upload", "listing", "check",
    "result", "result.written", "sentinel", "search", "embed", "commit", "revoked", "assigned",
    "life.crash",
)  # fmt: skip
# A 403 to a removal is none of them: AnythingLLM forbids it, and what was to go stays for good.
_STATUSES = (400, 404, 408, 409, 429, 500, 500, 502, 503, 504, 504, 520, 524)
_REFUSALS = (413, 422)
# What was answered so has taken effect by then, or never does (`consumer.anythingllm.effects`). A
# removal is believed to be refused, after one look: what it was to take stays for the next version.
_OVER = (400, 404, 409, 429)


_DOCUMENTS, _EVENTS, _FAULTS, _LIVES = 4, 12, 4, 4  # at most
_ENDPOINTS: Sequence[tuple[Endpoint, int]] = (
    ("upload", 30), ("removal", 22), ("listing", 14), ("check", 8), ("embed", 4), ("any", 6),
    ("search", 3), ("counts", 3), ("workspaces", 3), ("create", 2), ("key", 1),
    ("collector", 1), ("embedder", 2), ("metrics", 1),
)  # fmt: skip
_KINDS: Sequence[tuple[str, int]] = (
    ("status", 40), ("delay", 22), ("reset-after", 10), ("reset", 8), ("fin-after", 4),
    ("half-body", 6), ("truncated", 4), ("html", 2), ("pretend", 3), ("wrong-location", 2),
    ("embedder-fails", 5), ("fetch-failed", 3), ("key-refused", 1), ("drip", 3),
)  # fmt: skip
_CHANGES: Sequence[tuple[Change, int]] = (
    ("crash", 22), ("stop", 10), ("start", 10), ("rebalance", 14), ("freeze", 5),
    ("cut-off", 5), ("server-restarts", 5), ("proxy-away", 6), ("empty", 3), ("remake", 3),
    ("delete", 2), ("embedder-down", 4), ("collector-frozen", 4),
)  # fmt: skip
_DATABASES: Sequence[tuple[str, int]] = (
    (VectorDb.LANCEDB, 60), (VectorDb.PGVECTOR, 16), (VectorDb.CHROMA, 12), (VectorDb.MILVUS, 12),
)  # fmt: skip
_SEARCHES = 10  # weight of searches where they prove something
_OF_ANY_DATABASE: Sequence[tuple[Change, int]] = (
    ("vectors-refused", 2), ("vectors-kept", 2), ("database-down", 2),
)  # fmt: skip
_OF_DATABASES: Mapping[str, Sequence[tuple[Change, int]]] = {
    VectorDb.PGVECTOR: (("vectors-refused", 14), ("vectors-kept", 14), ("database-down", 10)),
    VectorDb.CHROMA: (
        ("vectors-refused", 5),
        ("vectors-kept", 5),
        ("database-down", 5),
        ("server-restarts", 15),
    ),
    VectorDb.MILVUS: (("vectors-kept", 10), ("database-down", 5), ("vectors-refused", 5)),
}
"""What befalls them beside other things. Only pgvector's table is there before a workspace is: in
one that was made while the embedder had another dimension nothing could ever be stored."""
_OF_DATABASE = frozenset({"vectors-refused", "vectors-kept", "database-down", "dimension"})
_CHANGE_VECTORS = ("upload", "upload", "removal", "removal", "sentinel", "search", "embed")


_LONG = 0.15  # documents with more texts than a pack


def generate(seed: int) -> Schedule:
    """The schedule of a seed; the same one every time.

    Where chunks are packed, it has more of what packs suffer from: removals that AnythingLLM
    forbids, refused texts, documents of several packs, texts that stand in them twice, and packing
    anew.
    """
    if packing_or("1") == "1":
        return _Generator(seed).schedule()
    schedule = _of_packs(_Generator(seed, long=0.5).schedule(), random.Random(f"packs {seed}"))
    schedule = _packed_anew(schedule, random.Random(f"anew {seed}"))
    if "auto" in packing_or("1").split(","):
        # A backlog comes and goes with so few places; with one place each document is one.
        few = random.Random(f"auto {seed}").choice((1, 2, 3, 3, 4))
        schedule = replace(schedule, setup=replace(schedule.setup, in_flight=few))
    return schedule


def _of_packs(schedule: Schedule, rng: random.Random) -> Schedule:
    draw = rng.random()
    if draw < 0.25:
        return _lent(schedule, rng)
    if draw < 0.5:
        return _late(schedule, rng)
    texts = [text for event in schedule.history if isinstance(event, Doc) for text in event.texts]
    faults = schedule.faults
    if texts and rng.random() < 0.5:
        faults = (*faults, _refused(rng.choice(texts)))
    if rng.random() < 0.4:
        faults = (*faults, *_forbidden(rng))
    return replace(schedule, faults=faults)


def _lent(schedule: Schedule, rng: random.Random) -> Schedule:
    """A pack stays that should go, and a later version, which lacks a text, wants some of it."""
    whole = [f"p {n}" for n in range(rng.randint(2, 12))]
    whole += rng.sample(whole, rng.randint(0, 2))
    versions = [whole, *(rng.sample(whole, rng.randint(1, len(whole))) for _ in range(2))]
    versions[2].append("p refused")
    history = [
        Doc("p", tuple(texts), day, when=On("result", day, 1.0) if day else At(0), name=f"p{day}")
        for day, texts in enumerate(versions)
    ]
    faults = (*_forbidden(rng), _refused("p refused"), *schedule.faults)
    return replace(schedule, history=(*history, *schedule.history), faults=faults)


def _late(schedule: Schedule, rng: random.Random) -> Schedule:
    """A process dies, and what it uploads comes when the next one has packed otherwise."""
    texts = [f"p {n}" for n in range(rng.randint(3, 25))]
    texts += rng.sample(texts, rng.choice((0, 1, 3)))
    late = Hit("upload", "delay", contains=rng.choice(texts), seconds=rng.choice((100.0, 300.0)))
    life = Life("crash", On("upload", rng.choice((1, 1, 2, 3)), seconds=1.0), seconds=0.5)
    return replace(
        schedule,
        history=(Doc("p", tuple(texts), name="p"), *schedule.history),
        faults=(late, *schedule.faults),
        life=(life, *schedule.life),
    )


def _packed_anew(schedule: Schedule, rng: random.Random) -> Schedule:
    """What is stored is packed anew; somebody dies of it, or a newer event comes meanwhile."""
    docs = [event for event in schedule.history if isinstance(event, Doc) and event.name]
    if not docs or rng.random() < 0.6:
        return schedule
    doc = rng.choice(docs)
    when = At(rng.choice((0.0, 1.0, 30.0, 700.0)))
    anew: list[Published] = [Replay(doc.name, when, repack=True)]
    if rng.random() < 0.3:
        texts = tuple(doc.texts[1:]) or ("p new",)
        newer = (Tomb(doc.id), Tomb(doc.id, doc.slug), replace(doc, texts=texts, name="newer"))
        anew.append(replace(rng.choice(newer), when=At(rng.choice((0.0, 0.05, 0.3)))))
    life = schedule.life
    if rng.random() < 0.4:
        what = rng.choice(("upload", "upload", "removal"))
        dies = On(what, rng.randint(1, 8), seconds=rng.choice((0.0, 0.01, 1.0)))
        life = (*life, Life("stop" if rng.random() < 0.3 else "crash", dies, seconds=0.5))
    return replace(schedule, history=(*schedule.history, *anew), life=life)


def _refused(text: str) -> Hit:
    return Hit("upload", "status", contains=text, times=None, status=422)


def _forbidden(rng: random.Random) -> tuple[Hit, Hit]:
    skip, times = rng.choice((0, 0, 1)), rng.choice((None, None, 30))
    removal = Hit("removal", "status", skip=skip, times=times, status=403)
    return removal, replace(removal, on="embed", contains="deletes")


class _Generator:
    def __init__(self, seed: int, *, long: float = _LONG) -> None:
        self._seed = seed
        self._long = long  # how often a document has more texts than a pack
        self._rng = random.Random(seed)
        self._changes: Sequence[tuple[Change, int]] = _CHANGES
        self._endpoints: Sequence[tuple[Endpoint, int]] = _ENDPOINTS
        self._kills_inserting = 0.0  # how often a server goes between a vector and its row
        self._long_left = True  # at most one thing takes long: delays of one request add up

    def schedule(self) -> Schedule:
        rng = self._rng
        setup = self._setup()
        self._with_database(setup)
        scene = self._scene() if self._happens(0.5) else Scene()
        if scene.partitions is not None:
            setup = replace(setup, partitions=scene.partitions, begins=0)
        if scene.restless:
            setup = replace(setup, restless=scene.restless)
        if scene.max_age is not None:
            setup = replace(setup, max_age=scene.max_age)
        history = (*scene.history, *self._history(scene))
        most = _EVENTS if not scene.history else _EVENTS // 2
        history = history[: len(scene.history) + rng.randint(0 if scene.history else 1, most)]
        hits = tuple(self._hit(history) for _ in range(self._few(_FAULTS)))
        lives = tuple(self._life(history) for _ in range(self._few(_LIVES)))
        faults, life = (*scene.faults, *hits), (*scene.life, *lives)
        if STRANGERS in setup.prepared and self._happens(0.5):
            stays = Hit("listing", "status", STRANGERS, times=None, status=500, stays=True)
            faults = (*faults, stays)
        return Schedule(rng.getrandbits(32), setup, history, faults, life)

    def _setup(self) -> Setup:
        rng = self._rng
        vector_db = self._weighted(_DATABASES)
        late = (0, 0, 2, 8) if vector_db == VectorDb.MILVUS else (0,)
        prepared = tuple(slug for slug in SLUGS if self._happens(0.65))
        if self._happens(0.15):
            prepared = (*prepared, STRANGERS)
        return Setup(
            partitions=rng.choice((1, 1, 1, 2)),
            prepared=prepared,
            begins=rng.choice((0, 0, 1300)),
            latency=rng.choice((0.0, 0.02, 0.02, 0.3)),
            max_age=rng.choice((600, 600, 60)),
            commit_every=rng.choice((1.0, 1.0, 5.0, 0.2)),
            in_flight=rng.choice((32, 32, 32, 2, 1)),
            per_document=rng.choice((5, 5, 1)),
            restless=300 if self._happens(0.05) else 0,
            vector_db=vector_db,
            visible_after=rng.choice(late),
        )

    def _with_database(self, setup: Setup) -> None:
        name = setup.vector_db
        changes = [*_CHANGES, *_OF_DATABASES.get(name, _OF_ANY_DATABASE)]
        if name == VectorDb.PGVECTOR and setup.prepared:
            changes.append(("dimension", 10))
        self._changes = changes
        self._kills_inserting = 0.7 if name == VectorDb.CHROMA else 0.0
        self._endpoints = list(_ENDPOINTS)
        if name != VectorDb.LANCEDB:
            self._endpoints.append(("search", _SEARCHES))

    def _history(self, scene: Scene) -> tuple[Published, ...]:
        rng = self._rng
        ids = IDS[: min(rng.choice((1, 1, 2, 2, 3, 4)), _DOCUMENTS)]
        slugs = SLUGS[: rng.choice((1, 1, 1, 2, 3))]
        spread = rng.choice((0.0, 0.2, 0.5, 0.8))  # how much of it is no burst
        docs = [event for event in scene.history if isinstance(event, Doc)]
        history: list[Published] = []
        for n in range(_EVENTS):
            id = rng.choice(ids)
            when = self._when(spread) if history or docs else At(0)
            former = [doc for doc in docs if doc.id == id]
            draw = rng.random()
            if draw < 0.16 and former:
                slug = rng.choice((None, None, former[-1].slug))
                history.append(Tomb(id, slug, when))
            elif draw < 0.22 and docs:
                history.append(Replay(rng.choice(docs).name, when))
            elif draw < 0.26:
                history.append(Nothing(id, when))
            else:
                docs.append(self._doc(id, former, slugs, when, f"e{n}"))
                history.append(docs[-1])
        return tuple(history)

    def _scene(self) -> Scene:
        rng, id, slug = self._rng, self._rng.choice(IDS[:2]), self._rng.choice(SLUGS[:2])
        whole = self._texts(id)
        less = tuple(rng.sample(whole, rng.randint(0, max(len(whole) - 1, 0))))
        document = Document(id, slug, whole, less, rng.choice((whole, self._changed(whole))))
        scene = scene_of(document, rng, self._hit_on, self._changed)
        self._long_left = self._long_left and not scene.takes_long
        return scene

    def _doc(
        self, id: str, before: Sequence[Doc], slugs: Sequence[str], when: When, name: str
    ) -> Doc:
        rng = self._rng
        if not before:
            texts = self._texts(id)
            return Doc(id, texts, rng.choice((0, 0, 1, 2)), rng.choice(slugs), when, name)
        former = before[-1]
        if self._happens(0.2):  # what was there before comes back
            former = rng.choice(before)
            if self._happens(0.5):
                return replace(former, when=when, name=name)
        steps = (0, 0, 1, 1, 1, 2, -1, -1)
        day = (former.day or 0) + rng.choice(steps)
        slug = former.slug if self._happens(0.85) else rng.choice(slugs)
        odd = self._happens(0.05)
        dated = rng.choice((None, None, 40)) if odd else day
        return Doc(id, self._changed(former.texts), dated, slug, when, name)

    def _texts(self, id: str) -> tuple[str, ...]:
        rng = self._rng
        if self._happens(self._long):
            texts = [f"{id} {n}" for n in range(rng.randint(11, 26))]
            if self._long > _LONG and self._happens(0.5):
                texts += rng.sample(texts, rng.randint(1, 3))
            return tuple(texts)
        texts = rng.sample(TEXTS, rng.randint(1, 4))
        if self._happens(0.15):
            texts.append(rng.choice(texts))
        return tuple(texts)

    def _changed(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        rng, left = self._rng, list(texts)
        match rng.choice(("same", "same", "fewer", "fewer", "more", "other", "empty", "invalid")):
            case "fewer":
                left = rng.sample(left, rng.randint(min(1, len(left)), len(left)))
            case "more":
                left += rng.sample(TEXTS, rng.randint(1, 3))
            case "other":
                left = list(self._texts("a"))
            case "empty":
                left = [] if self._happens(0.5) else left[:1]
            case "invalid":
                left = ["", *left] if self._happens(0.3) else left[::-1]
        return tuple(left)

    def _when(self, spread: float) -> When:
        rng = self._rng
        if self._happens(0.25):
            return self._moment()
        if not self._happens(spread):
            return At(0)
        return At(rng.choice((0.05, 0.3, 1.0, 5.0, 30.0, 130.0, 650.0, 1500.0)))

    def _moment(self) -> On:
        rng = self._rng
        return On(
            rng.choice(_MOMENTS),
            rng.choice((1, 1, 1, 2, 2, 3, 4, 6)),
            rng.choice((0.0, 0.0, 0.0, 0.01, 0.1, 1.0, 3.0, 25.0, 140.0)),
            rng.choice((0, 0, 1, 2, 3, 5, 8, 13)),
        )

    def _hit(self, history: Sequence[Published]) -> Hit:
        rng = self._rng
        on = self._weighted(self._endpoints)
        texts = [text for event in history if isinstance(event, Doc) for text in event.texts]
        about = rng.choice(texts) if texts and on == "upload" and self._happens(0.4) else ""
        return replace(self._hit_on(on), contains=about)

    def _hit_on(self, on: Endpoint) -> Hit:
        rng = self._rng
        kind = self._weighted(_KINDS)
        if kind == "key-refused" and on in ("removal", "any"):
            on = "listing"  # see `_STATUSES`
        status = rng.choice(_STATUSES)
        if on == "upload" and kind == "status" and self._happens(0.15):
            status = rng.choice(_REFUSALS)
        applies = kind in ("status", "reset", "html") and status not in _REFUSALS
        apply = applies and self._happens(0.5)
        late = self._seconds() if apply and self._happens(0.5) else 0.0
        if kind == "status" and status in _OVER and on in ("removal", "embed", "any"):
            late = 0.0
        return Hit(
            on,
            kind,
            skip=rng.choice((0, 0, 0, 1, 1, 2, 3, 5)),
            times=rng.choice((1, 1, 1, 1, 2, 3, 6, None)),
            status=status,
            seconds=self._seconds() if kind == "delay" else 1.0 if kind == "drip" else 0.0,
            apply=apply,
            late=late,
            retry_after=rng.choice((1, 20)) if status == 429 else None,
        )

    def _seconds(self) -> float:
        if self._long_left and self._happens(0.4):
            self._long_left = False
            return self._rng.choice(LONG)
        return self._rng.choice(SHORT)

    def _life(self, history: Sequence[Published]) -> Life:
        rng = self._rng
        what = self._weighted(self._changes)
        when = self._moment() if self._happens(0.65) else At(rng.uniform(0, 700))
        if what in _OF_DATABASE and self._happens(0.8):
            when = replace(self._moment(), what=rng.choice(_CHANGE_VECTORS))
        if what == "server-restarts" and self._happens(self._kills_inserting):
            when = On("insert", rng.choice((1, 1, 2, 3, 5)), rng.choice((0.0, 0.0, 0.007)))
        slugs = [event.slug for event in history if isinstance(event, Doc)] or ["docs"]
        who = "B" if what == "start" else rng.choice("AAAB")
        seconds = rng.choice((0.5, 5.0, 20.0, 50.0, 100.0, 300.0))
        if what == "collector-frozen":
            seconds = min(seconds, 20.0)
        return Life(what, when, who, seconds, rng.choice(slugs))

    def _few(self, most: int) -> int:
        return min(self._rng.choice((0, 0, 1, 1, 1, 2, 2, 3, 4)), most)

    def _happens(self, share: float) -> bool:
        return self._rng.random() < share

    def _weighted(self, choices: Sequence[tuple[T, int]]) -> T:
        values = [value for value, _ in choices]
        return self._rng.choices(values, [weight for _, weight in choices])[0]
