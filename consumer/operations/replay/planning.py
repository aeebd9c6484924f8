"""Planning a replay: from what an operator asks for to what would be done now. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from consumer.contract.received_letter import Letter
from consumer.kafka.topics import no_such_topic
from consumer.model.fields import whole_in
from consumer.model.record import Coordinates
from consumer.operations.letters.original import event_topics
from consumer.operations.letters.reading import Letters, read_letters
from consumer.operations.letters.selection import Selection
from consumer.operations.ports import ClusterAdmin, KafkaAccess, RecordReader
from consumer.operations.progress import Progress
from consumer.operations.replay.plan import ReplayPlan, plan_of
from consumer.operations.replay.prospects import (
    Prospects,
    ReplayLimits,
    can_be_foreseen,
    foreseen,
    topics_of,
)
from consumer.operations.replay.sources import Lines, read_exported, records_for
from consumer.operations.replay.verdict import ReplayRules, ReplayVerdict, verdict_of
from consumer.operations.replay_topic import why_too_few_partitions
from consumer.settings import Settings
from consumer.wiring.events import event_reader
from consumer.wiring.topics import DEAD_LETTER_HEADROOM


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What an operator asks for.

    Args:
        selection: which letters are meant.
        from_parked: parked letters are brought back, and no others are replayed.
        force: foreign letters are replayed as well.
        include_hopeless: letters that replaying can't help are replayed as well.
        despite_missing_results: also where the results topic does not reach back far enough.
        rate: replays a second at most.
        lines: of an exported file that letters come from, instead of a topic.
        path: of that file, absolute; ``-`` for standard input.
    """

    selection: Selection
    from_parked: bool = False
    force: bool = False
    include_hopeless: bool = False
    despite_missing_results: bool = False
    rate: float | None = None
    lines: Lines | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class ReplayLook:
    """What planning found.

    Args:
        plan: what would be done.
        source: the topic that letters come from; for a file the dead-letter topic.
        ends: the end of each partition of it.
        replay_ends: the end of each partition of the replay topic.
        members: how many instances of the service run.
        refused: why nothing can be done as things are, each with what to do.
        file_sha256: hex, of the file's lines; "" without a file.
    """

    plan: ReplayPlan
    source: str
    ends: Mapping[int, int]
    replay_ends: Mapping[int, int]
    members: int
    refused: tuple[str, ...] = ()
    file_sha256: str = ""


class ReplayPlanner:
    """Finds out what a request means now."""

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        reader: RecordReader,
        admin: ClusterAdmin,
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._reader = reader
        self._admin = admin
        self._progress = progress

    async def look(
        self,
        request: ReplayRequest,
        within: Mapping[int, tuple[int, int]] | None = None,
        published: frozenset[str] = frozenset(),
    ) -> ReplayLook:
        """Read all topics once and plan.

        Args:
            request: what is asked for.
            within: of a run that goes on, the first offset and the end by partition of the source.
            published: places of letters that this run has published already.

        Raises:
            KafkaUnavailableError: Kafka can't be reached, or a topic is missing.
            WrongFileError: the file is none of ours.
        """
        kafka = self._settings.kafka
        parked = request.from_parked and request.lines is None
        source = kafka.parked_topic if parked else kafka.dead_letters_topic
        # The ends come first: letters that are written later do not belong to this run.
        ends = await self._ends(source)
        replay_ends = await self._ends(kafka.replay_topic)
        digest, exported = read_exported(request.lines)
        letters = await read_letters(
            self._settings, self._kafka, progress=self._progress, also=exported
        )
        limits = within or {number: (0, end) for number, end in ends.items()}
        if request.lines is None:
            chosen = letters.parked if parked else letters.letters
            candidates = [each for each in chosen if _is_within(each.at, limits)]
        else:
            candidates = [letter for letter, _ in exported]
        candidates = [each for each in candidates if str(each.at) not in published]
        rules = ReplayRules(
            self._settings.replay.max_replays,
            request.from_parked,
            request.force,
            request.include_hopeless,
        )
        prospects = await self._prospects(candidates, letters, request, rules)
        plan = plan_of(candidates, letters.of, request.selection, rules, prospects.of)
        plan = replace(
            plan,
            originals_there=sum(prospects.is_there(each) for each in plan.replayed),
            unanswered=len(letters.unanswered(plan.replayed)),
            notes=(*letters.notes, *prospects.notes(plan.replayed)),
        )
        if plan.parked:
            await self._ends(kafka.parked_topic)
        members = len(await self._admin.members(kafka.group_id))
        refused = tuple(self._refusals(plan, letters, len(replay_ends), request))
        return ReplayLook(plan, source, ends, replay_ends, members, refused, digest)

    async def _ends(self, topic: str) -> dict[int, int]:
        ranges = await self._reader.offset_ranges(topic)
        if ranges is None:
            raise no_such_topic(topic)
        return {number: offsets.end for number, offsets in ranges.items()}

    async def _prospects(
        self,
        candidates: Iterable[Letter],
        letters: Letters,
        request: ReplayRequest,
        rules: ReplayRules,
    ) -> Prospects:
        """Look at what tells beforehand whether replaying can help: bytes, topics, their limits."""
        kafka = self._settings.kafka
        meant = [
            each
            for each in candidates
            if request.selection.matches(each)
            and verdict_of(each, letters.of(each), rules) is ReplayVerdict.REPLAY
        ]
        followed = event_topics(self._settings)
        ranges = {
            topic: await self._reader.offset_ranges(topic) or {}
            for topic in topics_of(meant, followed)
        }
        states = await self._admin.states([kafka.replay_topic, kafka.dead_letters_topic])
        largest = {
            name: whole_in(state.settings.get("max.message.bytes")) or 0
            for name, state in states.items()
        }
        limits = ReplayLimits(
            publisher=self._settings.document.max_bytes + DEAD_LETTER_HEADROOM,
            topic=largest.get(kafka.replay_topic, 0),
            letters=largest.get(kafka.dead_letters_topic, 0),
            event=self._settings.document.max_bytes,
        )
        work = sorted(filter(can_be_foreseen, meant), key=lambda each: each.at)
        records = records_for(
            self._reader, [(each, ReplayVerdict.REPLAY) for each in work], request.lines
        )
        refused = await foreseen(
            event_reader(self._settings, quiet=True),
            ((letter, record) async for letter, _, record in records),
        )
        return Prospects(refused, ranges, limits, followed)

    def _refusals(
        self, plan: ReplayPlan, letters: Letters, partitions: int, request: ReplayRequest
    ) -> Iterable[str]:
        kafka = self._settings.kafka
        too_few = why_too_few_partitions(
            self._settings, partitions, plan.highest_partition, what="letters came from"
        )
        if too_few is not None:
            yield too_few
        if plan.unanswered and letters.reach.cut and not request.despite_missing_results:
            yield (
                f"{kafka.results_topic} does not reach back to the results of {plan.unanswered} of "
                "these letters: nobody can tell whether a newer version was stored or deleted "
                "since, and replaying an old one could bring back old text. Results must be kept "
                "as long as dead letters: set retention.ms=-1 (and no retention.bytes) on "
                f"{kafka.results_topic}. If you know that nothing newer came: "
                "--despite-missing-results"
            )


def _is_within(at: Coordinates, limits: Mapping[int, tuple[int, int]]) -> bool:
    start, end = limits.get(at.partition, (0, 0))
    return start <= at.offset < end
