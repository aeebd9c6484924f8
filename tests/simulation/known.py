"""Schedules under which something went wrong once, made small by the search."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.findings import Wrong
from tests.simulation.schedule import At, Doc, Hit, Life, Nothing, On, Schedule, Setup, Tomb


@dataclass(frozen=True)
class Known:
    """A schedule that failed.

    Args:
        schedule: of the search, made small.
        unmended: which fault it is, while it still fails; "" once it is mended. Who mends it has
            to take the text out.
    """

    schedule: Schedule
    unmended: str = ""


_DEAD = "kind 4: what a dead or stopped process had in doubt is looked for by nobody"
_PAUSED = "a paused workspace that nobody waits for any more stays paused"

KNOWN: dict[str, Known] = {
    "a removal that was applied without an answer, overtaken in its pause": Known(
        Schedule(
            560237044,
            history=(
                Doc("a", ("six",), slug="other"),
                Doc("a", ("one",), day=1, slug="other"),
                Doc("a", ("six",), day=1, slug="other", when=On("removal", seconds=0.3)),
            ),
            faults=(Hit("removal", "half-body", times=3),),
        ),
    ),
    "the same, and the version that was to remove has no text at all": Known(
        Schedule(
            1844388618,
            Setup(prepared=("other",)),
            history=(
                Doc("b", ("four",), slug="other"),
                Doc("b", (), day=1, slug="other", when=At(1300.0)),
                Doc("b", ("four",), day=1, slug="other"),
            ),
            faults=(Hit("removal", "status", apply=True),),
        ),
    ),
    "the same in a workspace that was made anew before": Known(
        Schedule(
            1745535098,
            Setup(prepared=("docs",), begins=1300),
            history=(
                Doc("a", ("two",)),
                Doc("a", ("one",), day=1, when=At(40.0)),
                Doc("a", ("three", "one", "two"), day=None),
                Doc("a", ("one",), day=1, when=At(0.3)),
            ),
            faults=(Hit("removal", "status", times=None, apply=True),),
            life=(Life("remake", At(0), seconds=0.5),),
        ),
    ),
    "overtaken again and again while removals lose their answers": Known(
        Schedule(
            1750911466,
            history=(
                Doc("a", ("four",), day=1, slug="other"),
                Doc("a", ("five", "three"), day=1, slug="other"),
                Doc("a", ("four",), day=1, slug="other", when=On("upload", nth=3)),
                Doc("a", (), day=1, when=On("sentinel", nth=3)),
            ),
            faults=(Hit("removal", "half-body", times=3),),
        ),
    ),
    "a removal of two requests, and the partition goes in the first one": Known(
        Schedule(
            3916869830,
            history=(Doc("b", tuple(f"b {n}" for n in range(11))), Tomb("b")),
            faults=(Hit("removal", "delay", times=None, seconds=20.0),),
            life=(Life("rebalance", On("removal", seconds=2.0), seconds=0.5),),
        ),
    ),
    "a burst: a version, a newer one, a tombstone, one of a date in between": Known(
        Schedule(
            1043280665,
            history=(
                Doc("a", ("a 0",), day=1),
                Doc("a", ("a 2",), day=2),
                Tomb("a", slug="docs"),
                Doc("a", ("a 0",), day=1),
            ),
        ),
    ),
    "published twice unchanged, deleted, published again with an older date": Known(
        Schedule(
            2503259194,
            history=(
                Doc("b", ("three",)),
                Doc("b", ("three",)),
                Tomb("b", slug="docs"),
                Doc("b", ("six",), day=-1),
            ),
        ),
    ),
    "a tombstone for all workspaces, and an older date in another one": Known(
        Schedule(
            2813275047,
            history=(
                Doc("a", ("six",)),
                Doc("a", ("six",), day=3, slug="other"),
                Tomb("a"),
                Doc("a", ("six",), day=1, slug="other"),
            ),
        ),
    ),
    "refused by a proxy although it was stored, in steady state": Known(
        Schedule(
            2718427885,
            Setup(begins=1300, prepared=("docs",)),
            history=(Doc("b", ("three", "two", "one"), day=1), Doc("b", ("one",), when=At(900.0))),
            faults=(Hit("upload", "status", skip=2, apply=True),),
        ),
    ),
    "the same, and then it is emptied": Known(
        Schedule(
            984953955,
            Setup(begins=1300, prepared=("other",)),
            history=(
                Doc("a", ("one", "three"), slug="other"),
                Doc("a", (), day=1, slug="other", when=At(40.0)),
            ),
            faults=(Hit("upload", "status", skip=1, apply=True),),
        ),
    ),
    "the same, and then it is deleted": Known(
        Schedule(
            715611740,
            Setup(begins=1300, prepared=("docs",)),
            history=(Doc("b", ("three", "one"), day=1), Tomb("b", slug="docs", when=At(5.0))),
            faults=(Hit("upload", "status", skip=1, apply=True),),
        ),
    ),
    "an upload in doubt is overtaken, and the process dies before the look": Known(
        Schedule(
            1043659838,
            history=(
                Doc("a", ("three",), day=1, slug="other"),
                Doc("a", ("three",), day=1, slug="other"),
            ),
            faults=(Hit("upload", "reset", contains="three", apply=True),),
            life=(Life("crash", On("revoked", seconds=25.0), seconds=0.5),),
        ),
        _DEAD,
    ),
    "the same, and the partition goes and comes back before the look": Known(
        Schedule(
            1428283789,
            history=(
                Doc("a", ("one",), day=1, slug="other"),
                Doc("a", ("one",), day=1, slug="other"),
            ),
            faults=(Hit("upload", "truncated", contains="one"),),
            life=(Life("rebalance", At(300.0)),),
        ),
    ),
    "the same with a stop": Known(
        Schedule(
            1474307277,
            history=(Doc("a", ("five",), day=1), Doc("a", ("five",), day=1)),
            faults=(Hit("upload", "fin-after", contains="five"),),
            life=(Life("stop", At(300.0), seconds=0.5),),
        ),
    ),
    "an upload that comes late, its version overtaken, its process stopped": Known(
        Schedule(
            123455180,
            history=(
                Doc("a", ("five",), day=1, slug="other"),
                Doc("a", ("one",), day=1, slug="other"),
            ),
            faults=(Hit("upload", "delay", contains="five", seconds=200.0),),
            life=(Life("stop", On("listing", seconds=140.0), seconds=0.5),),
        ),
        _DEAD,
    ),
    "a double, and a rebalance every five minutes": Known(
        Schedule(
            2584391678,
            Setup(restless=300),
            history=(Doc("a", ("five",), day=1),),
            faults=(Hit("upload", "status", contains="five", apply=True),),
        ),
    ),
    "a tombstone for all workspaces, one of which can't be listed": Known(
        Schedule(
            1190273333,
            Setup(prepared=("docs", "strangers")),
            history=(Doc("a", ("two",)), Tomb("a", when=At(40.0))),
            faults=(Hit("listing", "status", "strangers", times=None, status=500, stays=True),),
        ),
    ),
    "a transaction's marker is the last thing in a partition": Known(
        Schedule(374445367, history=(Doc("b", ("one",)), Nothing("b"), Nothing("b"))),
    ),
    "killed while a workspace is proven": Known(
        Schedule(
            1908608514,
            history=(Doc("a", ("three",), day=1),),
            life=(Life("crash", On("search"), seconds=0.5),),
        ),
    ),
    "a test document that a proxy refused, and that is stored all the same": Known(
        Schedule(
            188634613,
            history=(Doc("b", ("b 0",), day=1), Doc("a", ("a 0",), day=1, when=At(400.0))),
            faults=(Hit("upload", "status", apply=True, late=5.0),),
        ),
    ),
    "stopped in order while a document waits and one behind it is answered": Known(
        Schedule(
            3966723669,
            history=(Doc("b", ("one",)), Doc("b", ("five",), day=1, slug="other")),
            faults=(Hit("upload", "status"),),
            life=(Life("stop", On("upload"), seconds=0.5),),
        ),
    ),
    "a document that waits for a sick workspace is overtaken by one that is empty": Known(
        Schedule(
            2934647558,
            history=(Doc("b", ("b 0",)), Doc("b", (), day=1, when=At(400.0))),
            faults=(Hit("listing", "status", times=None),),
        ),
        _PAUSED,
    ),
}

UNMENDED = frozenset({Wrong.DOUBLE, Wrong.LEFT, Wrong.SENTINEL, Wrong.UNNAMED, Wrong.MEMORY})
"""What a schedule may still find, some of it in other ways than above."""
