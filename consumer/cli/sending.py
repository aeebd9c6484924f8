"""``publish``: sending, waiting for results, and what is seen of both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from consumer.cli import output
from consumer.cli.common import CommandFailed, ExitCode, end
from consumer.cli.progress import bar
from consumer.cli.times import when
from consumer.operations.progress import Advance, silent

if TYPE_CHECKING:
    from consumer.contract.received_result import ReceivedResult
    from consumer.model.record import Record
    from consumer.operations.ports import KafkaAccess
    from consumer.operations.publish import PublishedEvent
    from consumer.operations.results.awaiting import AwaitedResults
    from consumer.publishing import EventRecord
    from consumer.settings import Settings

_PATIENCE_SECONDS = 30.0  # a person waits in front of it
_HINT_SECONDS = 30.0  # without a first result
_MAX_KEPT = 20
_MAX_LISTED = 5
_AGAIN = "publishing all of them again is safe"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingWish:
    """What is asked for.

    Args:
        total: how many events there are.
        wait: for their results.
        timeout: seconds to wait for results at most; None: until Ctrl-C.
        started: aware; when the command began.
    """

    total: int
    wait: bool
    timeout: float | None
    started: datetime


@dataclass(slots=True)
class Sent:
    """What is published so far, and what became of it.

    Args:
        topic: where to.
        published: how many were acknowledged.
        first: some of them.
        awaited: their results, where they are waited for.
        timed_out: whether waiting was given up.
    """

    topic: str
    published: int = 0
    first: list[PublishedEvent] = field(default_factory=list)
    awaited: AwaitedResults | None = None
    timed_out: bool = False
    show: Advance = silent

    def __call__(self, more: int) -> None:
        """Note that so many more are acknowledged."""
        self.published += more
        self.show(more)

    def note(self, record: Record) -> None:
        """Note where one lies."""
        from consumer.operations.publish import published_event

        if len(self.first) < _MAX_KEPT:
            self.first.append(published_event(record))
        if self.awaited is not None:
            self.awaited.add(record.at)

    @property
    def code(self) -> ExitCode:
        """What the end of the command means to scripts."""
        awaited = self.awaited
        if self.timed_out or (awaited is not None and awaited.untold):
            return ExitCode.FAILED  # of some of them nobody knows whether they are stored
        return ExitCode.FOUND if awaited is not None and awaited.failed else ExitCode.DONE


def send(
    events: Iterable[EventRecord], settings: Settings, kafka: KafkaAccess, wish: SendingWish
) -> Sent:
    """Publish events, and wait for their results where that is wished.

    Raises:
        CommandFailed: Kafka did not take all of them, or went away.
        typer.Exit: somebody pressed Ctrl-C; how far it got is told.
    """
    import asyncio

    from consumer.kafka.connection import KafkaUnavailableError
    from consumer.kafka.publisher import TooLargeForTopicError
    from consumer.operations.results.awaiting import AwaitedResults

    topic = settings.kafka.documents_topic
    sent = Sent(topic, awaited=AwaitedResults(topic) if wish.wait else None)
    try:
        asyncio.run(_send(events, settings, kafka, wish, sent))
    except (KafkaUnavailableError, TooLargeForTopicError) as error:
        so_far = f"\n{_so_far(sent, wish)}" if sent.published else ""
        raise CommandFailed(f"Kafka: {error}{so_far}") from None
    except KeyboardInterrupt:
        output.note(f"interrupted: {_so_far(sent, wish)}")
        end(ExitCode.INTERRUPTED)
    return sent


async def _send(
    events: Iterable[EventRecord],
    settings: Settings,
    kafka: KafkaAccess,
    wish: SendingWish,
    sent: Sent,
) -> None:
    from consumer.kafka.topics import no_such_topic
    from consumer.operations.results.awaiting import ends_of

    # Asked first, because a producer would look for a missing topic for 40 s.
    async with kafka.admin() as admin:
        if not await admin.partitions(sent.topic):
            raise no_such_topic(sent.topic)
    # Asked before the first event: its result may come before the last one is sent.
    start = await ends_of(kafka, settings.kafka.results_topic) if wish.wait else {}
    await _publish(events, settings, kafka, wish, sent)
    if sent.awaited is not None:
        await _wait(settings.kafka.results_topic, kafka, wish, sent, sent.awaited, start)


async def _publish(
    events: Iterable[EventRecord],
    settings: Settings,
    kafka: KafkaAccess,
    wish: SendingWish,
    sent: Sent,
) -> None:
    from consumer.kafka.publisher import OutgoingRecord
    from consumer.operations.publish import publish_all
    from consumer.wiring.topics import DEAD_LETTER_HEADROOM

    async with kafka.publisher(
        max_record_bytes=settings.document.max_bytes + DEAD_LETTER_HEADROOM,
        delivery_timeout=min(settings.kafka.delivery_timeout_seconds, _PATIENCE_SECONDS),
    ) as publisher:

        async def one_by_key(event: EventRecord) -> None:
            record = OutgoingRecord(sent.topic, event.key, event.value, event.headers, open=True)
            sent.note(await publisher.publish(record))

        with bar("publishing", wish.total) as sent.show:
            await publish_all(events, one_by_key, done=sent)


async def _wait(
    topic: str,
    kafka: KafkaAccess,
    wish: SendingWish,
    sent: Sent,
    awaited: AwaitedResults,
    start: dict[int, int],
) -> None:
    import asyncio

    from consumer.operations.results.awaiting import await_results

    hint = asyncio.get_running_loop().call_later(_HINT_SECONDS, _no_result_yet)
    try:
        with bar("waiting for results", sent.published) as show:

            def done(more: int) -> None:
                hint.cancel()
                show(more)

            async with asyncio.timeout(wish.timeout):
                await await_results(kafka, topic, start, awaited, done=done)
    except TimeoutError:
        sent.timed_out = True
    finally:
        hint.cancel()


def _no_result_yet() -> None:
    output.note(
        f"no result within {_HINT_SECONDS:.0f} s, still waiting: `check` says whether the service "
        "could work, `where ID` where a document is"
    )


def _so_far(sent: Sent, wish: SendingWish) -> str:
    if sent.published < wish.total:
        return (
            f"{sent.published:,} of {wish.total:,} events were published before that, a few more "
            f"may be; {_AGAIN}"
        )
    awaited = sent.awaited
    done = awaited.done if awaited is not None else 0
    return (
        f"{sent.published:,} of {wish.total:,} events are published, {done:,} have a result; "
        f"`results --since {when(wish.started)}` shows the others"
    )


# -- what is seen ----------------------------------------------------------------------------------


def fields_of(sent: Sent) -> dict[str, Any]:
    """What scripts are told beside the counts."""
    told: dict[str, Any] = {
        "topic": sent.topic,
        "events": [
            {
                "name": each.name,
                "trace_id": each.trace_id,
                "partition": each.at.partition,
                "offset": each.at.offset,
            }
            for each in sent.first
        ],
    }
    if (awaited := sent.awaited) is not None:
        told["results"] = dict(sorted(awaited.statuses.items()))
        told["waiting"] = awaited.waiting + awaited.untold
        told["unfinished"] = [_unfinished(each) for each in awaited.unfinished]
    return told


def _unfinished(result: ReceivedResult) -> dict[str, Any]:
    names = ("document_id", "identity", "status", "reason", "trace_id", "errors")
    return {name: getattr(result, name) for name in names}


def show_sent(sent: Sent, wish: SendingWish) -> None:
    """Tell a person where it went, what became of it, and what to do next."""
    output.line(f"topic {sent.topic}")
    for each in sent.first[:_MAX_LISTED]:
        output.line(f"trace {each.trace_id} {each.name}")
    if sent.published > _MAX_LISTED:
        output.line(f"and {sent.published - _MAX_LISTED:,} more")
    if sent.awaited is None:
        output.note(f"next: {_next_look(sent, wish)}; with --wait this command waits for results")
    else:
        _show_results(sent, sent.awaited, wish)


def _next_look(sent: Sent, wish: SendingWish) -> str:
    if len(sent.first) == 1:
        return f"`results --trace {sent.first[0].trace_id}` shows what became of it"
    return f"`results --since {when(wish.started)}` shows what became of them"


def _show_results(sent: Sent, awaited: AwaitedResults, wish: SendingWish) -> None:
    by_number = sorted(awaited.statuses.items(), key=lambda each: (-each[1], each[0]))
    counts = ", ".join(f"{count:,} {status}" for status, count in by_number)
    removed = f"; {awaited.removed:,} chunks removed" if awaited.removed else ""
    output.line(f"results: {counts or 'none'}{removed}")
    for each in awaited.unfinished:
        name = each.document_id or each.identity or str(each.source.offset)
        why = "; ".join(each.errors[:2]) or each.reason or "-"
        output.note(f"{name}: {each.status}: {why}")
    if awaited.failed > len(awaited.unfinished):
        output.note(f"and {awaited.failed - len(awaited.unfinished):,} more")
    for each in awaited.without_effect:
        where = f" in {each.workspace_slug}" if each.workspace_slug else ""
        output.note(f"{each.identity}: deleted, and nothing of it was stored{where}")
    if awaited.untold:
        output.note(
            f"{awaited.untold:,} not waited for, Kafka did not tell where they lie:"
            f" {_next_look(sent, wish)}"
        )
    if sent.timed_out:
        output.note(f"without a result after {wish.timeout:g} s: {awaited.waiting:,}")
        output.note(f"next: {_next_look(sent, wish)}; `check` says whether the service can work")
    elif awaited.failed:
        output.note(
            f"next: `dlq list --since {when(wish.started)}` shows why, and what can be done"
        )
