"""What is seen of running services: the facts of the status page, in lines and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from consumer.cli import output

if TYPE_CHECKING:
    from consumer.admin.asking import StatusAnswer
    from consumer.admin.status import (
        DocumentStatus,
        PaceStatus,
        PartitionStatus,
        ServerStatus,
        Status,
        WaitStatus,
    )

Member = tuple[str, "Status"]

_MOST = {"waiting": 10, "paused": 10, "documents": 10, "partitions": 5, "causes": 5}
_UNITS = (("days", 172_800.0, 86_400.0), ("h", 5_400.0, 3_600.0), ("min", 100.0, 60.0))


def show(answers: Sequence[StatusAnswer]) -> None:
    """Show them: each one's state, what all do together, and what waits where."""
    members = [(each.address, each.status) for each in answers if each.status is not None]
    for answer in answers:
        for line in _head(answer):
            output.line(line)
    if not members:
        return
    output.line("")
    for name, text in _figures(members):
        output.line(f"{name:<13} {text}")
    if len(members) > 1:
        _show_members(members)
    _show_waiting(members)
    _show_paused(members)
    _show_documents(members)
    _show_partitions(members)
    _show_causes(members)


def _head(answer: StatusAnswer) -> Iterator[str]:
    status = answer.status
    if status is None:
        yield f"{answer.address}: no status: {answer.problem}"
        return
    about = status.service
    yield (
        f"{answer.address}: {status.state}; group {about.group}, {about.instance},"
        f" release {about.release}, up {span(about.uptime_seconds)}"
    )
    for reason in status.reasons:
        yield f"  not ready: {reason}"
    for worry in status.worries:
        yield f"  worry: {worry}"


def _figures(members: Sequence[Member]) -> Iterator[tuple[str, str]]:
    every = [status for _, status in members]
    yield "lag", _lag(every)
    aside = sum(each.work.aside for each in every)
    in_work = sum(each.work.documents for each in every) - aside
    places = sum(each.work.places for each in every)
    oldest = max(each.totals.oldest_seconds for each in every)
    since = f"; the oldest unsettled since {span(oldest)}" if oldest > 0 else ""
    yield "in flight", f"{in_work:,} of {places:,} places, {aside:,} aside{since}"
    yield "rate", _pace([each.pace for each in every])
    for address, status in members:
        for server in status.servers:
            names = [address] if len(members) > 1 else []
            names += [] if server.name is None else [server.name]
            yield "AnythingLLM", ": ".join([*names, _gates(server)])
    letters = sum(each.letters.open for each in every)
    yield "dead letters", f"{letters:,} open since the start; `dlq stats` counts all there are"


def _lag(every: Sequence[Status]) -> str:
    from consumer.admin.status import eta_of

    lags = [each.totals.lag for each in every if each.totals.partitions]
    partitions = sum(each.totals.partitions for each in every)
    if not partitions:
        return "no partition is assigned"
    known = [lag for lag in lags if lag is not None]
    lag = sum(known) if len(known) == len(lags) else None
    eta = eta_of(lag, _sum([each.pace.documents for each in every]))
    if lag is None:
        done = ""
    elif eta is None:
        done = "; nothing was settled of late, so nobody can say when they are done"
    else:
        done = f"; done in about {span(eta)} at this rate" if eta else ""
    of = "1 partition" if partitions == 1 else f"{partitions:,} partitions"
    return f"{_count(lag)} records in {of}{done}"


def _pace(paces: Sequence[PaceStatus]) -> str:
    documents, uploads, failures = (
        _sum([getattr(each, name) for each in paces])
        for name in ("documents", "uploads", "failures")
    )
    if documents is None or uploads is None or failures is None:
        return "not known yet"
    failed = f", {_rate(failures)} a second of them failed" if failures else ""
    return (
        f"{_rate(documents)} documents and {_rate(uploads)} uploads a second{failed},"
        f" in the last {span(max(each.seconds or 0.0 for each in paces))}"
    )


def _sum(values: Sequence[float | None]) -> float | None:
    """None where one is not known: a total of the others would be a lie."""
    known = [each for each in values if each is not None]
    return sum(known) if known and len(known) == len(values) else None


def _gates(server: ServerStatus) -> str:
    breaker, fuse = server.breaker, server.fuse
    parts = [f"breaker {breaker.state}"]
    if breaker.state != "closed":
        parts[0] += f", next trial {_trial(breaker.trial_in)}: {breaker.last_error or '?'}"
    if breaker.rest > 0:
        parts.append(f"it asked for a rest, over in {span(breaker.rest)}")
    if breaker.alone:
        parts.append("one chunk is tried alone, all else waits")
    blown = f"fuse blown, next trial {_trial(fuse.trial_in)}"
    parts.append(blown if fuse.blown else "fuse whole")
    if server.paused:
        one = server.paused == 1
        parts.append("1 workspace paused" if one else f"{server.paused:,} workspaces paused")
    return "; ".join(parts)


def _show_members(members: Sequence[Member]) -> None:
    output.table(
        ("member", "state", "lag", "in flight", "docs/s", "aside", "oldest", "dead letters"),
        [
            (
                address,
                each.state,
                _count(each.totals.lag) if each.totals.partitions else "-",
                each.work.documents - each.work.aside,
                _rate(each.pace.documents),
                each.work.aside,
                span(each.totals.oldest_seconds) if each.totals.oldest_seconds else "-",
                each.letters.open,
            )
            for address, each in members
        ],
        title="Members",
    )


def _show_waiting(members: Sequence[Member]) -> None:
    rows = [
        (f"{each.documents:,}", _why(each), _where(each), _trial(each.trial_in), address)
        for address, status in members
        for each in status.work.waiting[: _MOST["waiting"]]
    ]
    _table(("documents", "wait for", "workspace", "next trial"), rows, "Waiting", members)


def _why(wait: WaitStatus | DocumentStatus) -> str:
    return wait.why or wait.waits_for or "-"


def _where(wait: WaitStatus) -> str:
    return ": ".join(filter(None, (wait.server, wait.workspace))) or "-"


def _show_paused(members: Sequence[Member]) -> None:
    rows = [
        (each.workspace, each.error, f"{each.waiting:,}", _trial(each.trial_in), address)
        for address, status in members
        for server in status.servers
        for each in server.workspaces[: _MOST["paused"]]
    ]
    _table(("workspace", "why", "documents", "next trial"), rows, "Paused workspaces", members)


def _show_documents(members: Sequence[Member]) -> None:
    rows = [
        (
            each.document_id or each.identity or each.at,
            each.workspace or "-",
            _doing(each),
            span(each.seconds),
            each.error or "-",
            address,
        )
        for address, status in members
        for each in status.work.oldest[: _MOST["documents"]]
    ]
    _table(("document", "workspace", "does", "since", "error"), rows, "Longest in work", members)


def _doing(each: DocumentStatus) -> str:
    parts = [each.station]
    if each.chunks is not None:
        there = each.chunks.unchanged + each.chunks.uploaded
        failed = f", {each.chunks.failed} failed" if each.chunks.failed else ""
        parts = [f"{each.station} {there} of {each.chunks.total}{failed}"]
    if each.aside:
        parts.append("aside")
    if each.waits_for is not None:
        parts.append(f"waits for {_why(each)}")
    return ", ".join(parts)


def _show_partitions(members: Sequence[Member]) -> None:
    behind = [
        (each, address)
        for address, status in members
        for each in status.partitions
        if each.lag or each.open
    ]
    behind.sort(key=lambda one: -(one[0].lag or 0))
    rows = [(*_partition(each), address) for each, address in behind[: _MOST["partitions"]]]
    columns = ("partition", "lag", "in work", "oldest", "held back")
    _table(columns, rows, "Partitions that are most behind", members)


def _partition(each: PartitionStatus) -> tuple[str, ...]:
    return (
        f"{each.topic}-{each.partition}",
        _count(each.lag),
        f"{each.open:,}",
        span(each.oldest_seconds) if each.open else "-",
        f"{each.held_back:,}",
    )


def _show_causes(members: Sequence[Member]) -> None:
    rows = [
        (
            f"{each.letters:,}",
            each.reason if each.http_status is None else f"{each.reason} {each.http_status}",
            each.message,
            each.document,
            each.workspace or "-",
            address,
        )
        for address, status in members
        for each in status.letters.causes[: _MOST["causes"]]
    ]
    columns = ("letters", "reason", "cause", "latest document", "workspace")
    _table(columns, rows, "Open causes of dead letters", members)


def _table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    title: str,
    members: Sequence[Member],
) -> None:
    """A table, with the member in the last column of each row where there are several."""
    if not rows:
        return
    if len(members) > 1:
        output.table((*columns, "member"), rows, title=title)
    else:
        output.table(columns, [row[:-1] for row in rows], title=title)


def fitting_lines(lines: Sequence[str], *, width: int, height: int) -> list[str]:
    """As many of the first lines as a screen has room for: what is below would push them out."""
    room = height - 2  # one line says what is missing, one is for the cursor
    shown: list[str] = []
    for line in lines:
        is_plain = "\x1b" not in line  # tables are as wide as the screen at most
        room -= max(-(-len(line) // width), 1) if is_plain else 1
        if room < 0:
            left = len(lines) - len(shown)
            return [*shown, f"({left} more lines; without --watch all are shown)"]
        shown.append(line)
    return shown


def span(seconds: float) -> str:
    """How long something takes, as the status page writes it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, least, size in _UNITS:
        if seconds >= least:
            return f"{seconds / size:.1f} h" if unit == "h" else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _trial(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"in {span(seconds)}" if seconds > 0 else "now"


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _rate(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
