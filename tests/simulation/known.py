"""Schedules under which something went wrong once, made small by the search."""

from __future__ import annotations

from tests.simulation.schedule import (
    At,
    Change,
    Doc,
    Hit,
    Life,
    Nothing,
    On,
    Replay,
    Schedule,
    Setup,
    Tomb,
)


def _left_to_look_for(change: Change, last: Doc | Tomb) -> Schedule:
    """Who removed for the last event goes while it looks whether anything is found of that."""
    return Schedule(
        5,
        Setup(prepared=("docs",), vector_db="pgvector"),
        history=(Doc("a", ("one", "two")), Doc("b", ("three",)), Tomb("b", when=At(60.0)), last),
        life=(
            Life("vectors-kept", On("removal", nth=1), seconds=300.0),
            Life(change, On("removal", nth=1, seconds=8.0), seconds=5.0),
        ),
    )


KNOWN: dict[str, Schedule] = {
    "a removal that was applied without an answer, overtaken in its pause": Schedule(
        560237044,
        history=(
            Doc("a", ("six",), slug="other"),
            Doc("a", ("one",), day=1, slug="other"),
            Doc("a", ("six",), day=1, slug="other", when=On("removal", seconds=0.3)),
        ),
        faults=(Hit("removal", "half-body", times=3),),
    ),
    "the same, and the version that was to remove has no text at all": Schedule(
        1844388618,
        Setup(prepared=("other",)),
        history=(
            Doc("b", ("four",), slug="other"),
            Doc("b", (), day=1, slug="other", when=At(1300.0)),
            Doc("b", ("four",), day=1, slug="other"),
        ),
        faults=(Hit("removal", "status", apply=True),),
    ),
    "the same in a workspace that was made anew before": Schedule(
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
    "overtaken again and again while removals lose their answers": Schedule(
        1750911466,
        history=(
            Doc("a", ("four",), day=1, slug="other"),
            Doc("a", ("five", "three"), day=1, slug="other"),
            Doc("a", ("four",), day=1, slug="other", when=On("upload", nth=3)),
            Doc("a", (), day=1, when=On("sentinel", nth=3)),
        ),
        faults=(Hit("removal", "half-body", times=3),),
    ),
    "a removal of two requests, and the partition goes in the first one": Schedule(
        3916869830,
        history=(Doc("b", tuple(f"b {n}" for n in range(11))), Tomb("b")),
        faults=(Hit("removal", "delay", times=None, seconds=20.0),),
        life=(Life("rebalance", On("removal", seconds=2.0), seconds=0.5),),
    ),
    "a burst: a version, a newer one, a tombstone, one of a date in between": Schedule(
        1043280665,
        history=(
            Doc("a", ("a 0",), day=1),
            Doc("a", ("a 2",), day=2),
            Tomb("a", slug="docs"),
            Doc("a", ("a 0",), day=1),
        ),
    ),
    "published twice unchanged, deleted, published again with an older date": Schedule(
        2503259194,
        history=(
            Doc("b", ("three",)),
            Doc("b", ("three",)),
            Tomb("b", slug="docs"),
            Doc("b", ("six",), day=-1),
        ),
    ),
    "a tombstone for all workspaces, and an older date in another one": Schedule(
        2813275047,
        history=(
            Doc("a", ("six",)),
            Doc("a", ("six",), day=3, slug="other"),
            Tomb("a"),
            Doc("a", ("six",), day=1, slug="other"),
        ),
    ),
    "refused by a proxy although it was stored, in steady state": Schedule(
        2718427885,
        Setup(begins=1300, prepared=("docs",)),
        history=(Doc("b", ("three", "two", "one"), day=1), Doc("b", ("one",), when=At(900.0))),
        faults=(Hit("upload", "status", skip=2, apply=True),),
    ),
    "the same, and then it is emptied": Schedule(
        984953955,
        Setup(begins=1300, prepared=("other",)),
        history=(
            Doc("a", ("one", "three"), slug="other"),
            Doc("a", (), day=1, slug="other", when=At(40.0)),
        ),
        faults=(Hit("upload", "status", skip=1, apply=True),),
    ),
    "the same, and then it is deleted": Schedule(
        715611740,
        Setup(begins=1300, prepared=("docs",)),
        history=(Doc("b", ("three", "one"), day=1), Tomb("b", slug="docs", when=At(5.0))),
        faults=(Hit("upload", "status", skip=1, apply=True),),
    ),
    "an upload in doubt is overtaken, and the process dies before the look": Schedule(
        1043659838,
        history=(
            Doc("a", ("three",), day=1, slug="other"),
            Doc("a", ("three",), day=1, slug="other"),
        ),
        faults=(Hit("upload", "reset", contains="three", apply=True),),
        life=(Life("crash", On("revoked", seconds=25.0), seconds=0.5),),
    ),
    "the same, and the partition goes and comes back before the look": Schedule(
        1428283789,
        history=(
            Doc("a", ("one",), day=1, slug="other"),
            Doc("a", ("one",), day=1, slug="other"),
        ),
        faults=(Hit("upload", "truncated", contains="one"),),
        life=(Life("rebalance", At(300.0)),),
    ),
    "the same with a stop": Schedule(
        1474307277,
        history=(Doc("a", ("five",), day=1), Doc("a", ("five",), day=1)),
        faults=(Hit("upload", "fin-after", contains="five"),),
        life=(Life("stop", At(300.0), seconds=0.5),),
    ),
    "an upload that comes late, its version overtaken, its process stopped": Schedule(
        123455180,
        history=(
            Doc("a", ("five",), day=1, slug="other"),
            Doc("a", ("one",), day=1, slug="other"),
        ),
        faults=(Hit("upload", "delay", contains="five", seconds=200.0),),
        life=(Life("stop", On("listing", seconds=140.0), seconds=0.5),),
    ),
    "a double, and a rebalance every five minutes": Schedule(
        2584391678,
        Setup(restless=300),
        history=(Doc("a", ("five",), day=1),),
        faults=(Hit("upload", "status", contains="five", apply=True),),
    ),
    "a tombstone for all workspaces, one of which can't be listed": Schedule(
        1190273333,
        Setup(prepared=("docs", "strangers")),
        history=(Doc("a", ("two",)), Tomb("a", when=At(40.0))),
        faults=(Hit("listing", "status", "strangers", times=None, status=500, stays=True),),
    ),
    "a transaction's marker is the last thing in a partition": Schedule(
        374445367, history=(Doc("b", ("one",)), Nothing("b"), Nothing("b"))
    ),
    "killed while a workspace is proven": Schedule(
        1908608514,
        history=(Doc("a", ("three",), day=1),),
        life=(Life("crash", On("search"), seconds=0.5),),
    ),
    "a test document that a proxy refused, and that is stored all the same": Schedule(
        188634613,
        history=(Doc("b", ("b 0",), day=1), Doc("a", ("a 0",), day=1, when=At(400.0))),
        faults=(Hit("upload", "status", apply=True, late=5.0),),
    ),
    "stopped in order while a document waits and one behind it is answered": Schedule(
        3966723669,
        history=(Doc("b", ("one",)), Doc("b", ("five",), day=1, slug="other")),
        faults=(Hit("upload", "status"),),
        life=(Life("stop", On("upload"), seconds=0.5),),
    ),
    "a document that waits for a sick workspace is overtaken by one that is empty": Schedule(
        2934647558,
        history=(Doc("b", ("b 0",)), Doc("b", (), day=1, when=At(400.0))),
        faults=(Hit("listing", "status", times=None),),
    ),
    "a test document that comes late, and is young when it is looked for": Schedule(
        3927611218,
        history=(Doc("b", ("two",)),),
        faults=(Hit("upload", "status", apply=True, late=200.0),),
    ),
    "test documents whose removal fails, every time": Schedule(
        3376905721,
        history=(Doc("a", ("a 0",), day=1, when=On("commit")),),
        faults=(Hit("removal", "reset", times=None),),
    ),
    "a file that nobody saw embedded, and then it is deleted": Schedule(
        528760223,
        Setup(begins=1300),
        history=(Doc("a", ("five", "one", "five"), day=1), Tomb("a")),
        faults=(Hit("check", "status", skip=3),),
    ),
    "the same, and the process stops in order": Schedule(
        1757089849,
        history=(Doc("b", ("three",)), Tomb("b")),
        faults=(Hit("check", "status", skip=1),),
        life=(Life("stop", On("upload"), seconds=0.5),),
    ),
    "an upload in doubt is overtaken, and there is a rebalance every five minutes": Schedule(
        2895759382,
        Setup(restless=300),
        history=(Doc("a", ("three",)), Doc("a", ("three",), day=1)),
        faults=(Hit("upload", "delay", contains="three", seconds=500.0),),
    ),
    "a process dies with an upload under way, the next one stops early": Schedule(
        4109584609,
        Setup(prepared=("other",)),
        history=(Doc("b", ("four",), slug="other"), Doc("b", (), day=1, slug="other")),
        faults=(Hit("upload", "delay", seconds=500.0),),
        life=(
            Life("stop", On("commit"), seconds=0.5),
            Life("crash", On("upload"), seconds=0.5),
        ),
    ),
    "dropped in a rebalance, overtaken, and its process dies": Schedule(
        2837872173,
        history=(Doc("b", ("b 3",)), Tomb("b")),
        faults=(Hit("upload", "delay", contains="b 3", seconds=125.0),),
        life=(
            Life("proxy-away", On("upload", seconds=30.0), seconds=0.5),
            Life("start", On("upload"), who="B", seconds=0.5),
            Life("crash", At(80.0), seconds=100.0),
        ),
    ),
    "the partition changes hands at the end of a doubt, before anybody has looked": Schedule(
        1437127200,
        history=(Doc("a", ("one",), slug="other"), Doc("a", ("four",), day=1, slug="other")),
        faults=(Hit("upload", "delay", contains="one", seconds=300.0),),
        life=(
            Life("proxy-away", On("upload"), seconds=0.5),
            Life("crash", At(0), who="B", seconds=0.5),
            Life("stop", On("removal"), seconds=20.0),
        ),
    ),
    "a double in a workspace that people deleted in the middle of an upload": Schedule(
        1656341270,
        history=(
            Doc("b", ("six", "five")),
            Doc("a", ("a 1", "a 2", "a 3", "a 4"), day=1),
            Doc("a", ("a 0",), day=1),
            Doc("b", ("six", "five")),
        ),
        faults=(Hit("upload", "delay", contains="five", seconds=500.0),),
        life=(
            Life("proxy-away", On("upload", seconds=30.0), seconds=0.5),
            Life("delete", On("upload", nth=6), seconds=0.5),
        ),
    ),
    "a stop right after a rebalance, before the first record is received again": Schedule(
        3810319786,
        Setup(latency=0.3),
        history=(
            Doc("c", ("three",), day=1, slug="other"),
            Doc("b", ("six", "five", "four", "one"), day=1, slug="other"),
            Doc("c", ("three",), day=1, slug="other"),
        ),
        faults=(Hit("upload", "fin-after", skip=3),),
        life=(
            Life("stop", On("revoked", nth=2), seconds=0.5),
            Life("rebalance", At(276.0), seconds=0.5),
        ),
    ),
    "a text that stands twice in a version of which another chunk was refused": Schedule(
        2135637676,
        history=(Doc("b", ("two",)), Doc("b", ("two", "six", "one", "two"))),
        faults=(Hit("upload", "status", contains="one", status=422),),
    ),
    "a file is embedded again, a proxy gives up on that, and it takes effect late": Schedule(
        2997562978,
        history=(Doc("b", ("six",), day=1),),
        faults=(
            Hit("upload", "embedder-fails", contains="six"),
            Hit("embed", "status", apply=True, late=200.0),
        ),
    ),
    "a removal takes effect late, after the partition has changed hands": Schedule(
        2673130914,
        Setup(partitions=2, prepared=("docs",)),
        history=(
            Doc("a", ("two",)),
            Doc("a", (), day=1),
            Doc("a", ("two",), day=1, when=On("removal")),
        ),
        faults=(Hit("removal", "status", times=3, apply=True, late=500.0),),
        life=(Life("crash", At(0), who="B", seconds=0.5),),
    ),
    "left-overs are due for removal while a partition is being taken away": Schedule(
        3641988331,
        history=(
            Doc("b", ("six",), slug="other"),
            Doc("b", ("four",), slug="other"),
            Doc("a", ("five",), day=1, when=On("assigned", nth=3)),
        ),
        faults=(
            Hit("upload", "delay", contains="six", seconds=500.0),
            Hit("upload", "delay", skip=1, times=6, seconds=50.0),
        ),
        life=(
            Life("proxy-away", On("upload"), seconds=0.5),
            Life("rebalance", On("sentinel", nth=3), who="B", seconds=0.5),
        ),
    ),
    "of two copies of a chunk the one with the later date is the older one": Schedule(
        2763219788,
        history=(
            Doc("a", tuple(f"a {n}" for n in range(10)), day=None),
            Tomb("a"),
            Doc("a", tuple(f"a {n}" for n in range(10)), day=1),
            Doc("a", ("a 0",), day=1, when=At(1500.0)),
        ),
        faults=(Hit("upload", "html", contains="a 9", apply=True),),
    ),
    "a chunk comes late whose document was overtaken by one with a refused chunk": Schedule(
        2558813798,
        Setup(prepared=("other",)),
        history=(
            Doc("a", ("six",), day=1, slug="other"),
            Doc("a", ("six", "one", "five", "two", "two"), day=1, slug="other"),
        ),
        faults=(
            Hit("upload", "status", skip=5, status=413),
            Hit("upload", "html", apply=True),
        ),
    ),
    "uploads of a former assignment are found while ours is still under way": Schedule(
        2182762417,
        Setup(per_document=1),
        history=(Doc("a", ("two", "five", "four", "one", "four"), day=1),),
        faults=(Hit("upload", "delay", skip=1, times=None, seconds=500.0),),
        life=(Life("stop", At(0), who="B", seconds=700.0),),
    ),
    "a late copy is ended by a tombstone, and the next version lacks a refused chunk": Schedule(
        1126639764,
        history=(
            Doc("a", ("four", "six"), day=1, slug="other"),
            Tomb("a", slug="other"),
            Doc("a", ("six", "four"), day=1, slug="other"),
        ),
        faults=(
            Hit("upload", "status", contains="six", apply=True),
            Hit("removal", "delay", times=3, seconds=200.0),
            Hit("upload", "status", contains="four", skip=1, status=413),
        ),
    ),
    "a request that met a stale collector is repeated after its partition went": Schedule(
        3032290683,
        Setup(prepared=("other",)),
        history=(Doc("b", ("three",), day=1, slug="other"),),
        faults=(Hit("upload", "delay", seconds=50.0), Hit("upload", "fetch-failed")),
        life=(Life("start", At(1.0), who="B", seconds=0.5),),
    ),
    "a replay is taken over behind a tombstone, and its uploads lose their answers": Schedule(
        3160296586,
        Setup(prepared=("other",)),
        history=(
            Tomb("a", slug="other"),
            Doc("a", ("one", "two"), day=1, slug="other", name="s2"),
            Replay("s2"),
        ),
        faults=(Hit("upload", "reset", skip=1, times=3),),
        life=(Life("crash", At(366.0), seconds=0.5),),
    ),
    "committed in doubt, overtaken under the next owner, and rebalances": Schedule(
        4230471521,
        Setup(partitions=2, prepared=("docs",), restless=300),
        history=(
            Doc("a", ("five",), name="s0"),
            Doc("a", (), day=1, name="s1"),
            Doc("b", ("b 3",), name="e0"),
            Doc("b", ("b 0",), day=1, when=At(130.0), name="e1"),
        ),
        faults=(
            Hit("upload", "delay", seconds=5.0),
            Hit("workspaces", "status", times=None),
            Hit("upload", "delay", seconds=125.0),
        ),
        life=(
            Life("start", At(1.0), who="B", seconds=0.5),
            Life("freeze", On("upload"), seconds=100.0),
        ),
    ),
    "a left-over whose removal fails, and its process stops": Schedule(
        3063652977,
        Setup(prepared=("third",)),
        history=(Doc("b", ("six",), slug="other"), Tomb("b", slug="other")),
        faults=(
            Hit("upload", "status", skip=1, status=520, apply=True, late=200.0),
            Hit("removal", "status", skip=2, times=6),
        ),
        life=(Life("stop", On("revoked", nth=2, seconds=140.0), seconds=0.5, slug="other"),),
    ),
    "stopped while a tombstone waits, and its document was published again": Schedule(
        4560899,
        Setup(prepared=("docs", "strangers")),
        history=(Doc("a", ("a 0",)), Tomb("a"), Doc("a", ("a 0",))),
        faults=(Hit("listing", "status", slug="strangers", stays=True),),
        life=(Life("stop", On("removal"), seconds=0.5),),
    ),
    "a copy that comes after its tombstone, with a newer date than what follows": Schedule(
        1955938766,
        history=(
            Doc("a", ("four", "three", "two")),
            Tomb("a"),
            Doc("a", ("two",), day=-1),
            Doc("a", ("four",), day=-2, when=At(1500.0)),
            Doc("a", ("four",), day=-1),
        ),
        faults=(Hit("upload", "reset-after", contains="two"),),
    ),
    "made anew by hand while its uploads could not be looked at": Schedule(
        850335733,
        Setup(prepared=("other",)),
        history=(
            Doc(
                "a",
                ("a 0", "a 1", "a 2", "a 3", "a 4", "a 5", "a 6"),
                day=1,
                slug="other",
                name="e1",
            ),
            Replay("s1", when=On("embed")),
            Replay("e1", when=On("life.crash", seconds=140.0)),
        ),
        faults=(Hit("check", "delay", times=None, seconds=50.0),),
        life=(
            Life("freeze", On("check"), seconds=100.0),
            Life("remake", On("result.written"), seconds=0.5, slug="other"),
        ),
    ),
    "a sweep's removal that outlives its assignment, with another workspace left": Schedule(
        3736020837,
        Setup(prepared=("docs",)),
        history=(
            Doc("a", ("one",), slug="other", name="s0"),
            Doc("a", ("four",), day=1, slug="other", when=At(60.0), name="s1"),
            Doc("b", ("five", "three", "four"), day=1, name="e0"),
            Tomb("b"),
        ),
        faults=(
            Hit("upload", "truncated", skip=2, times=3),
            Hit("removal", "delay", times=6, seconds=500.0),
        ),
        life=(Life("cut-off", On("check", nth=4), seconds=50.0),),
    ),
    "vectors of another dimension, and a look at what was listed meanwhile": Schedule(
        3544531288,
        Setup(prepared=("other",), vector_db="pgvector"),
        history=(Doc("b", tuple(f"b {n}" for n in range(11)), slug="other"),),
        life=(Life("dimension", At(0), seconds=50.0),),
    ),
    "a row without vectors, overtaken by a version that wants its text": Schedule(
        1950881564,
        Setup(prepared=("other",), vector_db="pgvector"),
        history=(
            Doc("b", ("six",), day=1, when=On("removal")),
            Doc("c", ("one", "four"), day=1, slug="other"),
            Doc("c", ("four",), day=1, slug="other"),
        ),
        life=(Life("vectors-refused", On("assigned", nth=2), seconds=0.5),),
    ),
    "a row without vectors beside one of the same marker": Schedule(
        469646793,
        Setup(vector_db="pgvector"),
        history=(
            Doc("a", tuple(f"a {n}" for n in range(18)), slug="other"),
            Doc("a", ("a 15",), day=1, slug="other", when=At(40.0)),
        ),
        life=(
            Life("dimension", On("upload"), seconds=0.5),
            Life("stop", On("upload", nth=6, seconds=0.1), seconds=50.0),
        ),
    ),
    "a tombstone for a workspace that is not there": Schedule(
        822252782, Setup(vector_db="pgvector"), history=(Tomb("b", slug="docs"),)
    ),
    "a workspace that was deleted while something of it was to go": Schedule(
        1689872476,
        Setup(vector_db="pgvector"),
        history=(
            Doc("a", ("six",), day=1),
            Tomb("a", when=On("removal")),
            Doc("a", (), day=1),
        ),
        life=(Life("delete", On("sentinel", nth=2, seconds=1.0), seconds=0.5),),
    ),
    "what a successor never looked for is not proven, and holds its text": Schedule(
        1944126567,
        Setup(vector_db="milvus"),
        history=(Doc("c", ("three", "six")), Doc("c", ("three",), day=1)),
        faults=(Hit("upload", "fin-after", skip=2, times=None),),
        life=(Life("stop", At(403.0), seconds=0.5),),
    ),
    "a database that is away while a removal and the look behind it are under way": Schedule(
        3071061669,
        Setup(vector_db="pgvector"),
        history=(
            Doc("b", ("four",), slug="other"),
            Doc("b", ("two",), day=1, slug="other"),
        ),
        life=(Life("database-down", On("removal"), seconds=0.5),),
    ),
    "an upload that comes late in the middle of the look for what was removed": Schedule(
        2200944130,
        Setup(vector_db="pgvector"),
        history=(
            Doc("a", ("one",), slug="other"),
            Doc("a", (), day=1, slug="other"),
        ),
        faults=(
            Hit("upload", "status", skip=1, status=400, apply=True, late=50.0),
            Hit("search", "delay", times=6, seconds=20.0),
        ),
    ),
    "searches that take too long blame no text": Schedule(
        133343865,
        Setup(vector_db="milvus"),
        history=(Doc("a", ("a 0", "a 1", "a 2")),),
        faults=(Hit("search", "drip", times=None, seconds=1.0),),
        life=(Life("vectors-kept", On("embed"), seconds=0.5),),
    ),
    "an upload that takes longer than a vector to be seen": Schedule(
        838599998,
        Setup(vector_db="milvus", visible_after=2),
        history=(Doc("a", ("five",), day=1),),
        faults=(Hit("upload", "delay", contains="five", seconds=50.0),),
    ),
    "a replay that is told after the tombstone that ended it": Schedule(
        704838725,
        Setup(partitions=2, prepared=("other",), per_document=1),
        history=(
            Doc("b", ("three",), slug="other", name="s0"),
            Doc("b", (), day=1, slug="other", when=At(60.0), name="s1"),
            Replay("s1"),
            Doc("a", ("six",), name="e2"),
            Tomb("b", slug="other", when=At(0.3)),
            Doc("b", ("five", "six"), slug="other", when=At(1.0), name="e4"),
        ),
        faults=(Hit("check", "delay", times=None, seconds=50.0),),
        life=(
            Life("start", At(1.0), who="B", seconds=0.5),
            Life("freeze", On("check", nth=3), seconds=100.0),
        ),
    ),
    "a removal by the list of files that leaves the row": Schedule(
        2105193276,
        Setup(prepared=("strangers",)),
        history=(
            Doc("a", ("four",), name="s0"),
            Tomb("a"),
        ),
        faults=(Hit("listing", "status", slug="strangers", stays=True),),
        life=(
            Life("start", At(266.0), who="B", seconds=0.5, slug="other"),
            Life("vectors-kept", At(0), seconds=300.0),
        ),
    ),
    "a vector database that goes away before an upload is looked for": Schedule(
        2403890235,
        Setup(vector_db="pgvector"),
        history=(
            Doc("a", ("three",), name="e0"),
            Doc("b", ("three",), name="e1"),
        ),
        faults=(Hit("check", "delay", skip=3, seconds=300.0),),
        life=(Life("database-down", On("listing", seconds=3.0), seconds=50.0),),
    ),
    "a vector database that goes away after a control": Schedule(
        3580808923,
        Setup(prepared=("docs",), vector_db="pgvector"),
        history=(Doc("b", ("three",), day=1, name="e0"),),
        faults=(Hit("search", "status"),),
        life=(Life("database-down", On("sentinel", nth=2), seconds=5.0),),
    ),
    "what a crash leaves to look for": _left_to_look_for("crash", Tomb("a", when=At(10.0))),
    "what a rebalance leaves to look for": _left_to_look_for("rebalance", Tomb("a", when=At(10.0))),
    "what a stop leaves to look for": _left_to_look_for(
        "stop", Doc("a", ("new",), day=1, when=At(10.0))
    ),
    "a double that one who died is removing, and the other copy": Schedule(
        2416901976,
        Setup(prepared=("docs",), vector_db="pgvector"),
        history=(
            Doc("a", ("three",), name="s0"),
            Doc("a", (), day=1, when=At(60.0), name="s1"),
            Doc("a", ("three",), day=1, when=At(60.0), name="s2"),
            Doc("b", ("four",), name="e0"),
            Doc("c", ("five",), name="e1"),
            Tomb("c"),
        ),
        faults=(
            Hit("upload", "status", times=6, apply=True, late=2.0),
            Hit("removal", "delay", skip=2, seconds=500.0),
            Hit("upload", "delay", skip=1, seconds=50.0),
        ),
        life=(Life("stop", At(186.0), seconds=0.5),),
    ),
    "a removal by the list of files, refused in a workspace that can be listed": Schedule(
        3444917770,
        Setup(prepared=("strangers",), vector_db="pgvector"),
        history=(
            Doc("b", ("four",), name="e2"),
            Tomb("b"),
        ),
        faults=(Hit("listing", "status", slug="strangers", stays=True),),
        life=(Life("vectors-kept", On("removal"), seconds=0.5),),
    ),
    "a double whose vectors stay, of a text that is still stored": Schedule(
        693348849,
        Setup(prepared=("third",), max_age=60, vector_db="pgvector"),
        history=(
            Doc("a", ("three",), name="s0"),
            Doc("a", ("three",), day=1, when=On("upload", seconds=125.0), name="s1"),
        ),
        faults=(Hit("upload", "status", skip=1, apply=True, late=50.0),),
        life=(Life("vectors-kept", On("removal"), seconds=0.5),),
    ),
    "a unit that is put in again by a request that comes late": Schedule(
        2111532493,
        Setup(prepared=("docs",), vector_db="pgvector"),
        history=(Doc("a", ("two",), name="e0"),),
        faults=(Hit("embed", "status", apply=True, late=5.0),),
        life=(Life("vectors-refused", At(0), seconds=50.0),),
    ),
    "copies of two versions, and the next owner has seen neither": Schedule(
        3576022013,
        Setup(prepared=("third",), vector_db="pgvector"),
        history=(
            Doc("b", ("five", "three", "four"), name="s0"),
            Doc("b", ("three", "four"), day=1, name="s1"),
        ),
        faults=(Hit("check", "delay", times=None, seconds=5.0),),
        life=(
            Life("start", At(0), who="B", seconds=0.5),
            Life("freeze", On("check"), seconds=60.0),
            Life("crash", On("upload"), seconds=50.0),
            Life("vectors-refused", On("search", nth=2), who="B", seconds=0.5),
        ),
    ),
    "a partial version whose chunk is a former one's unit": Schedule(
        264979993,
        Setup(vector_db="milvus"),
        history=(
            Doc(
                "a",
                (
                    "a 0",
                    "a 1",
                    "a 2",
                    "a 3",
                    "a 4",
                    "a 5",
                    "a 6",
                    "a 7",
                    "a 8",
                    "a 9",
                    "a 10",
                    "a 11",
                ),
                name="s0",
            ),
            Doc("a", ("a 19",), day=1, name="s1"),
            Doc("z", ("other",), when=On("listing", nth=4)),
            Doc(
                "a",
                (
                    "a 25",
                    "a 24",
                    "a 23",
                    "a 22",
                    "a 21",
                    "a 20",
                    "a 19",
                    "a 18",
                    "a 17",
                    "a 16",
                    "a 15",
                    "a 14",
                    "a 13",
                    "a 12",
                    "a 11",
                    "a 10",
                ),
                day=1,
                name="s2",
            ),
        ),
        faults=(Hit("upload", "status", contains="a 10", times=6, status=422),),
    ),
    "listings that never come, and an upload that only says that it was one": Schedule(
        1100232625,
        history=(Doc("z", ("other",)),),
        faults=(
            Hit("listing", "delay", skip=5, times=None, seconds=50.0),
            Hit("upload", "pretend", skip=1),
        ),
    ),
    "a text that something blocks after it took effect": Schedule(
        1192145100,
        history=(Doc("b", ("two",), day=1, name="s1"),),
        faults=(Hit("upload", "html", contains="two", times=None, apply=True, late=0.5),),
    ),
    "what is left to look for by one who is overtaken under the next owner": Schedule(
        2250380514,
        Setup(vector_db="pgvector"),
        history=(
            Doc("a", ("three",), slug="other", name="s0"),
            Doc("a", ("two",), day=1, slug="other", when=At(60.0), name="s1"),
            Doc("a", ("three",), day=1, slug="other", name="s2"),
        ),
        life=(
            Life("database-down", On("removal"), seconds=100.0),
            Life("start", At(97.0), who="B", seconds=0.5),
        ),
    ),
    "of two rows of one chunk nobody has seen the one that is found": Schedule(
        3594367691,
        Setup(vector_db="pgvector"),
        history=(Doc("b", ("b 6", "b 11"), day=1, name="s1"),),
        faults=(Hit("upload", "status", contains="b 1", times=None),),
        life=(
            Life("start", At(1.0), who="B", seconds=0.5),
            Life("vectors-refused", On("upload"), seconds=100.0),
            Life("crash", At(68.0), seconds=300.0),
        ),
    ),
    "the vector database goes away while a removal is tested": Schedule(
        1504474676,
        Setup(vector_db="pgvector"),
        history=(
            Doc("a", ("one",), name="s0"),
            Tomb("a"),
        ),
        faults=(Hit("removal", "delay", seconds=50.0),),
        life=(
            Life("database-down", On("search", seconds=140.0), seconds=50.0),
            Life("vectors-kept", At(0), seconds=300.0),
        ),
    ),
    "rows go by the list of files, and their vectors had stayed": Schedule(
        2157457120,
        Setup(vector_db="pgvector"),
        history=(
            Doc(
                "a",
                (
                    "a 0",
                    "a 1",
                    "a 2",
                    "a 3",
                    "a 4",
                    "a 5",
                    "a 6",
                    "a 7",
                    "a 8",
                    "a 9",
                    "a 10",
                    "a 11",
                ),
                name="s0",
            ),
            Doc("a", ("a 2",), day=1, name="s1"),
            Doc("a", ("a 0",), day=1, when=On("removal"), name="s2"),
            Tomb("a"),
        ),
        faults=(
            Hit("removal", "status", times=2, status=404),
            Hit("listing", "truncated", skip=5),
            Hit("listing", "delay", skip=1, times=2, seconds=5.0),
        ),
        life=(
            Life("crash", On("check", nth=6, seconds=3.0), seconds=0.5),
            Life("vectors-kept", At(0), seconds=20.0),
            Life("start", On("revoked", seconds=3.0), who="B", seconds=20.0),
        ),
    ),
    "people delete what an event had told of": Schedule(
        939542603,
        Setup(per_document=1, vector_db="pgvector"),
        history=(
            Doc("b", ("three", "one", "two"), slug="other", name="s0"),
            Doc("b", ("five",), day=1, slug="other", name="s1"),
        ),
        life=(
            Life("delete", At(255.0), seconds=0.5, slug="other"),
            Life("remake", At(94.0), seconds=0.5, slug="other"),
            Life("database-down", On("upload", nth=3), who="B", seconds=100.0, slug="other"),
        ),
    ),
    "a search that fails once is taken for one that asks for too many hits": Schedule(
        4024727817,
        Setup(prepared=("docs",), vector_db="pgvector"),
        history=(
            Doc(
                "a",
                ("a 0", "a 1", "a 2", "a 3", "a 4", "a 5", "a 6", "a 7", "a 8", "a 9"),
                day=1,
                when=On("upload"),
                name="e0",
            ),
        ),
        faults=(Hit("search", "status"),),
        life=(Life("vectors-refused", On("removal"), seconds=0.5),),
    ),
    "a server that dies between a file's vectors and its row": Schedule(
        1809845692,
        Setup(vector_db="chroma"),
        history=(Doc("b", ("b 0",), name="s0"),),
        life=(
            Life("vectors-refused", On("sentinel", nth=2), seconds=0.5),
            Life("server-restarts", On("insert", seconds=0.007), seconds=0.5),
        ),
    ),
    "a unit that may have nonsense goes while removals are refused": Schedule(
        3060686277,
        Setup(vector_db="pgvector"),
        history=(Doc("a", ("one",), day=1, name="e5"),),
        life=(
            Life("dimension", On("upload"), seconds=20.0),
            Life("database-down", On("upload"), seconds=20.0),
            Life("vectors-kept", On("upload", seconds=25.0), seconds=100.0),
        ),
    ),
    "the vector database is away for a moment, in a removal after another one": Schedule(
        1667654680,
        Setup(latency=0.0, in_flight=1, vector_db="pgvector"),
        history=(
            Doc("a", ("six",), slug="other", name="s0"),
            Doc("a", ("a 0",), day=1, slug="other", name="s2"),
            Tomb("a", slug="other"),
        ),
        life=(Life("database-down", On("upload", seconds=0.01), seconds=0.5, slug="other"),),
    ),
    "the vector database is away for a moment, in the removal of all there is": Schedule(
        3556723603,
        Setup(vector_db="pgvector"),
        history=(
            Doc("b", ("b 0",), day=1, slug="other", name="e2"),
            Tomb("b", slug="other"),
        ),
        life=(Life("database-down", On("removal"), who="B", seconds=0.5),),
    ),
    "a pack comes late, after it was split and its chunks went alone": Schedule(
        2401811536,
        Setup(vector_db="pgvector", packing="10"),
        history=(Doc("b", ("five", "four"), day=1, name="e0"),),
        faults=(Hit("upload", "delay", contains="five", seconds=200.0),),
        life=(
            Life("proxy-away", On("upload"), seconds=0.5),
            Life("start", On("commit"), who="B", seconds=0.5, slug="other"),
        ),
    ),
    "the same, and one of its texts stands in the document twice": Schedule(
        2207568804,
        Setup(packing="10"),
        history=(Doc("b", ("two", "six", "six"), name="s0"),),
        faults=(Hit("upload", "delay", contains="two", seconds=300.0),),
        life=(Life("proxy-away", On("upload"), seconds=0.5),),
    ),
    "the same, and a later version wants a part of it": Schedule(
        1258891447,
        Setup(packing="10"),
        history=(
            Doc("a", ("one", "five"), slug="other", name="s0"),
            Doc("a", ("one",), day=1, slug="other", when=On("result"), name="e0"),
        ),
        faults=(Hit("upload", "delay", contains="five", seconds=300.0),),
        life=(Life("proxy-away", On("upload"), seconds=0.5),),
    ),
    "the same on a database that shows late what is stored, and a rebalance": Schedule(
        2187477526,
        Setup(vector_db="milvus", packing="10"),
        history=(Doc("a", ("four", "two"), name="s0"),),
        faults=(Hit("upload", "delay", contains="four", seconds=500.0),),
        life=(
            Life("proxy-away", On("upload"), seconds=0.5),
            Life("rebalance", At(381.0), seconds=0.5),
        ),
    ),
    "a pack that can't be removed holds what a later version wants": Schedule(
        1,
        Setup(packing="10"),
        history=(
            Doc("a", ("one", "two", "three", "four"), name="e0"),
            Doc("a", ("one", "two"), day=1, when=On("result", seconds=1.0), name="e1"),
            Doc("a", ("one", "two", "three", "bad"), day=2, when=On("result", 2), name="e2"),
        ),
        faults=(
            Hit("removal", "status", times=None, status=403),
            Hit("embed", "status", contains="deletes", times=None, status=403),
            Hit("upload", "status", contains="bad", times=None, status=422),
        ),
    ),
    "the same, and a process that dies leaves the pack twice": Schedule(
        2,
        Setup(packing="10"),
        history=(
            Doc("a", ("one", "two", "one", "four"), name="e0"),
            Doc("a", ("two",), day=1, when=On("result", seconds=1.0), name="e1"),
            Doc("a", ("one", "two", "one", "bad"), day=2, when=On("result", 2), name="e2"),
        ),
        faults=(
            Hit("upload", "delay", contains="two", seconds=100.0),
            Hit("removal", "status", times=None, status=403),
            Hit("embed", "status", contains="deletes", times=None, status=403),
            Hit("upload", "status", contains="bad", times=None, status=422),
        ),
        life=(Life("crash", On("upload", seconds=1.0), seconds=0.5),),
    ),
    "who was told of a refused chunk knows what its siblings are stored in, and dies": Schedule(
        1248290959,
        Setup(prepared=("docs",)),
        history=(
            Doc("p", ("p 0", "p 1", "p 2", "p 3", "p 4", "p 0"), name="p0"),
            Doc("p", ("p 2",), day=1, name="p1"),
            Doc(
                "p",
                ("p 3", "p 0", "p 3", "p 1", "p 2", "p 4", "p refused"),
                day=1,
                when=On("result", nth=2),
                name="p2",
            ),
        ),
        faults=(
            Hit("removal", "status", times=None, status=403),
            Hit("upload", "status", contains="p refused", times=None, status=422),
            Hit("upload", "half-body"),
        ),
        life=(Life("crash", On("sentinel"), seconds=0.5, slug="other"),),
    ),
    "a process that packs in another way takes over, and a former pack comes late": Schedule(
        3,
        Setup(packing="10,3", per_document=1),
        history=(Doc("a", tuple(f"a {n}" for n in range(15)), name="e0"),),
        faults=(Hit("upload", "delay", contains="a 3", seconds=200.0),),
        life=(Life("crash", On("upload", seconds=1.0), seconds=0.5),),
    ),
    "the same, and texts stand in the document twice": Schedule(
        4,
        Setup(packing="10,3", per_document=1),
        history=(Doc("a", (*(f"a {n}" for n in range(10)), "a 0", "a 1"), name="e0"),),
        faults=(Hit("upload", "delay", contains="a 3", seconds=200.0),),
        life=(Life("crash", On("upload", seconds=1.0), seconds=0.5),),
    ),
    "a former pack comes late, and another one has one of its texts for another chunk": Schedule(
        4210936859,
        Setup(packing="10,3,1"),
        history=(
            Doc("a", (*(f"a {n}" for n in range(13)), "a 4"), slug="other", name="s0"),
            Doc("c", ("c 0",), when=On("commit", seconds=3.0), name="e2"),
            Doc("a", tuple(f"a {n}" for n in range(13)), day=1, slug="other", name="e3"),
        ),
        faults=(Hit("upload", "status", contains="a 4", apply=True, late=125.0),),
        life=(Life("stop", On("check"), seconds=0.5, slug="other"),),
    ),
    "a pack comes late, and the newer version has the same texts in another order": Schedule(
        3527045912,
        Setup(packing="10"),
        history=(
            Doc("a", ("six", "four", "three", "five"), name="s0"),
            Doc("a", ("three", "five", "four", "six"), day=1, name="e0"),
        ),
        faults=(Hit("upload", "status", contains="six", apply=True),),
    ),
    "what was overtaken has no vectors, and a chunk of the newest version is refused": Schedule(
        7,
        Setup(prepared=("docs",), vector_db="pgvector"),
        history=(
            Doc("p", ("p 2", "p 3"), name="p0"),
            Doc("p", ("p 2", "p 4"), day=1, when=On("result", seconds=1.0), name="p1"),
            Doc(
                "p",
                ("p 2", "p 5", "p refused"),
                day=2,
                when=On("upload", nth=3, seconds=60.0),
                name="p2",
            ),
        ),
        faults=(
            Hit("upload", "status", contains="p refused", times=None, status=422),
            Hit("upload", "delay", contains="p 4", seconds=50.0),
        ),
        life=(Life("dimension", On("upload", nth=3, seconds=10.0), seconds=300.0),),
    ),
    "packed anew, and the process dies while the former units are removed": Schedule(
        5,
        Setup(packing="1,10"),
        history=(
            Doc("a", ("a 0", "a 1", "a 2", "a 1", "a 3"), name="e0"),
            Replay("e0", At(30.0), repack=True),
        ),
        life=(
            Life("crash", On("result.written", seconds=2.0), seconds=0.5),
            Life("crash", On("removal"), seconds=0.5),
        ),
    ),
    "packed anew, and a pack comes late when the next process cuts otherwise": Schedule(
        6,
        Setup(packing="1,10,3"),
        history=(
            Doc("a", tuple(f"a {n}" for n in range(12)), name="e0"),
            Replay("e0", At(30.0), repack=True),
        ),
        faults=(Hit("upload", "delay", contains="a 3", skip=1, seconds=200.0),),
        life=(
            Life("crash", On("result.written", seconds=2.0), seconds=0.5),
            Life("crash", On("upload", nth=14, seconds=1.0), seconds=0.5),
        ),
    ),
    "a newer version and a tombstone come while packs are cut apart": Schedule(
        7,
        Setup(packing="10,1", per_document=1),
        history=(
            Doc("a", ("a 0", "a 1", "a 2", "a 3"), name="e0"),
            Doc("b", ("b 0", "b 1", "b 2"), name="e1"),
            Replay("e0", At(30.0), repack=True),
            Replay("e1", At(0.0), repack=True),
            Doc("a", ("a 0", "a 2", "new"), day=1, when=On("upload", nth=4)),
            Tomb("b", "docs", when=At(0.05)),
        ),
        life=(Life("crash", On("result.written", nth=2, seconds=2.0), seconds=0.5),),
    ),
    "packed anew, and a text is refused in its new pack": Schedule(
        8,
        Setup(packing="1,10"),
        history=(
            Doc("a", ("a 0", "bad", "a 2"), name="e0"),
            Replay("e0", At(30.0), repack=True),
        ),
        faults=(Hit("upload", "status", contains="bad", skip=1, times=None, status=422),),
        life=(Life("crash", On("result.written", seconds=2.0), seconds=0.5),),
    ),
    "made anew, and the process dies while it is taken out, and while it is stored": Schedule(
        9,
        Setup(packing="1"),
        history=(
            Doc("a", ("a 0", "a 1", "a 2", "a 1", "a 3"), name="e0"),
            Doc("b", ("b 0",), name="e1"),
            Replay("e0", At(30.0), rebuild=True),
            Replay("e1", At(0.0), rebuild=True),
        ),
        life=(
            Life("crash", On("removal"), seconds=0.5),
            Life("crash", On("upload", nth=8), seconds=0.5),
        ),
    ),
    "made anew, and its uploads get no answer": Schedule(
        10,
        Setup(packing="1"),
        history=(
            Doc("a", ("a 0", "a 1", "a 2"), name="e0"),
            Replay("e0", At(30.0), rebuild=True),
        ),
        faults=(
            Hit("upload", "reset", contains="a 0", skip=1),
            Hit("upload", "reset-after", contains="a 1", skip=1),
            Hit("upload", "delay", contains="a 2", skip=1, seconds=200.0),
            Hit("removal", "reset-after"),
        ),
    ),
    "made anew where removing is forbidden": Schedule(
        20,
        Setup(packing="1"),
        history=(
            Doc("a", ("a 0", "a 1"), name="e0"),
            Replay("e0", At(30.0), rebuild=True),
        ),
        faults=(Hit("removal", "status", status=403, times=None),),
    ),
    "made anew, and a text is refused that was stored before": Schedule(
        22,
        Setup(packing="1"),
        history=(
            Doc("a", ("a 0", "a 1"), name="e0"),
            Replay("e0", At(30.0), rebuild=True),
        ),
        faults=(Hit("upload", "status", contains="a 1", skip=1, times=None, status=422),),
    ),
    "a newer version and a tombstone come while documents are made anew": Schedule(
        11,
        Setup(packing="1", per_document=1, vector_db="pgvector"),
        history=(
            Doc("a", ("a 0", "a 1", "a 2", "a 3"), name="e0"),
            Doc("b", ("b 0", "b 1", "b 2"), name="e1"),
            Replay("e0", At(30.0), rebuild=True),
            Replay("e1", At(0.0), rebuild=True),
            Doc("a", ("a 0", "a 2", "new"), day=1, when=On("upload", nth=9)),
            Tomb("b", "docs", when=At(0.05)),
        ),
        life=(Life("crash", On("upload", nth=10, seconds=0.1), seconds=0.5),),
    ),
    "searches that take too long in one workspace": Schedule(
        1363449450,
        Setup(prepared=("other",), vector_db="pgvector"),
        history=(
            Doc("b", ("one", "three"), name="s0"),
            Doc("z", ("other",)),
            Doc("b", ("a 0",), day=1, when=On("removal"), name="s2"),
        ),
        faults=(Hit("search", "drip", times=None, seconds=1.0),),
    ),
    "a test document that is refused, while another workspace is found": Schedule(
        2671580181,
        Setup(prepared=("third",), vector_db="pgvector"),
        history=(Doc("a", ("one", "six"), name="e1"),),
        faults=(Hit("upload", "status", skip=5, status=413),),
        life=(Life("vectors-refused", On("sentinel", nth=2), seconds=0.5),),
    ),
    "a copy that came late is found beside a row of a dead process without vectors": Schedule(
        1473625045,
        Setup(in_flight=1, vector_db="pgvector"),
        history=(
            Doc("b", ("two", "one"), slug="other", name="s0"),
            Doc("b", ("one",), day=1, slug="other", name="s1"),
        ),
        faults=(Hit("upload", "status", skip=3, times=None, apply=True, late=50.0),),
        life=(
            Life("crash", At(40.0), seconds=0.5),
            Life("vectors-refused", On("search"), seconds=300.0, slug="other"),
        ),
    ),
    "an equal text of another chunk is found beside a row without vectors": Schedule(
        3833038483,
        Setup(prepared=("other",), restless=300, vector_db="pgvector"),
        history=(Doc("a", ("three", "three"), slug="other", name="s0"),),
        faults=(
            Hit("upload", "delay", contains="three", skip=2, seconds=50.0),
            Hit("upload", "delay", seconds=300.0),
            Hit("removal", "delay", seconds=50.0),
            Hit("search", "status", skip=5, status=400),
        ),
        life=(
            Life("dimension", On("upload"), who="B", seconds=0.5),
            Life("vectors-refused", On("sentinel", nth=4), seconds=0.5, slug="other"),
        ),
    ),
    "nobody can look at a chunk's file, and its text is refused by then": Schedule(
        264435141,
        history=(Doc("a", ("six", "four"), name="e0"),),
        faults=(
            Hit("check", "delay", skip=1, times=6, seconds=500.0),
            Hit("upload", "reset-after", contains="four", skip=1, times=None),
        ),
    ),
    "a text that stands in a document twice, of which one copy was stored again": Schedule(
        917334537,
        Setup(partitions=2, prepared=("docs",), in_flight=2, vector_db="milvus"),
        history=(
            Doc("b", ("one", "two"), slug="other", name="s0"),
            Doc("b", ("three",), day=1, slug="other", when=At(40.0), name="s1"),
            Doc("b", ("four",), day=1, slug="other", name="e0"),
            Doc("a", ("three", "five", "one", "five"), name="e1"),
            Doc("a", ("three", "five", "one", "five"), name="e2"),
        ),
        faults=(
            Hit("removal", "status", times=None),
            Hit("upload", "delay", times=6, seconds=2.0),
        ),
        life=(Life("crash", On("assigned", nth=4), who="B", seconds=0.5, slug="other"),),
    ),
    "vectors begin to be kept while a test of removals takes minutes": Schedule(
        3773705265,
        Setup(prepared=("docs",), vector_db="pgvector"),
        history=(Doc("b", ("four",), name="s0"), Doc("b", ("three",), day=1, name="s1")),
        faults=(Hit("removal", "delay", times=None, seconds=50.0),),
        life=(Life("vectors-kept", On("sentinel", nth=4), who="B", seconds=300.0, slug="other"),),
    ),
    "the vector database goes away at the moment at which another text was found": Schedule(
        875608786,
        Setup(prepared=("docs",), latency=0.0, vector_db="pgvector"),
        history=(Doc("c", ("six",), day=1, name="e0"), Doc("b", ("five",), name="e2")),
        faults=(Hit("removal", "status"),),
        life=(Life("database-down", On("search", turns=8), seconds=0.5),),
    ),
    "a firewall refuses the removal of a test document twice": Schedule(
        3139840158,
        Setup(prepared=("other",), begins=1300),
        history=(
            Doc("b", ("six",), slug="other", name="s0"),
            Doc("b", ("three",), day=1, slug="other", name="s2"),
            Doc("d", ("d 0",), day=1, name="e0"),
            Replay("s2", when=On("commit", seconds=140.0)),
            Doc("c", ("one",), day=1, when=On("removal", nth=4), name="e4"),
        ),
        faults=(Hit("removal", "status", skip=1, times=3),),
    ),
    "a test of removals gets past a refusal while vectors are kept": Schedule(
        3227882624,
        Setup(vector_db="milvus"),
        history=(
            Doc("b", ("two",), slug="other", name="s0"),
            Doc("b", ("three",), day=1, slug="other", when=At(40.0), name="s1"),
        ),
        faults=(Hit("removal", "status", times=3),),
        life=(Life("vectors-kept", At(0), who="B", seconds=300.0, slug="other"),),
    ),
    "a firewall refuses to remove some names until it is believed": Schedule(
        3847464787,
        history=(
            Doc("b", ("six",), name="s0"),
            Doc("b", (), day=1, name="s1"),
            Doc("b", (), day=1, when=On("removal"), name="s2"),
        ),
        faults=(
            Hit("removal", "status", contains="raw-the-title-of-", skip=1, times=None, status=409),
        ),
        life=(
            Life("vectors-kept", At(0), seconds=20.0),
            Life("cut-off", On("result.written", nth=2), who="B", seconds=0.5),
        ),
    ),
    "a text is taken out and put in again while its document is not whole": Schedule(
        670772546,
        Setup(prepared=("other",), per_document=1, vector_db="pgvector"),
        history=(
            Doc("a", ("four", "five", "a 0", "a 1"), slug="other", name="e0"),
            Doc("b", ("five",), slug="other", when=On("check", seconds=140.0), name="e2"),
        ),
        faults=(
            Hit("upload", "delay", times=None, seconds=20.0),
            Hit("upload", "html"),
        ),
        life=(Life("database-down", On("upload", nth=4, seconds=140.0), seconds=0.5),),
    ),
    "a firewall refuses for ever to have a file embedded again": Schedule(
        1365885722,
        history=(Doc("b", ("three",), name="e0"),),
        faults=(Hit("embed", "status", times=None, status=409),),
        life=(Life("vectors-refused", On("upload"), seconds=0.5),),
    ),
    "a firewall says for ever that nobody is there, to some names": Schedule(
        3043405747,
        history=(
            Doc("b", ("b 0",), day=1, slug="other", name="s2"),
            Tomb("b", slug="other"),
        ),
        faults=(Hit("removal", "status", contains="raw-the-title-of-", times=None),),
    ),
    "vectors are refused for a moment, and removals for ever": Schedule(
        2019146405,
        Setup(vector_db="pgvector"),
        history=(
            Doc("p", ("p 0",), name="p0"),
            Doc("p", ("p 5",), day=1, when=On("result"), name="p1"),
        ),
        faults=(Hit("removal", "status", times=None, status=403),),
        life=(Life("dimension", On("upload"), seconds=0.5, slug="other"),),
    ),
    "a search is answered 400, as if its workspace were not there": Schedule(
        2636756811,
        Setup(prepared=("docs",), vector_db="pgvector"),
        history=(Doc("b", ("five",), name="e7"),),
        faults=(
            Hit("search", "status", skip=5, status=400),
            Hit("any", "status", skip=5, times=6, apply=True, late=125.0),
        ),
        life=(Life("vectors-kept", At(0), seconds=300.0),),
    ),
}
