"""Whether the service takes an event, as far as nobody has to be asked. Pure.

The same two decisions as in `consumer.pipeline.read` (`decode`, and the routing), for who has an
event and no record: whoever checks files before they are published. Pointers go into the value as
its publisher sees it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from consumer.contract.envelope import UNOPENED, WITHOUT_HEADERS, Wrapping, fields_in
from consumer.contract.processed_document import ContractProblem, pointer
from consumer.model.document import ProcessedDocument
from consumer.model.outcome import FailureReason
from consumer.model.routing import Routing, Unroutable
from consumer.pipeline.decode import DecodeLimits, Malformed, Readable, decode


@dataclass(frozen=True, slots=True)
class EventRules:
    """What the settings say about events.

    Args:
        limits: what one may hold.
        routing: which workspace it belongs to.
        envelopes: whether envelopes are opened (DOCUMENT_ENVELOPES).
    """

    limits: DecodeLimits = field(default_factory=DecodeLimits)
    routing: Routing = field(default_factory=Routing)
    envelopes: bool = True

    @property
    def wrapping(self) -> Wrapping:
        """How events of files are opened: those have no headers."""
        return WITHOUT_HEADERS if self.envelopes else UNOPENED


def accepted(value: bytes, rules: EventRules) -> ProcessedDocument:
    """The document of an event that the service would take.

    Args:
        value: the event, without headers.
        rules: by the service's settings.

    Raises:
        Malformed: the service would write a dead letter of this reason.
    """
    document = decode(value, rules.limits, rules.wrapping)
    try:
        rules.routing.slug_for(document)
    except Unroutable as unroutable:
        at = (*fields_in(value, rules.wrapping).path, unroutable.field)
        problem = ContractProblem(pointer(at), str(unroutable))
        readable = Readable(document.id, document.source_url, document.technology)
        raise Malformed(FailureReason.UNROUTABLE, (problem,), readable) from None
    return document
