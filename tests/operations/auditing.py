"""Auditing from a test: the operation behind the command, on any stage."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from consumer.model.names import Slug
from consumer.operations.audit.audit import open_audit
from consumer.operations.audit.findings import AuditFinding, AuditSummary
from consumer.operations.audit.searching import SearchScope
from consumer.operations.ports import KafkaAccess
from consumer.settings import Settings

SECOND = {"ANYTHINGLLM_AMBIGUITY_SECONDS": "1", "UPLOAD_TIMEOUT_SECONDS": "1"}
Sleep = Callable[[float], Awaitable[None]]


async def at_once(seconds: float) -> None:
    """Waits for nothing: nobody is at work that could need the time."""


class Audited(Protocol):
    """A stage, as far as an audit reaches."""

    @property
    def clients(self) -> KafkaAccess: ...

    def with_settings(self, **changes: str) -> Settings: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What an audit in this process found."""

    found: list[AuditFinding]
    summary: AuditSummary

    @property
    def named(self) -> list[tuple[str, str | None]]:
        """What was found about which identity, sorted."""
        return sorted((str(each.state), each.identity) for each in self.found)


async def look(
    stage: Audited,
    workspace: Slug | None = None,
    *,
    scope: SearchScope = SearchScope.SAMPLE,
    sleep: Sleep = at_once,
    **settings: str,
) -> Seen:
    """An audit, without the pause between its two looks; further settings win."""
    summary = AuditSummary()
    chosen = stage.with_settings(**SECOND | settings)
    opened = open_audit(
        chosen, stage.clients, rng=random.Random(1), scope=scope, workspace=workspace, sleep=sleep
    )
    async with opened as audit:
        await audit.look()
        return Seen(list(audit.found(summary)), summary)
