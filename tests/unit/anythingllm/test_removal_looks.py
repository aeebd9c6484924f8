"""What was removed is told as found only by a search that was made late enough."""

from __future__ import annotations

from typing import Any

from consumer.anythingllm import AnythingLLMServerError
from consumer.anythingllm.hit_limit import HitLimit
from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.removal_looks import RemovalLooks
from consumer.anythingllm.transport import Errand
from consumer.anythingllm.vector_databases import DATABASES, VectorDatabase
from consumer.model.names import Slug
from tests.unit.pipeline.doubles import stored

REMOVED = stored("a", "one").marker
SHOWN_FOR = 15.0  # seconds after a removal
_MILVUS = DATABASES["milvus"]


class Scene:
    """Looks at a database that still shows for a while what was removed at 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self.blocked: set[str] = set()

    async def search(self, errand: Errand, slug: Slug, query: str, top: int) -> list[VectorHit]:
        self.now += 0.1
        if query in self.blocked:
            error = AnythingLLMServerError("502", http_status=502)
            error.by_intermediary = True
            raise error
        hit: Any = VectorHit("one", None, REMOVED.encode(), "a")
        return [hit] if self.now < SHOWN_FOR else []

    async def row_counts(self, errand: Errand) -> dict[str, int]:
        return {"docs": 3}

    async def passes(self, *_: object, **__: object) -> None:
        self.now += 1.0

    async def __call__(self, errand: Errand) -> VectorDatabase:
        return _MILVUS

    @property
    def visibility(self) -> Scene:
        return self

    def seconds(self, database: VectorDatabase) -> float:
        return database.visible_seconds

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def look(self, *queries: str) -> bool:
        us: Any = self
        looks = RemovalLooks(
            us, HitLimit(), us, us,
            errand=lambda seconds, _: Errand(self.now + seconds, lambda: self.now),
            timeout=30, clock=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip

        async def relist() -> None:
            return

        remains = await looks.remains(
            Slug("docs"), lambda marker: marker == REMOVED, queries, relist,
            trace_id=None, check=lambda: None,
        )  # fmt: skip
        return remains is not None


async def test_what_is_still_shown_for_a_while_is_gone() -> None:
    """It is looked for again."""
    assert not await Scene().look("the title", "a text")


async def test_what_one_search_has_shown_is_no_proof_minutes_later() -> None:
    """Something blocks the other one, and what the first has found grows old meanwhile."""
    scene = Scene()
    scene.blocked = {"a text"}

    assert not await scene.look("the title", "a text")
    assert scene.now > 120
