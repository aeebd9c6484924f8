"""How the service is, as the probes ask it: reasons, from memory, at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from consumer.anythingllm import AnythingLLMClient
from consumer.app.anythingllm_watch import AnythingLLMWatch
from consumer.app.joining import Joining
from consumer.app.starting import Starting
from consumer.kafka.publisher import Publisher
from consumer.kafka.source import KafkaSource
from consumer.model.names import ServerName
from consumer.pipeline.gates import Gates
from consumer.pipeline.homes import Homes
from consumer.pipeline.index import Index
from consumer.pipeline.journey import Journey
from consumer.telemetry.metrics import Metrics

_POLL_STUCK_MARGIN_SECONDS = 60.0
# Far above any rebalance: only a fetch that has stopped for good is worth a restart.
_STARVED_SECONDS = 300.0
_NAMED = 20  # paused workspaces that a page names; the metric counts them all


@dataclass(frozen=True, slots=True)
class ServerCondition:
    """What is asked about one AnythingLLM.

    Args:
        name: None where there is one only.
        client: has the breaker.
    """

    name: ServerName | None
    client: AnythingLLMClient
    watch: AnythingLLMWatch
    gates: Gates
    index: Index

    def blown(self) -> str | None:
        """Why it gives nothing up, where its fuse is blown."""
        if not self.gates.fuse.blown:
            return None
        return self._named(
            "most documents fail although AnythingLLM is well: none is given up, one is tried"
            " a recovery period; look at the latest dead letters"
        )

    def degraded(self, *, is_working: bool = True) -> Iterator[str]:
        """What waits for it.

        Args:
            is_working: whether documents are in work: else nobody sees when it is well again.
        """
        breaker = self.client.breaker
        if (state := breaker.state) != "closed":
            yield self._named(f"the breaker is {state}: AnythingLLM does not answer")
        elif is_working and (failures := breaker.failure_count):
            # The breaker opens after several: one that takes requests and answers none has the
            # first time-outs minutes before.
            last = "last request" if failures == 1 else f"last {failures} requests"
            yield self._named(f"the {last} failed: {breaker.last_error}")
        if self.watch.trouble is not None:
            yield self._named(self.watch.trouble)
        paused = self.gates.pauses.paused
        for slug, error in sorted(paused.items())[:_NAMED]:
            yield self._named(f"workspace {slug} is paused: {error}")
        for slug, documents in sorted(self.index.lost.items())[:_NAMED]:
            yield self._named(
                f"workspace {slug} lost {documents} documents: `audit --republish` brings them back"
            )
        for slug, error in sorted(self.index.unlisted.items())[:_NAMED]:
            if state == "closed" and slug not in paused:
                yield self._named(f"workspace {slug} can't be listed: {error}")

    def _named(self, reason: str) -> str:
        return reason if self.name is None else f"server {self.name}: {reason}"


@dataclass(frozen=True, slots=True)
class ConditionReport:
    """How the service is.

    Args:
        state: in a word or two, the worst that holds.
        reasons: why it is not alive, or not ready.
        worries: see `Condition.degraded`.
    """

    state: str
    reasons: tuple[str, ...]
    worries: tuple[str, ...]


class Condition:
    """Answers the probes (`consumer.admin.health.Health`).

    Args:
        stop: set from the stop on.
        servers: one, or several.
        homes: where there are several.
        metrics: know how many documents wait.
        poll_limit: seconds that a poll may take; a rebalance happens inside of one.
    """

    def __init__(
        self,
        *,
        stop: asyncio.Event,
        starting: Starting,
        joining: Joining,
        source: KafkaSource,
        publisher: Publisher,
        servers: Sequence[ServerCondition],
        homes: Homes | None = None,
        metrics: Metrics,
        poll_limit: float,
    ) -> None:
        self._stop = stop
        self._starting = starting
        self._joining = joining
        self._source = source
        self._publisher = publisher
        self._servers = servers
        self._homes = homes
        self._metrics = metrics
        self._poll_limit = poll_limit + _POLL_STUCK_MARGIN_SECONDS
        self.journey: Journey | None = None
        self.kafka_trouble: str | None = None

    def alive(self) -> list[str]:
        """Why a restart would help; for ``/livez``."""
        if self.journey is None:
            return []
        reasons = []
        if (stuck := self.journey.polling_for()) > self._poll_limit:
            reasons.append(f"a poll has taken {stuck:.0f} s")
        if (starved := self._source.starved_seconds) > _STARVED_SECONDS:
            reasons.append(f"records wait and none was received for {starved:.0f} s")
        return reasons

    def ready(self) -> list[str]:
        """Why no work is done; for ``/readyz``."""
        reasons = []
        if self.journey is None:
            waits = self._starting.waits_for
            reasons.append(f"still starting, waiting for {waits}" if waits else "still starting")
        elif self._stop.is_set():
            reasons.append("draining")
        if not self._source.joined:
            why = self._joining.notice or "joining it, or Kafka does not answer"
            reasons.append(f"not in the consumer group: {why}")
        elif not self._source.placed:
            reasons.append("finding out where the partitions begin")
        if self.kafka_trouble is not None:
            reasons.append(f"Kafka: {self.kafka_trouble}")
        if self._publisher.trouble is not None:
            reasons.append(f"Kafka does not take what we publish: {self._publisher.trouble}")
        blown = [each.blown() for each in self._servers]
        if all(blown):
            reasons += [reason for reason in blown if reason is not None]
        return reasons

    def degraded(self) -> list[str]:
        """What waits although we are ready; for ``/readyz``."""
        reasons = []
        if self._source.joined and not self._source.assigned:
            reasons.append("no partition is left for this instance; it stands by")
        reasons += [
            f"a transaction that nobody ends holds back {held}" for held in self._source.held_back()
        ]
        is_working = bool(self._metrics.value("documents_in_flight"))
        for each in self._servers:
            reasons += each.degraded(is_working=is_working)
            # All of them: that is told where we are not ready.
            if len(self._servers) > 1 and (blown := each.blown()) is not None:
                reasons.append(blown)
        reasons += self._homeless()
        if waiting := self._metrics.value("documents_waiting"):
            reasons.append(f"documents that wait for AnythingLLM: {waiting:.0f}")
        return reasons

    def report(self) -> ConditionReport:
        """All of it at once, for the status."""
        dead, unready, worries = self.alive(), self.ready(), self.degraded()
        found = (
            (dead, "not alive"),
            (self._stop.is_set(), "draining"),
            (self.journey is None, "starting"),
            (unready, "not ready"),
            (worries, "degraded"),
        )
        state = next((word for holds, word in found if holds), "ready")
        return ConditionReport(state, (*dead, *unready), tuple(worries))

    def _homeless(self) -> Iterator[str]:
        """Workspaces that live on none of several servers."""
        if self._homes is None:
            return
        if self._homes.trouble is not None:
            yield self._homes.trouble
        for slug, reason in sorted(self._homes.homeless.items())[:_NAMED]:
            yield f"workspace {slug} has no home: {reason}"
