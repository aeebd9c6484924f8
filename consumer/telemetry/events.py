"""The vocabulary of log events: every name, and what it tells a reader at night.

Rules:

1. A name is ``what.happened``, constant, and stands here before it is logged; data is in fields.
2. One canonical line a document (``document.settled``) carries everything; other lines are for
   what is worth knowing before that, or beside it.
3. A line that repeats is told twenty times in ten seconds at most, and counted (`log.kept_back`).
   Only what `EACH_TOLD` names has a line each time: nothing else tells of it.
4. No field ever holds a secret, a response body or document text.

``tests/unit/telemetry/test_events.py`` holds every log call in this package to these rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

EVENTS: Mapping[str, str] = MappingProxyType(
    {
        # The process
        "settings.warning": "A setting is allowed but probably not meant, or was ignored.",
        "secret.renewed": "A secret was refused and its file holds another: that one is used.",
        "secret.unusable": "A secret's file holds none that can be used; the former one stays.",
        "admin.listening": "Health and metrics are served on this host and port.",
        "admin.failed": "A fault in an admin page: it is answered with 500; work goes on.",
        "service.started": "Everything needed at start answered; records are being worked on.",
        "start.waiting": "Something needed at start does not answer yet; it is tried again.",
        "start.group_unknown": "Kafka did not say of what kind our group is; the start goes on.",
        "anythingllm.reached": "AnythingLLM answered at start.",
        "anythingllm.away": "A proxy answers pings that nobody is there: AnythingLLM restarts.",
        "anythingllm.died": "AnythingLLM ended while these chunks were being uploaded.",
        "service.stopping": "A signal asked for an orderly stop.",
        "service.draining": "No new record is taken; work under way may finish for so long.",
        "service.drain_incomplete": "The time to finish is over; the open records come again.",
        "service.stopped": "An orderly stop is complete; `remaining` records were not settled.",
        "service.stopped_at_once": "A second signal ended the process without draining.",
        "service.died": "Something that must not fail did; the process ends with exit code 1.",
        # Reading
        "group.waiting": "The group waits for other members before it says what is ours.",
        "assignment.received": "The group gave us these partitions.",
        "assignment.not_recalled": "It is not known what was settled before; work is repeated.",
        "assignment.revoked": "The group took our partitions back, after draining.",
        "source.poll_failed": "Reading from Kafka failed; it is tried again.",
        "source.unwrapped": "A record is taken without what is wrapped round Kafka's client.",
        "source.stop_failed": "Leaving the group failed; it notices by the session timeout.",
        "record.unreadable": "Kafka's client can't read a record; it is dead-lettered by place.",
        "record.cut_off": "The broker sent only a part of a record; it is fetched again.",
        "offset.out_of_range": "The committed offset is gone; records may have been lost.",
        "topic.begun_at_its_end": "A group new to a topic left out what was there (`latest`).",
        "topic.gone": "A topic we read does not exist any more; nothing comes from it.",
        "topic.back": "A topic that was gone is there again and is read.",
        "record.key_differs": "A record's key is not its identity; order is then per partition.",
        "lag.unknown": "Kafka did not say how far behind we are; the metric keeps its value.",
        # Several servers
        "server.one_of_several": "The only server that the settings know is one of several.",
        "server.not_listed": "A proxy did not tell whether a server is one of several.",
        "server.marked": "A server keeps a new mark of itself or of another one.",
        "workspace.homeless": "A workspace lives on no server for now; `error` has the cure.",
        "workspace.home_found": "A workspace that had no home lives on this server.",
        # Understanding
        "document.odd": "An event deviates from the contract in ways that are accepted.",
        "event.process_died": "The process that decodes a heavy event died; it is tried again.",
        "event.decoded_here": "No process could be begun for a heavy event; all else waits for it.",
        "version.capped": "A version lies too far in the future; the record's time is taken.",
        "routing.collision": "Different technologies share one workspace slug.",
        # Storing
        "identity.reminted": "A page came under a new id; `what_to_do` names the setting.",
        "index.over_budget": "What one workspace stores needs more memory than all may have.",
        "vector_database.keeps_nothing": "The vector database drops what is said to be stored.",
        "vector_database.removes_nothing": "The vector database keeps what was removed.",
        "vector_database.removes_again": "The vector database removes again what is removed.",
        "vector_database.keeps_again": "The vector database keeps what is stored again.",
        "vector_database.vectors_lost": "What is listed is not found; new texts are.",
        "vector_database.late": "Something was found later than it was stored: looks take longer.",
        "vector_database.hits_name_no_files": "Hits do not say which file they are of; as seen.",
        "vector_database.not_told": "AnythingLLM did not say which vector database it has; later.",
        "vector_database.unknown": "The vector database is not known: nothing of it is believed.",
        "workspace.created": "A missing workspace was created.",
        "workspace.in_doubt": "A workspace may have been created, or may still; it is looked for.",
        "workspace.changed": "Others emptied a workspace or made it anew; it is prepared again.",
        "workspace.lost": "A workspace lost documents with what others did to it; their number.",
        "workspace.not_counted": "Whether others emptied a workspace is not known now; later.",
        "workspace.ready": "A fresh workspace was proven to keep concurrent uploads.",
        "workspace.sentinel_lost": "A fresh workspace lost a test document; another is tried.",
        "workspace.late": "No search finds a fresh workspace's test document yet; it waits.",
        "workspace.sentinels_removed": "Test documents of processes that are gone were removed.",
        "workspace.sentinels_left": "Test documents could not be removed; a later look does it.",
        "workspace.stray_removed": "A workspace made by losing a creation race was removed.",
        "workspace.stray_left": "A workspace made by losing a creation race is still there.",
        "removal.refused": "A removal is refused though the key is right; it is asked for again.",
        "removal.forbidden": "Removals are refused for good: chunks stay, and their event fails.",
        "search.limited": "The vector database gives fewer hits a search than were asked for.",
        "search.odd_hits": "Hits without a score or text: they come last, the others count.",
        "removal.let_through_no_more": "A proxy refuses removals: files stay, found by no search.",
        "removal.let_through_again": "Removals are let through again: `repair` removes the files.",
        "removal.looked_for": "Searches for what was removed: how many vectors were looked at.",
        "removal.not_looked_for": "Something between us and AnythingLLM blocks a search; left out.",
        "removal.still_found": "What was removed is found for ever; the event fails.",
        "chunk.attempt_failed": "An attempt to store a chunk failed; `fault` says whose it was.",
        "chunk.in_doubt": "An upload may have taken effect, or may still; it is looked for.",
        "chunk.doubt_over": "That a chunk is looked for is over; `by` says what ended it.",
        "chunk.file_not_looked_for": "Whether a chunk's file is there is not known now; later.",
        "chunk.found": "A chunk whose upload had no clear answer turned out to be stored.",
        "chunk.embedding_again": "A chunk's text is stored but not embedded; only that is redone.",
        "chunk.not_found": "A chunk that is said to be stored is found by no search.",
        "chunk.not_provable": "No search can show it: too much is as near, or it is blocked.",
        "chunk.row_without_vectors": "Chunks that are listed are found by no search: sent again.",
        "chunk.suspect": "A chunk was stored while the embedder gave nonsense: uploaded anew.",
        "embedder.not_looked_at": "The embedder can't be asked; what it gives is believed.",
        "embedder.nonsense": "The embedder answers what no search can use; nothing is uploaded.",
        "embedder.makes_sense_again": "The embedder gives vectors again that a search can use.",
        "chunk.judged": "A failing chunk is compared with controls; `verdict` says whose fault.",
        "pack.split": "A pack is at fault; each of its chunks is uploaded on its own.",
        "repack.left": "A text was refused when packed anew; its document stays as it was.",
        "chunk.control_failed": "A test document as long as a suspect did not get through; later.",
        "chunk.kills_server": "It is proven that AnythingLLM dies of this chunk; dead-lettered.",
        "chunk.file_left": "The file of a chunk that was given up stays; see `workspaces repair`.",
        "chunk.left_listed": "A chunk that was given up may be stored: the next upload looks.",
        "workspace.waiting": "A workspace can't be prepared or listed; one document tries later.",
        "workspace.large": "A workspace is half as large as AnythingLLM can list at all.",
        "workspace.paused": "A workspace does not work while AnythingLLM does; its documents wait.",
        "workspace.resumed": "A paused workspace works again.",
        "chunk.kind_refused": "All texts of its characters fail, plain ones pass; it waits.",
        "length.held": "Many documents fail with texts so long and none is stored: all wait.",
        "fuse.blown": "Most documents fail for no visible reason; nothing is given up meanwhile.",
        "fuse.whole": "Three documents in a row went well: work goes on.",
        "document.waiting": "A document's chunks can't be stored now; it is tried again later.",
        "document.dropped": "Work on a record ended unsettled: its partition went, or we stop.",
        "breaker.changed": "The breaker around AnythingLLM went from one state to another.",
        "breaker.probe_failed": "AnythingLLM as a whole is not well; the breaker is open.",
        "breaker.listener_failed": "A listener of the breaker raised; the breaker goes on.",
        "collector.stale_connection": "AnythingLLM lost touch with its collector; repeated once.",
        "second_look.removed": "Chunks of late uploads that nobody waited for were removed.",
        "second_look.not_proven": "Copies of a chunk could not be searched for: all of them stay.",
        "second_look.failed": "What late uploads left behind can't be looked for now; later.",
        # Settling
        "document.skipped": "A record that an earlier assignment had settled is not worked again.",
        "document.settled": "An event is done: what became of it, in one line.",
        "result.skipped": "A record on the results topic is no result: a reader of it goes on.",
        "result.unasked": "A reader of results ended while it asked for the next one, in vain.",
        "tail.commit_failed": "What a reader's group has read is not committed: it comes again.",
        "tail.out_of_range": "What a reader's group wanted to read next is gone from the topic.",
        "result.cut": "A result too large for its topic is published without its per-chunk lists.",
        "dead_letter.by_reference": "A record too large for its topic is dead-lettered without it.",
        "publish.failed": "Results or dead letters are not acknowledged: sent again.",
        "assignment.expired": "The group can't be counting us in; its partitions are given up.",
        "assignment.lost": "The group went on without us; its partitions are given up.",
        "source.failed": "The consumer group or our rights are not as they should be; tried again.",
        "partition.held_back": "A transaction that nobody ends holds back what lies behind it.",
        "partition.went_back": "A partition's offsets went back: its topic was made anew.",
        "publish.refused": "A topic takes not even a short record; it is waited for.",
        "kafka.token_failed": "The token endpoint gives no token for Kafka; it is asked again.",
        "producer.stop_failed": "Closing a producer failed; it is given up.",
        "commit.failed": "Kafka did not take a commit; it is tried again.",
        "commit.metadata_refused": "Kafka takes no text of this length beside an offset.",
        "commit.metadata_dropped": "What stood beside an offset is not believed; work is repeated.",
        "commit.refused": "Kafka refused a commit because the partitions are no longer ours.",
        # Replaying
        "replay.started": "A replay run began, or goes on; `selected` letters are its work.",
        "replay.published": "A dead letter is on the replay topic.",
        "replay.parked": "A dead letter came back too often and is on the parked topic instead.",
        "replay.skipped": "A dead letter was left where it is; `because` says why.",
        "replay.ended": "A replay run is done.",
        "republish.left": "A lost document is not published again; `because` says why.",
        "republish.published": "The newest event of a lost document is on the replay topic.",
        # The log itself
        "library.message": "A library (aiokafka, aiohttp, asyncio) said something.",
        "log.kept_back": "So many lines (`count`) of the event `about` were not told: they repeat.",
        "log.failed": "An event could not be written as it was; `about` is its name.",
    }
)

EACH_TOLD = frozenset(
    {
        "document.settled",
        "replay.parked",
        "replay.published",
        "replay.skipped",
        "republish.left",
        "republish.published",
        # What was lost or left out, and where: nothing else has the place.
        "offset.out_of_range",
        "partition.went_back",
        "topic.begun_at_its_end",
        "workspace.changed",
        "workspace.lost",
    }
)
"""One line a document, a letter, or a loss: whoever looks for one must find it."""
