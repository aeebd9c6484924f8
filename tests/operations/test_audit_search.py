"""``audit`` searches for what is listed: what is not found, what nobody can tell, what it leaves.

A service of before this rule believed what AnythingLLM says on every vector database. One that is
told that it has LanceDB does so still: that is how chunks come to be listed here without vectors.
"""

from __future__ import annotations

import json

import pytest

from consumer.anythingllm import proof
from consumer.anythingllm.visibility import SURE_SECONDS
from consumer.model.names import Location, Slug
from consumer.operations.audit.audit import PAUSE
from consumer.operations.audit.searching import SAMPLE_CHUNKS, SAMPLE_DOCUMENTS, SearchScope
from consumer.operations.audit.states import DocumentState
from consumer.sandbox.simulator import Damage
from tests.client.support import client_for
from tests.commands import Commands, Ended
from tests.doubles.stage import MemoryStage
from tests.operations.auditing import SECOND, look
from tests.operations.conftest import MakeStage, Operator
from tests.operations.test_audit import age, files_of, read
from tests.staging import Json, document, texts

BELIEVING = {"ANYTHINGLLM_VECTOR_DB": "lancedb"}
DOCS = Slug("docs")


async def stored(stage: MemoryStage, *events: Json) -> None:
    """Have a service store these that believes what it is told."""
    stage.publish_all(events)
    stage.start(**BELIEVING)
    await stage.settled()
    await stage.stop()


async def refused(stage: MemoryStage, *events: Json) -> None:
    """The same while the vector database refuses vectors: they are listed and never found."""
    stage.simulator.faults.vectors_refused = True
    await stored(stage, *events)
    stage.simulator.faults.vectors_refused = False


def documents(name: str, count: int, chunks: int = 2, technology: str = "docs") -> list[Json]:
    """So many documents of so many chunks."""
    names = [f"{name}{number}" for number in range(count)]
    return [document(each, texts(each, chunks), technology=technology) for each in names]


async def audit(operator: Operator, *words: str, **settings: str) -> Ended:
    return await operator.run("audit", *words, **SECOND | settings)


def searched(**counts: object) -> Json:
    """What the totals say, where only this is not 0."""
    names = ("found", "not_found", "not_told", "not_looked_at")
    empty = {"documents": 0, "workspaces_not_told": []}
    return empty | dict.fromkeys((f"chunks_{name}" for name in names), 0) | counts


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.slow
async def test_vectors_that_were_refused_for_a_while_are_missed(
    make_stage: MakeStage, commands: Commands
) -> None:
    """Listed and acknowledged, and not there: each is named, and the cure that is told cures."""
    stage = await make_stage(vector_db="pgvector")
    operator = Operator(stage, commands)
    await stored(stage, *documents("kept", 4))
    await refused(stage, *documents("lost", 3))
    age(stage)
    ended, shown = await audit(operator, "--search", "--json"), await audit(operator)
    unsearched = await audit(operator, "--no-search", "--json")

    findings, totals = read(ended)
    assert (ended.code, shown.code, unsearched.code) == (3, 3, 0)
    assert [(each["kind"], each["identity"]) for each in findings] == [
        ("not-found", f"lost{n}") for n in range(3)
    ]
    assert {each["finding"] for each in findings} == {
        "2 chunks are listed, and no search finds them"
    }
    assert (findings[0]["chunks_stored"], findings[0]["chunks_not_found"]) == (2, 2)
    assert (totals["stored"], totals["not_found"], totals["unexplained"]) == (4, 3, 3)
    assert totals["searched"] == searched(documents=7, chunks_found=8, chunks_not_found=6)
    assert "`workspaces repair --yes`" in shown.out
    assert shown.lines[-2] == (
        "searched for chunks of 7 documents: 8 found, 6 not found, 0 could not be told, "
        "0 not looked at"
    )
    assert unsearched.json["searched"] == searched(chunks_not_looked_at=14)

    repaired = await operator.run("workspaces", "repair", "--yes", **SECOND)
    again = await audit(operator, "--search", "--json")
    assert (repaired.code, again.code) == (0, 0)
    assert again.json["searched"] == searched(documents=7, chunks_found=14)


async def test_vectors_of_a_pack_that_stays_for_what_it_lends_are_missed(
    make_stage: MakeStage, commands: Commands
) -> None:
    """A new chunk was refused, so what is stored of the others is in a pack that has to go."""
    stage = await make_stage(vector_db="pgvector")
    operator = Operator(stage, commands)
    packs = {"UPLOAD_CHUNKS_PER_PACK": "10", "UPLOAD_PACKS_TRIAL": "true", **BELIEVING}
    stage.simulator.faults.add("status", path="*/raw-text", contains="refused", status=422)
    for is_lost, last in ((True, "old"), (False, "refused")):
        stage.simulator.faults.vectors_refused = is_lost
        stage.publish_all([document("a", ["one", "two", last])])
        stage.start(**packs)
        await stage.settled()
        await stage.stop()
    age(stage)
    findings, _ = read(await audit(operator, "--search", "--json"))

    (finding,) = findings
    assert (finding["kind"], finding["chunks_stored"], finding["chunks_not_found"]) == (
        "not-found", 2, 2,
    )  # fmt: skip


@pytest.mark.parametrize("most", [10, 100])
async def test_a_database_that_gives_few_hits_hides_nothing(
    make_stage: MakeStage, commands: Commands, most: int
) -> None:
    """What is there is found; what is not is missed, or could not be told: never called found."""
    stage = await make_stage(vector_db="pgvector")
    operator = Operator(stage, commands)
    await stored(stage, *documents("kept", 6, chunks=8))
    await refused(stage, *documents("lost", 1))
    age(stage)
    stage.simulator.faults.most_hits = most
    _, totals = read(await audit(operator, "--search", "--json"))

    said = totals["searched"]
    assert said["chunks_found"] == 48
    assert said["chunks_not_found"] + said["chunks_not_told"] == 2


@pytest.mark.parametrize("name", ["pgvector", "chroma"])
async def test_a_database_that_is_down_has_lost_nothing(
    make_stage: MakeStage, commands: Commands, name: str
) -> None:
    """It looks empty, or searches fail: that could not be told, exit 1, and nothing is blamed."""
    stage = await make_stage(vector_db=name)
    operator = Operator(stage, commands)
    await stage.worked(*documents("doc", 3))
    age(stage)
    stage.simulator.faults.database_down = True
    ended, shown = await audit(operator, "--search", "--json"), await audit(operator)
    stage.simulator.faults.database_down = False
    after = await audit(operator, "--search", "--json")

    findings, totals = read(ended)
    assert (ended.code, shown.code, after.code, findings) == (1, 1, 0, [])
    assert totals["searched"] == searched(
        documents=3, chunks_not_told=6, workspaces_not_told=["docs"]
    )
    (notice,) = totals["notices"]
    assert notice.startswith("searches tell nothing in docs: ")
    assert notice in shown.err
    assert after.json["searched"] == searched(documents=3, chunks_found=6)


# -- what is lost ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lancedb", "pgvector", "chroma", "milvus"])
async def test_a_workspace_that_has_lost_everything(make_stage: MakeStage, name: str) -> None:
    """Its searches find nothing at all; that the others' do tells it from an outage."""
    stage = await make_stage(vector_db=name, workspaces=("docs", "other"))
    await stage.worked(*documents("doc", 2), *documents("far", 2, technology="other"))
    stage.simulator.damage(Damage.VECTORS_LOST, "other")
    seen = await look(stage, scope=SearchScope.ALL)

    assert seen.named == [("not-found", "far0"), ("not-found", "far1")]
    assert (seen.summary.search.found, seen.summary.search.not_found) == (4, 4)
    assert seen.summary.unsearchable == ()


async def test_published_after_its_tombstone_a_lost_document_is_back(
    make_stage: MakeStage,
) -> None:
    """The second half of the advice; publishing it alone uploads nothing."""
    stage = await make_stage()
    (event,) = documents("doc", 1)
    await stage.worked(event)
    stage.simulator.damage(Damage.VECTORS_LOST, "docs")
    await stage.worked(event)
    alone = await look(stage)
    stage.publish(None, key="doc0")
    await stage.worked(event)
    cured = await look(stage)

    assert alone.named == [("not-found", "doc0")]
    assert (cured.named, cured.summary.search.found) == ([], 2)


async def test_what_is_wrong_besides_keeps_its_name(make_stage: MakeStage) -> None:
    """A chunk gone and another not found: incomplete, with both numbers and both cures."""
    stage = await make_stage()
    await stage.worked(*documents("doc", 1, chunks=3))
    first, second, _ = files_of(stage, "doc0")
    stage.simulator.damage(Damage.VECTORS_LOST, "docs", first.location)
    async with client_for(stage.simulator) as client:
        await client.storage.remove(DOCS, [Location(second.location)])
    (found,) = (await look(stage)).found

    assert (found.state, found.stored, found.not_found) == (DocumentState.INCOMPLETE, 2, 1)
    assert found.text == ("1 of 3 chunks are not stored; 1 chunk is listed, and no search finds it")
    assert "audit --republish --yes" in found.what_to_do
    assert "`workspaces repair --yes`" in found.what_to_do


# -- what is no loss -------------------------------------------------------------------------------


async def test_what_is_not_visible_yet_is_waited_for(make_stage: MakeStage) -> None:
    """How late it is here nobody knows; what is found after two minutes was never missing."""
    stage = await make_stage(vector_db="milvus")
    await stage.worked(*documents("doc", 2))
    slept: list[float] = []
    faults = stage.simulator.faults

    async def until_visible(seconds: float) -> None:
        slept.append(seconds)
        if seconds > PAUSE or faults.visible_after_seconds > SURE_SECONDS:
            faults.visible_after_seconds = 0.0

    faults.visible_after_seconds = 60.0
    young = await look(stage, sleep=until_visible)
    age(stage)
    faults.visible_after_seconds = 5_000.0
    old = await look(stage, sleep=until_visible)

    assert (young.found, young.summary.search.found) == ([], 4)
    assert (old.found, old.summary.search.found) == ([], 4)
    assert (slept[0], slept[2:]) == (PAUSE, [PAUSE])
    assert PAUSE < slept[1] <= SURE_SECONDS


async def test_what_is_being_published_again_is_not_judged(stage: MemoryStage) -> None:
    """Its event waits at the second look: the service may be at it."""
    (event,) = documents("doc", 1)
    await stage.worked(event)
    stage.simulator.damage(Damage.VECTORS_LOST, "docs")

    async def publish(seconds: float) -> None:
        stage.publish(document("doc0", texts("newer", 1), day=1))

    seen = await look(stage, sleep=publish)

    assert seen.found == []
    assert seen.summary.states == {DocumentState.WAITING: 1}
    assert seen.summary.search.not_found == 0


async def test_among_more_equal_texts_than_a_search_gives_nobody_can_tell(
    stage: MemoryStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many are as near as there are hits: counted, and neither found nor missing."""
    monkeypatch.setattr(proof, "_MOST_HITS", 20)
    same = [document(f"doc{n}", ["the same text"]) for n in range(40)]
    await stage.worked(*({**each, "source_url": "https://e.com/"} for each in same))
    seen = await look(stage, scope=SearchScope.ALL)

    search = seen.summary.search
    assert (seen.found, search.not_found, search.found + search.not_told) == ([], 0, 40)
    assert search.not_told > 0
    assert seen.summary.unsearchable == ()


async def test_reranked_searches_tell_of_few(stage: MemoryStage) -> None:
    """AnythingLLM then tells of 50 vectors at most: what is not among them may be there."""
    await stage.worked(*documents("doc", 1))
    stage.simulator.state.workspaces["docs"].fields["vectorSearchMode"] = "rerank"
    stage.simulator.damage(Damage.VECTORS_LOST, "docs")
    seen = await look(stage)

    assert (seen.found, seen.summary.search.not_told) == ([], 2)


# -- how much --------------------------------------------------------------------------------------


async def test_a_sample_is_of_all_workspaces(make_stage: MakeStage) -> None:
    """Some chunks of some documents, of each workspace in turn; the rest is counted."""
    stage = await make_stage(workspaces=("docs", "small"))
    few, many = documents("few", 1, technology="small"), documents("many", 30, chunks=1)
    await stage.worked(*many, *few, document("long", texts("long", 50), technology="small"))
    seen = await look(stage)

    search = seen.summary.search
    assert (seen.found, search.documents) == ([], SAMPLE_DOCUMENTS)
    assert search.found == SAMPLE_DOCUMENTS - 2 + 2 + SAMPLE_CHUNKS
    assert search.found + search.not_looked_at == 30 + 2 + 50
    one = await look(stage, Slug("small"))
    assert (one.summary.search.documents, one.summary.search.not_looked_at) == (2, 40)


async def test_one_search_proves_many_chunks(stage: MemoryStage) -> None:
    """Those of a document are near each other."""
    await stage.worked(document("doc", texts("doc", 30)))
    before = count_searches(stage)
    seen = await look(stage, scope=SearchScope.ALL)

    assert seen.summary.search.found == 30
    assert 0 < count_searches(stage) - before <= 6


def count_searches(stage: MemoryStage) -> int:
    """How many searches AnythingLLM has answered."""
    answered = stage.simulator.journal.of("request.answered")
    return sum("vector-search" in json.dumps(each) for each in answered)


@pytest.mark.parametrize("vector_db", ["lancedb", "pgvector"])
@pytest.mark.parametrize("chunks", [1, 12])
async def test_a_text_whose_vector_is_none_is_not_called_found(
    make_stage: MakeStage, vector_db: str, chunks: int
) -> None:
    """Zeros come up in every search, on LanceDB before all others, and tell nothing."""
    stage = await make_stage(vector_db=vector_db)
    bad = texts("bad", chunks)
    await stage.worked(document("bad", bad), document("good", ["one", "two"]))
    for row in stage.simulator.state.workspaces["docs"].rows.values():
        if row.file.text in bad:
            stage.simulator.damage("zeroed", "docs", row.file.location)
    seen = await look(stage, scope=SearchScope.ALL)

    assert seen.named == [("not-found", "bad")]


async def test_searches_tell_nothing_while_the_embedder_gives_nonsense(
    make_stage: MakeStage,
) -> None:
    """No chunk is called lost for that; the embedder is named."""
    stage = await make_stage()
    await stage.worked(document("good", ["one", "two"]))
    stage.simulator.faults.embedder_nonsense = "zeros"
    seen = await look(stage, scope=SearchScope.ALL)

    assert seen.named == []
    assert seen.summary.unsearchable == (DOCS,)
    assert any("embedder answers with success" in each for each in seen.summary.notices)
