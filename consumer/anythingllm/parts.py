"""What a client is made of, put together once: all that talks to one server shares it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from consumer.anythingllm.api import Api
from consumer.anythingllm.config import AnythingLLMConfig
from consumer.anythingllm.creation_doubts import CreationDoubts
from consumer.anythingllm.database_control import DatabaseControl
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.database_look import another_answers
from consumer.anythingllm.document_removal import DocumentRemoval
from consumer.anythingllm.effects import LATE_SECONDS
from consumer.anythingllm.embedder_in_use import EmbedderInUse
from consumer.anythingllm.file_store import FILES_REST, FileStore
from consumer.anythingllm.hit_limit import HitLimit
from consumer.anythingllm.joint_looks import JointLooks
from consumer.anythingllm.marker_lookup import MarkerLookup
from consumer.anythingllm.proof import StorageProof
from consumer.anythingllm.readiness import Readiness
from consumer.anythingllm.removal_looks import RemovalLooks
from consumer.anythingllm.removal_way import RemovalWay
from consumer.anythingllm.restarts import PING_SECONDS, Restarts
from consumer.anythingllm.sole_server import SoleServer
from consumer.anythingllm.transport import Errand, Transport
from consumer.anythingllm.unit_store import AnythingLLMStorage
from consumer.anythingllm.upload_ways import Ways
from consumer.anythingllm.vouching import Vouching
from consumer.anythingllm.workspaces import Workspaces
from consumer.model.names import Slug, TraceId


class Parts:
    """See the module's docstring.

    Args:
        transport: the one way to the server.
        clock: monotonic seconds.
        sleep: waits.

    Attributes:
        api: the endpoints.
        probing: the same, past the breaker.
        database: which vector database it is.
        limit: how many hits a search may ask for.
        embedder: whether it gives vectors that a search can use.
        workspaces: finds them, and creates them where that is allowed.
        creator: creates them.
        readiness: makes them safe for uploads.
        storage: units.
    """

    def __init__(
        self,
        config: AnythingLLMConfig,
        transport: Transport,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self.api = Api(transport)
        self.probing = self.api.as_probe()
        way = RemovalWay(clock)
        self._removal = DocumentRemoval(self.api, way)
        self._probing_removal = DocumentRemoval(self.probing, way)
        self.database = DatabaseInUse(self.api, configured=config.vector_db, clock=clock)
        self.limit = HitLimit()
        self.embedder = EmbedderInUse(
            self.probing, errand=self.errand, timeout=config.timeout, clock=clock
        )
        self._proof = StorageProof(self.api, self.limit, errand=self.errand, timeout=config.timeout)
        self._restarts = Restarts(
            lambda: self.api.ping(self.errand(PING_SECONDS, None)),
            refused_at=lambda: transport.refused_at,
            clock=clock,
            sleep=sleep,
        )
        creations = CreationDoubts(self._restarts, ambiguity=config.ambiguity_seconds, clock=clock)
        self.creator = Workspaces(self.api, self.database, creations)
        sole = SoleServer(self.api, group=config.group, errand=self.errand, timeout=config.timeout)
        self.workspaces = Workspaces(
            self.api,
            self.database,
            creations if config.create_workspaces else None,
            sole=sole,
        )
        self.readiness = self._readiness_by(
            self.api, self._proof, self._removal, config.upload_timeout
        )
        self.embedder.when_length_changes(
            self.readiness.distrust_all, lambda: self.database.known.new_dimension
        )
        prober = self._prober()
        self._control = DatabaseControl(
            prober.store_test,
            prober.removal_test,
            new_dimension=lambda: self.database.known.new_dimension,
            another_answers=self._another_answers,
            clock=clock,
        )
        self.storage = AnythingLLMStorage(
            self.api,
            self.readiness,
            self._ways(),
            sole,
            probing=self.probing,
            under_way=transport.under_way,
            errand=self.errand,
            timeout=config.timeout,
            removal_timeout=config.removal_timeout,
        )

    def errand(self, seconds: float, trace_id: TraceId | None) -> Errand:
        """An errand of so many seconds."""
        return Errand(self._clock() + seconds, self._clock, trace_id)

    def _prober(self) -> Readiness:
        """Stores test documents while the breaker is open: that is how it learns when to close."""
        api = self.probing
        proof = StorageProof(api, self.limit, errand=self.errand, timeout=self._config.timeout)
        # A removal waits for its tests, and is to end in its own time.
        soon = min(self._config.upload_timeout, self._config.removal_timeout)
        prober = self._readiness_by(api, proof, self._probing_removal, soon)
        prober.when_left(self.readiness.left)
        return prober

    def _readiness_by(
        self, api: Api, proof: StorageProof, removal: DocumentRemoval, upload_timeout: float
    ) -> Readiness:
        return Readiness(
            api,
            self.workspaces,
            proof,
            self.database,
            removal,
            self.embedder,
            errand=self.errand,
            timeout=self._config.timeout,
            upload_timeout=upload_timeout,
            pause=self._config.sentinel_pause,
            late=min(LATE_SECONDS, self._config.ambiguity_seconds),
            clock=self._clock,
            sleep=self._sleep,
        )

    async def _another_answers(self, slug: Slug, trace_id: TraceId | None) -> bool:
        return await another_answers(
            self.probing, slug, self.errand(self._config.timeout, trace_id)
        )

    def _ways(self) -> Ways:
        vouching = Vouching(
            self._proof,
            self.database,
            self._control,
            self.embedder,
            errand=self.errand,
            timeout=self._config.timeout,
            clock=self._clock,
            sleep=self._sleep,
        )
        return Ways(
            api=self.api,
            readiness=self.readiness,
            proof=self._proof,
            database=self.database,
            embedder=self.embedder,
            control=self._control,
            vouching=vouching,
            removal=self._removal,
            removal_looks=RemovalLooks(
                self.api,
                self.limit,
                self.database,
                self._control,
                errand=self.errand,
                timeout=self._config.timeout,
                clock=self._clock,
                sleep=self._sleep,
            ),
            looks=JointLooks(
                self._proof, self._control, vouching, self.database.hit_ids, clock=self._clock
            ),
            lookup=MarkerLookup(self._proof.by_listing, self._clock),
            file_lookup=MarkerLookup(
                FileStore(self.api, errand=self.errand, timeout=self._config.timeout).by_files,
                self._clock,
                rest=FILES_REST,
            ),
            slots=asyncio.Semaphore(self._config.max_chunks_in_flight),
            errand=self.errand,
            clock=self._clock,
            restarts=self._restarts,
            timeout=self._config.timeout,
            upload_timeout=self._config.upload_timeout,
            ambiguity=self._config.ambiguity_seconds,
        )
