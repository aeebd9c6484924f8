"""Orders of things that are unlucky, or would be with little more: how a schedule may begin."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.simulation.schedule import (
    At,
    Change,
    Doc,
    Endpoint,
    Hit,
    Life,
    On,
    Published,
    Tomb,
)

SHORT, LONG = (0.5, 2.0, 5.0, 20.0, 50.0), (125.0, 200.0, 300.0, 500.0)
SLUGS = ("docs", "other", "third")
_OURS = "raw-the-title-of-"
"""In the body of a removal that is an event's; a fault is not spent on test documents."""
_TAKES_AWAY: tuple[Change, ...] = (
    "crash", "crash", "crash", "stop", "start", "rebalance", "rebalance", "freeze", "cut-off",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """How a schedule begins.

    Args:
        history: what is published first.
        faults: what goes wrong.
        life: what befalls somebody.
        partitions: where it matters how many there are.
        takes_long: whether a request of it takes more than two minutes.
        restless: where it matters how often partitions are dealt out anew (`Setup.restless`).
        max_age: where it matters how long an index is believed (`Setup.max_age`).
    """

    history: tuple[Published, ...] = ()
    faults: tuple[Hit, ...] = ()
    life: tuple[Life, ...] = ()
    partitions: int | None = None
    takes_long: bool = False
    restless: float = 0
    max_age: int | None = None


@dataclass(frozen=True)
class Document:
    """What a scene is about: a document in a workspace, and the texts of its versions."""

    id: str
    slug: str
    whole: tuple[str, ...]
    less: tuple[str, ...]
    again: tuple[str, ...]

    @property
    def first(self) -> Doc:
        """Its first version."""
        return Doc(self.id, self.whole, 0, self.slug, At(0), "s0")

    def shorter(self, when: At) -> Doc:
        """The next one, of which something has to be removed."""
        return Doc(self.id, self.less, 1, self.slug, when, "s1")


@dataclass(frozen=True)
class _Hand:
    """What scenes draw with."""

    rng: random.Random
    hit_on: Callable[[Endpoint], Hit]
    changed: Callable[[tuple[str, ...]], tuple[str, ...]]

    def settles(self) -> At:
        return At(self.rng.choice((5.0, 40.0, 1300.0)))

    def in_removal(self) -> On:
        return On("removal", 1, self.rng.choice((0.0, 0.05, 0.3, 0.6, 1.0, 2.0, 6.0)))


def _removal(of: Document, hand: _Hand) -> Scene:
    """A removal goes wrong, and is overtaken."""
    next_one = Doc(of.id, of.again, 2, of.slug, hand.in_removal(), "s2")
    fault = replace(hand.hit_on("removal"), contains=_OURS)
    return Scene((of.first, of.shorter(hand.settles()), next_one), (fault,))


def _taken_away(of: Document, hand: _Hand) -> Scene:
    """Its partition goes in the middle of a removal, which may take effect late."""
    rng, settles = hand.rng, hand.settles()
    end: Published = rng.choice((Tomb(of.id, None, settles), of.shorter(settles)))
    slow = Hit("removal", "delay", seconds=rng.choice(SHORT), times=None)
    late = Hit(
        "removal", "status", contains=_OURS, times=3, apply=True, late=rng.choice(SHORT + LONG)
    )
    next_one = Doc(of.id, of.again, 1, of.slug, hand.in_removal(), "s2")
    what = rng.choice(_TAKES_AWAY)
    who = "B" if what == "start" else "A"
    life = Life(what, hand.in_removal(), who, rng.choice(SHORT))
    history = (of.first, end, next_one) if rng.random() < 0.5 else (of.first, end)
    return Scene(history, (rng.choice((slow, late)),), (life,), takes_long=True)


def _burst(of: Document, hand: _Hand) -> Scene:
    """Versions and a tombstone at once, in any order."""
    days = hand.rng.sample((0, 1, 2, 3), 3)
    versions = [Doc(of.id, hand.changed(of.whole), day, of.slug, At(0), f"s{day}") for day in days]
    orders: list[Published] = [*versions, Tomb(of.id, hand.rng.choice((None, of.slug)), At(0))]
    hand.rng.shuffle(orders)
    return Scene((of.first, *orders))


def _doubt(of: Document, hand: _Hand) -> Scene:
    """An upload goes wrong, and its document is overtaken."""
    rng = hand.rng
    about = rng.choice(of.whole) if rng.random() < 0.7 else ""
    in_doubt = replace(hand.hit_on("upload"), contains=about)
    newer = On("upload", rng.randint(1, 3), rng.choice((0.1, 1.0, 5.0, 125.0)))
    return Scene((of.first, Doc(of.id, of.again, 1, of.slug, newer, "s1")), (in_doubt,))


def _recovers(of: Document, hand: _Hand) -> Scene:
    """A text fails again and again while others pass, too seldom for a proof, and then passes."""
    rng, kinds = hand.rng, ("status", "status", "embedder-fails")
    about, times = rng.choice(of.whole), rng.choice((5, 6))
    fails = Hit("upload", rng.choice(kinds), contains=about, times=times, status=500)
    return Scene((of.first,), (fails,))


def _refused(of: Document, hand: _Hand) -> Scene:
    """A proxy refuses connections while an upload is under way."""
    rng = hand.rng
    slow = Hit("upload", "delay", contains=rng.choice(of.whole), seconds=rng.choice(LONG))
    gone = Life("proxy-away", On("upload", 1, rng.choice((0.5, 30.0))), seconds=0.5)
    return Scene((of.first,), (slow,), (gone,), takes_long=True)


def _restored(of: Document, hand: _Hand) -> Scene:
    """Deleted, and published again."""
    rng, settles = hand.rng, hand.settles()
    tomb = Tomb(of.id, rng.choice((None, None, of.slug)), settles)
    when = rng.choice((At(0), settles))
    back = Doc(of.id, of.again, rng.choice((0, 0, -1)), of.slug, when)
    other = Doc("z", ("other",), 0, rng.choice(SLUGS), At(rng.choice((0.0, 560.0))))
    return Scene((of.first, tomb, back, other))


def _there_and_back(of: Document, hand: _Hand) -> Scene:
    """One of two partitions goes to another member, and comes back."""
    rng, of = hand.rng, replace(of, id="a")  # in the partition that a newcomer gets
    texts = rng.choice((of.whole, of.again))
    back = Doc(of.id, texts, rng.choice((1, 2)), of.slug, At(60.0), "s2")
    # Between the looks of a start, which read everything anew: after 60 seconds and 600.
    comes, goes = At(rng.choice((120.0, 150.0))), At(rng.choice((210.0, 220.0)))
    life = (Life("start", comes, "B"), Life("stop", goes, "B", 700.0))
    return Scene((of.first, of.shorter(At(200.0)), back), life=life, partitions=2, max_age=600)


def _answered(of: Document, hand: _Hand) -> Scene:
    """Its owner dies when it has answered, and not committed."""
    rng = hand.rng
    after = On("result.written", rng.randint(1, 2), rng.choice((0.0, 0.1)))
    dies = Life("crash", after, seconds=rng.choice(SHORT))
    return Scene((of.first, of.shorter(rng.choice((At(0.0), hand.settles())))), life=(dies,))


def _stands_still(of: Document, hand: _Hand) -> Scene:
    """A member stands still, or has no way to Kafka, while another one takes over."""
    rng = hand.rng
    endpoints: tuple[Endpoint, ...] = ("upload", "removal", "listing", "check")
    changes: tuple[Change, ...] = ("freeze", "cut-off")
    endpoint = rng.choice(endpoints)
    slow = Hit(endpoint, "delay", seconds=rng.choice((5.0, 50.0)), times=None)
    moment = On(endpoint, rng.randint(1, 4), rng.choice((0.0, 0.5, 4.0, 30.0)))
    still = Life(rng.choice(changes), moment, "A", rng.choice((50.0, 60.0, 100.0, 300.0)))
    life = (Life("start", At(1.0), "B"), still)
    history = (of.first, of.shorter(At(60.0)))
    return Scene(history, (slow,), life, partitions=rng.choice((1, 2)))


def _cut_off(of: Document, hand: _Hand) -> Scene:
    """A member has much to upload and no way to Kafka, and another one takes over."""
    rng = hand.rng
    slow = Hit("upload", "delay", seconds=rng.choice((20.0, 50.0)), times=None)
    much = replace(of.first, texts=(*of.whole, *(f"{of.id} {n}" for n in range(20))))
    middle = On("upload", rng.randint(1, 6), rng.choice((0.0, 0.5, 4.0)))
    life = (Life("start", At(1.0), "B"), Life("cut-off", middle, "A", rng.choice((60.0, 100.0))))
    return Scene((replace(much, when=At(rng.choice((0.0, 20.0)))),), (slow,), life, partitions=1)


def _reading(of: Document, hand: _Hand) -> Scene:
    """A listing is under way while something is written."""
    rng, seconds = hand.rng, hand.rng.choice(SHORT)
    slow = Hit("listing", "delay", seconds=seconds, times=None, skip=rng.randint(1, 6))
    other = Doc("z", ("other",), 0, of.slug, On("listing", rng.randint(3, 6)))
    in_it = On("removal", 1, rng.choice(SHORT))
    next_one = Doc(of.id, of.again, 2, of.slug, in_it, "s2")
    return Scene((of.first, of.shorter(hand.settles()), other, next_one), (slow,))


def _untidy(of: Document, hand: _Hand) -> Scene:
    """A workspace is proven long after the looks of a start, and its test document stays."""
    rng = hand.rng
    stays = Hit("removal", "status", times=rng.choice((1, 3, None)), status=500)
    return Scene((replace(of.first, when=At(1300.0)),), (stays,))


def _restless(of: Document, hand: _Hand) -> Scene:
    """Rebalances begin in an upload that takes effect late, and never end."""
    rng, about = hand.rng, hand.rng.choice(of.whole)
    late = Hit("upload", "status", contains=about, apply=True, late=rng.choice(LONG))
    begins = Life("rebalance", On("upload", 1, rng.choice((0.5, 5.0, 20.0))))
    more = (of.shorter(hand.settles()),) if rng.random() < 0.3 else ()
    return Scene((of.first, *more), (late,), (begins,), takes_long=True, restless=300)


_SCENES = (
    _removal, _taken_away, _burst, _doubt, _recovers, _refused, _restored, _there_and_back,
    _answered, _stands_still, _cut_off, _reading, _untidy, _restless,
)  # fmt: skip


def scene_of(
    of: Document,
    rng: random.Random,
    hit_on: Callable[[Endpoint], Hit],
    changed: Callable[[tuple[str, ...]], tuple[str, ...]],
) -> Scene:
    """One of them, by lot.

    Args:
        of: what it is about.
        rng: draws the lots.
        hit_on: a fault at an endpoint.
        changed: texts of another version.
    """
    return rng.choice(_SCENES)(of, _Hand(rng, hit_on, changed))
