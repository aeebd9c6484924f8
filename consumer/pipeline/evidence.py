"""What a unit is given up for, in words: for the log and the dead letter. Pure.

Who answered is told apart: the embedder, something between us and AnythingLLM, or nobody. A reader
at night looks there.
"""

from __future__ import annotations

from datetime import UTC, datetime

from consumer.model.death_count import DeathCount
from consumer.model.fault import Failure
from consumer.pipeline.upload_state import Compared, PendingUnit
from consumer.resilience.blame import Comparison


def evidence_of(proof: Comparison, stage: Compared, *, of_kind: bool = False) -> str:
    """What a comparison rests on, for a reader at night.

    Args:
        proof: the pairs.
        stage: what they compared.
        of_kind: whether controls of its kind failed as well, and these are plain texts.
    """
    own, controls = proof.own_failures, proof.controls
    if not own:
        return f"its text went through the first time ({stage.value})"
    passed = f"{controls.attempts - controls.failures} of {controls.attempts}"
    what = "requests with its text" if stage is Compared.EMBEDDING else "uploads of it"
    if of_kind:
        others = f"control texts of its characters failed too and {passed} plain texts passed"
    elif stage is Compared.EMBEDDING:
        others = f"{passed} control texts of its length passed"
    else:
        others = f"the workspace took {passed} test documents of its length"
    all_own = f"{own} of {own} {what}"
    if proof.by_intermediary == own > 0:
        return f"something between us and AnythingLLM answers for it ({all_own}) while {others}"
    if stage is Compared.EMBEDDING and proof.by_intermediary + proof.unanswered == 0:
        return f"the embedder refused its text {own} of {own} times while {others}"
    start = "" if stage is Compared.EMBEDDING else "its text can be embedded, and "
    return f"{start}{all_own} failed{_strange(proof)} while {others}"


def consequence_of(verdict: str, proof: Comparison) -> str:
    """What becomes of a unit now, and where to look when it is not its own fault.

    Args:
        verdict: ``blamed``, ``acquitted``, ``undecided``, or ``split`` of a pack.
        proof: the pairs.
    """
    if verdict == "split":
        return "each of its chunks is uploaded on its own; none is given up for this"
    if verdict == "blamed":
        return "it is given up: a dead letter names it; the rest of its document is stored"
    if verdict == "acquitted":
        return "it is not blamed for that, and tried again"
    if proof.is_alone:
        return "it waits, and is compared again for some minutes before it is blamed"
    return (
        "an outage, at least for texts of its length: they wait and are tried again, nothing is"
        " given up; see AnythingLLM's log, the limits of its embedder, and what stands between"
    )


def _strange(proof: Comparison) -> str:
    """Which of its own failures are no answers of AnythingLLM."""
    parts = []
    if proof.by_intermediary:
        parts.append(f"{proof.by_intermediary} answered by something between us and AnythingLLM")
    if proof.unanswered:
        parts.append(f"{proof.unanswered} answered by nobody")
    return f" ({', '.join(parts)})" if parts else ""


def message_of(pending: PendingUnit, failure: Failure, proof: Comparison) -> str:
    """What the dead letter says of a unit that is given up.

    Args:
        pending: the unit.
        failure: its last one.
        proof: why it is to blame.
    """
    evidence = evidence_of(proof, pending.stage, of_kind=proof is pending.of_kind)
    if proof.by_intermediary == proof.own_failures:
        return (
            f"{evidence}: look for a rule of a firewall or proxy that blocks it;"
            f" failed {pending.attempts} times, the last time: {failure.in_the_end}"
        )
    return f"{failure.in_the_end}; failed {pending.attempts} times; {evidence}"


def deaths_evidence_of(count: DeathCount, size: int) -> str:
    """What the dead letter says of a unit that kills AnythingLLM.

    Args:
        count: its deaths.
        size: of its text, UTF-16 units.
    """
    return (
        f"AnythingLLM died {count.count} times of this chunk's upload, from {_shown(count.first)}"
        f" to {_shown(count.last)}: nothing else was under way that did not get through since, and"
        f" between two deaths another text of its length ({size:,} characters) got through each"
        " time. Its text kills the server. See why the server ended (out of memory?), and publish"
        " the document with this chunk split or changed"
    )


def _shown(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds")
