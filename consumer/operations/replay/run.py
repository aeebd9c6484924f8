"""A replay run as Kafka keeps it: its definition and its progress, in a consumer group of its own.

The group's committed offsets are the state, and nothing else is:

- For each partition of the topic that letters are read from: the next letter to look at. The text
  beside it says where the partition ended when the run began.
- For each partition of the replay topic: where it ended when the run began. Everything that the run
  published lies behind that, so that it can be found again.
- The text beside partition 0 of the first topic also has the definition and the counts. A commit
  takes 4 KiB of text.

Kafka forgets the group with its offsets, by default 7 days after the last commit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from datetime import datetime
from typing import Any

import orjson

from consumer.operations.letters.selection import Selection

MAX_TEXT_BYTES = 3_800  # of the 4,096 that brokers take by default
_VERSION = 1
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")

Partitions = Mapping[int, int]  # offset by partition


class RunTooLongError(Exception):
    """The definition does not fit beside an offset."""


class NoRunError(Exception):
    """What the group holds is not a run of ours."""


@dataclass(frozen=True, slots=True)
class RunFile:
    """The file that letters come from.

    Args:
        path: absolute; ``-`` for standard input.
        sha256: hex, of its unpacked lines.
    """

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """What a run is; this never changes.

    Args:
        id: by `run_id`.
        started_at: aware.
        operator: ``name@host`` of who began it.
        source: the topic that letters are read from; for a file the topic of its offsets.
        ends: the end of each partition of it; letters behind that do not belong to the run.
        replay_topic: the topic that replays are published to.
        replay_ends: the end of each partition of it.
        selection: which letters are meant.
        from_parked: whether parked letters are brought back.
        force: whether foreign letters are replayed.
        leaves_hopeless: whether letters that replaying can't help are left; not those of a run that
            an older version began.
        despite_missing_results: whether it goes on where results do not reach back.
        rate: replays a second at most.
        selected: how many letters were to be replayed or parked when it began.
        file: where letters come from instead of a topic.
    """

    id: str
    started_at: datetime
    operator: str
    source: str
    ends: Partitions
    replay_topic: str
    replay_ends: Partitions
    selection: Selection = field(default_factory=Selection)
    from_parked: bool = False
    force: bool = False
    leaves_hopeless: bool = False
    despite_missing_results: bool = False
    rate: float | None = None
    selected: int = 0
    file: RunFile | None = None


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is.

    Args:
        next: the next letter to look at, by partition of its source.
        published: how many replays Kafka has acknowledged.
        parked: how many letters were parked instead.
        skipped: how many of the selected letters were left after all, by reason.
        done: whether nothing is left to do.
    """

    next: Partitions = field(default_factory=dict)
    published: int = 0
    parked: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    done: bool = False

    def left(self, reason: str) -> RunProgress:
        """The progress with one more letter that was left."""
        return replace(self, skipped={**self.skipped, reason: self.skipped.get(reason, 0) + 1})

    @property
    def all_skipped(self) -> int:
        """How many letters were left, whatever the reason."""
        return sum(self.skipped.values())


@dataclass(frozen=True, slots=True)
class Commit:
    """An offset with its text, as it is committed."""

    offset: int
    text: str


Commits = Mapping[tuple[str, int], Commit]  # by topic and partition


def is_run_id(text: str) -> bool:
    """Whether it looks like a run's id."""
    return _ID.fullmatch(text) is not None


def run_id(now: datetime, number: int) -> str:
    """An id that sorts by time; the number (16 bits) keeps two of one second apart."""
    return f"{now:%Y%m%d-%H%M%S}-{number:04x}"


def commits_of(run: ReplayRun, progress: RunProgress, *, everything: bool = True) -> dict[
    tuple[str, int], Commit
]:  # fmt: skip
    """What is committed for a run.

    Args:
        run: its definition.
        progress: how far it is.
        everything: also what never changes; that has to be committed once.

    Raises:
        RunTooLongError: its selection is too long.
    """
    found = {
        (run.source, number): Commit(progress.next.get(number, 0), _text({"end": end}))
        for number, end in run.ends.items()
    }
    found[run.source, 0] = Commit(
        progress.next.get(0, 0),
        _text({"end": run.ends.get(0, 0), "run": _definition(run), "counts": _counts(progress)}),
    )
    if everything:
        for number, end in run.replay_ends.items():
            found[run.replay_topic, number] = Commit(end, "")
    return found


def run_in(commits: Commits) -> tuple[ReplayRun, RunProgress]:
    """The run that a group has committed.

    Raises:
        NoRunError: the group holds something else.
    """
    try:
        return _run_in(commits)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise NoRunError(str(error)) from None


def _run_in(commits: Commits) -> tuple[ReplayRun, RunProgress]:
    texts = {place: orjson.loads(commit.text) for place, commit in commits.items() if commit.text}
    (first,) = [text for text in texts.values() if "run" in text]
    fields, counts = dict(first["run"]), first["counts"]
    if fields.pop("v") != _VERSION:
        raise ValueError("of another version")
    topic, replay_topic = fields.pop("source"), fields.pop("to")
    run = ReplayRun(
        id=fields.pop("id"),
        started_at=datetime.fromisoformat(fields.pop("at")),
        operator=fields.pop("by"),
        source=topic,
        ends={number: int(text["end"]) for (name, number), text in texts.items() if name == topic},
        replay_topic=replay_topic,
        replay_ends={
            number: commit.offset for (n, number), commit in commits.items() if n == replay_topic
        },
        selection=_selection_in(fields.pop("which", {})),
        file=RunFile(**fields.pop("file")) if "file" in fields else None,
        **{name: fields[key] for name, key in _OPTIONS.items() if key in fields},
    )
    progress = RunProgress(
        next={number: commit.offset for (n, number), commit in commits.items() if n == topic},
        published=int(counts["published"]),
        parked=int(counts["parked"]),
        skipped={str(reason): int(number) for reason, number in counts["skipped"].items()},
        done=bool(counts["done"]),
    )
    return run, progress


_OPTIONS = {
    "from_parked": "parked",
    "force": "force",
    "leaves_hopeless": "judged",
    "despite_missing_results": "despite",
    "rate": "rate",
    "selected": "selected",
}


def _definition(run: ReplayRun) -> dict[str, Any]:
    fields = {key: getattr(run, name) for name, key in _OPTIONS.items() if getattr(run, name)}
    if not run.selection.is_all:
        fields["which"] = _selection_fields(run.selection)
    if run.file is not None:
        fields["file"] = {"path": run.file.path, "sha256": run.file.sha256}
    return {
        "v": _VERSION, "id": run.id, "at": run.started_at.isoformat(), "by": run.operator,
        "source": run.source, "to": run.replay_topic, **fields,
    }  # fmt: skip


def _selection_fields(selection: Selection) -> dict[str, Any]:
    """The conditions that are given; sets as lists, times as text."""
    found: dict[str, Any] = {}
    for each in dataclass_fields(Selection):
        value = getattr(selection, each.name)
        if isinstance(value, frozenset):
            value = sorted(value) or None
        if isinstance(value, datetime):
            value = value.isoformat()
        if value is not None:
            found[each.name] = value
    return found


def _selection_in(committed: Mapping[str, Any]) -> Selection:
    found: dict[str, Any] = {
        name: frozenset(value) if isinstance(value, list) else value
        for name, value in committed.items()
    }
    for name in ("since", "until"):
        if name in found:
            found[name] = datetime.fromisoformat(found[name])
    return Selection(**found)


def _counts(progress: RunProgress) -> dict[str, Any]:
    return {
        "published": progress.published,
        "parked": progress.parked,
        "skipped": dict(progress.skipped),
        "done": progress.done,
    }


def _text(fields: Mapping[str, Any]) -> str:
    encoded = orjson.dumps(fields)
    if len(encoded) > MAX_TEXT_BYTES:
        raise RunTooLongError(f"{len(encoded)} bytes, {MAX_TEXT_BYTES} fit")
    return encoded.decode()
