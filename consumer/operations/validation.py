"""Events of files, looked at before they are published: what is wrong, and what is doubtful.

What is wrong is what the service refuses without asking anybody (`consumer.pipeline.acceptance`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consumer.contract.doubtful import DoubtFinder
from consumer.contract.envelope import EventFields, fields_in
from consumer.contract.processed_document import ContractProblem, pointer
from consumer.model.document import ProcessedDocument
from consumer.model.identity import IdentityTemplate
from consumer.model.reason import FailureReason
from consumer.pipeline.acceptance import EventRules, accepted
from consumer.pipeline.decode import Malformed

# Identities that are remembered to find repeats, 100 bytes each; of more files than that the
# repeats of the first ones are found still.
MOST_REMEMBERED = 500_000


@dataclass(frozen=True, slots=True)
class Examined:
    """One event that was looked at.

    Args:
        refused: why the service would not take it; None where it would.
        doubts: what its publisher should look at, with pointers as in `refused`.
        document_id: where it is a usable one.
    """

    refused: Malformed | None
    doubts: tuple[ContractProblem, ...]
    document_id: str | None


class Examiner:
    """Looks at the events of files, one after the other.

    Args:
        rules: what the service takes.
        identity: which document an event speaks of.
        now: aware; what is later lies in the future.
        doubts: whether to look for what is only doubtful, which takes as long as all the rest.
    """

    def __init__(
        self, rules: EventRules, identity: IdentityTemplate, now: datetime, *, doubts: bool = True
    ) -> None:
        self._rules = rules
        self._identity = identity
        self._doubtful = DoubtFinder(now) if doubts else None
        self._seen: dict[bytes, str] = {}

    def examine(self, value: bytes, place: str) -> Examined:
        """What is wrong with an event, and what is doubtful.

        Args:
            value: its bytes.
            place: where it stands, for who is told of a repeat.
        """
        try:
            document = accepted(value, self._rules)
        except Malformed as malformed:
            large = malformed.reason is FailureReason.OVERSIZED
            doubts = () if large else self._doubts(value)
            return Examined(malformed, doubts, malformed.document_id)
        if self._doubtful is None:
            return Examined(None, (), document.id)
        odd = tuple(ContractProblem("", note) for note in document.notes)
        repeated = self._repeated(document, place)
        return Examined(None, odd + self._doubts(value) + repeated, document.id)

    def _doubts(self, value: bytes) -> tuple[ContractProblem, ...]:
        if self._doubtful is None:
            return ()
        limits = self._rules.limits
        event: EventFields = fields_in(
            value, self._rules.wrapping, at_most=limits.max_bytes, most_values=limits.max_values
        )
        fields: Mapping[str, Any] = event.fields
        begin = pointer(event.path)
        return tuple(
            ContractProblem(begin + each.pointer, each.message)
            for each in self._doubtful.about(fields)
        )

    def _repeated(self, document: ProcessedDocument, place: str) -> tuple[ContractProblem, ...]:
        """That the same document came before; by digests, which are short whatever the identity."""
        name = self._identity.of(document).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(name, digest_size=12).digest()
        before = self._seen.get(digest)
        if before is not None:
            told = f"the same document as {before}; of the two the newer one counts"
            return (ContractProblem("", told),)
        if len(self._seen) < MOST_REMEMBERED:
            self._seen[digest] = place
        return ()
