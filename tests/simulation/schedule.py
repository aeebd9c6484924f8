"""What happens in one run, as plain values: printed it can be read, and put back into a table.

A schedule has what is published (`history`), what goes wrong on the way to AnythingLLM (`faults`),
and what befalls processes, servers and people's workspaces (`life`). Each of these can be left out
without changing what the others mean, so that a failing schedule can be made smaller.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal


def _literal(value: object) -> str:
    """A value as the formatter would leave it."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, tuple):
        inside = ", ".join(map(_literal, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return repr(value)


class _Shown:
    """A value whose `repr` leaves out what is as usual."""

    def __repr__(self) -> str:
        said = []
        for place, field in enumerate(fields(self)):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            usual = field.default
            if usual is MISSING and place < 2:
                said.append(_literal(value))
            elif value != usual:
                said.append(f"{field.name}={_literal(value)}")
        return f"{type(self).__name__}({', '.join(said)})"


@dataclass(frozen=True, repr=False)
class At(_Shown):
    """So many seconds from the start; in a history: after the event before."""

    seconds: float


@dataclass(frozen=True, repr=False)
class On(_Shown):
    """When something happens (`tests.simulation.stage.Stage.happened`) for the nth time.

    Args:
        what: such as "removal" (its request arrives) or "result" (it is about to be written).
        nth: counted from the start.
        seconds: that much later.
        turns: so many turns of the event loop later.
    """

    what: str
    nth: int = 1
    seconds: float = 0.0
    turns: int = 0


When = At | On


@dataclass(frozen=True, repr=False)
class Doc(_Shown):
    """A document's event.

    Args:
        id: its id, which is its identity.
        texts: of its chunks; "" makes the event invalid.
        day: its date; None: it has none.
        slug: its technology, and so its workspace.
        when: see `When`.
        name: for replays of it.
    """

    id: str
    texts: tuple[str, ...]
    day: float | None = 0
    slug: str = "docs"
    when: When = At(0)
    name: str = ""


@dataclass(frozen=True, repr=False)
class Tomb(_Shown):
    """A tombstone; without a slug it is for every workspace."""

    id: str
    slug: str | None = None
    when: When = At(0)


@dataclass(frozen=True, repr=False)
class Replay(_Shown):
    """The event of that name again, as `dlq replay` publishes it.

    Args:
        of: the event.
        when: see `When`.
        repack: as `workspaces repair --repack` publishes it: what is stored is packed anew.
        rebuild: as `workspaces rebuild` publishes it: what is stored goes, and is stored anew.
    """

    of: str
    when: When = At(0)
    repack: bool = False
    rebuild: bool = False


@dataclass(frozen=True, repr=False)
class Nothing(_Shown):
    """An offset without an event, on the partition of this identity: a marker, or compaction."""

    id: str
    when: When = At(0)


Published = Doc | Tomb | Replay | Nothing

Endpoint = Literal[
    "upload", "embed", "check", "listing", "removal", "search", "counts", "workspaces", "create",
    "key", "collector", "embedder", "metrics", "any",
]  # fmt: skip


@dataclass(frozen=True, repr=False)
class Hit(_Shown):
    """What goes wrong with some requests to AnythingLLM.

    Args:
        on: which.
        kind: see `consumer.sandbox.simulator.faults.FaultKind`.
        slug: only with this workspace in the path.
        contains: only with this text.
        skip: matching requests left alone first.
        times: how often; None: until all is healed.
        status: of the answer, where it is one.
        seconds: a delay.
        apply: whether it takes effect all the same.
        late: when, after the answer.
        retry_after: seconds that the answer asks for.
        stays: not healed until everybody else is done.
    """

    on: Endpoint
    kind: str
    slug: str = ""
    contains: str = ""
    skip: int = 0
    times: int | None = 1
    status: int = 503
    seconds: float = 0.0
    apply: bool = False
    late: float = 0.0
    retry_after: int | None = None
    stays: bool = False


Change = Literal[
    "crash", "stop", "start", "rebalance", "freeze", "cut-off", "server-restarts", "proxy-away",
    "empty", "remake", "delete", "embedder-down", "collector-frozen",
    "vectors-refused", "vectors-kept", "database-down", "dimension",
]  # fmt: skip


@dataclass(frozen=True, repr=False)
class Life(_Shown):
    """What befalls somebody.

    Args:
        what: see `Change`; ``start`` is a further member, ``empty`` and the two behind it are
            people's doing in a workspace; the last four are the vector database's.
        when: see `When`.
        who: the member.
        seconds: until it is over: the process starts again, the server is back.
        slug: the workspace.
    """

    what: Change
    when: When
    who: str = "A"
    seconds: float = 10.0
    slug: str = "docs"


@dataclass(frozen=True, repr=False)
class Setup(_Shown):
    """How things are before anything happens.

    Args:
        partitions: of each input topic.
        prepared: workspaces that are there, in use by strangers.
        begins: seconds from the start of the first member to the first event.
        latency: seconds of every request.
        ambiguity: ANYTHINGLLM_AMBIGUITY_SECONDS.
        upload_timeout: UPLOAD_TIMEOUT_SECONDS.
        removal_timeout: REMOVAL_TIMEOUT_SECONDS.
        max_age: INDEX_MAX_AGE_SECONDS.
        session: KAFKA_SESSION_TIMEOUT_SECONDS.
        commit_every: KAFKA_COMMIT_INTERVAL_SECONDS.
        in_flight: INTAKE_MAX_DOCUMENTS_IN_FLIGHT.
        per_document: UPLOAD_MAX_CHUNKS_PER_DOCUMENT.
        drain: SHUTDOWN_DRAIN_SECONDS.
        trouble: seconds for which faults go on when the last thing has happened, unless everything
            is settled before.
        restless: seconds between two rebalances that nobody wants, to the very end; 0: none.
        vector_db: the vector database behind AnythingLLM.
        visible_after: seconds until its searches find what was stored, to the very end.
        packing: UPLOAD_CHUNKS_PER_PACK, where nobody asks for another one (`tests.packing`); of
            several, by commas, each process that starts takes the next one.
    """

    partitions: int = 1
    prepared: tuple[str, ...] = ()
    begins: float = 0
    latency: float = 0.02
    ambiguity: int = 600
    upload_timeout: int = 120
    removal_timeout: int = 600
    max_age: int = 600
    session: int = 45
    commit_every: float = 1.0
    in_flight: int = 32
    per_document: int = 5
    drain: int = 20
    trouble: float = 900
    restless: float = 0
    vector_db: str = "lancedb"
    visible_after: float = 0
    packing: str = "1"


@dataclass(frozen=True)
class Schedule:
    """All of it; ``seed`` is of what is random inside."""

    seed: int
    setup: Setup = Setup()
    history: tuple[Published, ...] = ()
    faults: tuple[Hit, ...] = ()
    life: tuple[Life, ...] = ()

    def parts(self) -> int:
        """How much there is to leave out."""
        return len(self.history) + len(self.faults) + len(self.life)


def shown(schedule: Schedule) -> str:
    """The schedule as Python, one thing a line."""
    lines = ["Schedule(", f"    {schedule.seed},"]
    if schedule.setup != Setup():
        lines.append(f"    {schedule.setup!r},")
    for name in ("history", "faults", "life"):
        every: tuple[Any, ...] = getattr(schedule, name)
        if every:
            lines += [f"    {name}=(", *(f"        {each!r}," for each in every), "    ),"]
    return "\n".join([*lines, ")"])
