"""Which lengths of text pass: what many documents of a size share is an outage of that size.

An embedder that is out of tokens, or slow with long texts, refuses what is long and takes the rest.
Controls of the same length show that (`consumer.pipeline.poison_probe`), as long as they meet what
the documents meet. This remembers what all of them met, and what the documents did:

- A document's text that was stored acquits its length, and every smaller one, from then on.
- After `REFUSED` controls in a row failed, texts as long as the shortest of them are held: one of
  them is tried a recovery period. A control or document that passes and is as long ends that. An
  upload that nobody answers counts as well: where each takes minutes, others would get no slot.
- Where nothing so long was stored since a text began to fail, and as many as `MANY` documents fail
  with texts that long, or up to twice as long, that is an outage: none of them is given up.

Texts up to `SHORT` are of one size: AnythingLLM embeds them in one piece. They are never held:
where they fail, that is no matter of length. The register is kept in
memory. After a restart it begins anew: the documents come again, and fail or pass again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

MANY = 5  # documents; so many were once given up within two seconds
REFUSED = 3  # controls in a row; chance alone gets there where an embedder often fails
SHORT = 1_000  # characters; the length of a piece that AnythingLLM embeds at once
_ALIKE = 2  # times as long: what is longer may fail for its length
_REMEMBERED = 1800.0  # seconds for which one that was given up counts with those that fail


class Lengths:
    """See the module's docstring.

    Args:
        clock: monotonic seconds.
        recovery: seconds between two trials of a length that is refused.
        many: documents that make an outage; 0: none ever do.
    """

    def __init__(self, clock: Callable[[], float], *, recovery: float, many: int = MANY) -> None:
        self._clock = clock
        self._recovery = recovery
        self._refused = 0  # the shortest control of the row that failed
        self._row = 0  # of controls that failed
        self._row_since = 0.0  # when the first of them did
        self._next_trial = float("-inf")
        self._unanswered: set[Hashable] = set()  # documents of the row
        self._many = many
        # Ever shorter ones: an older one that is no longer than a newer one shows nothing more.
        self._passed: list[tuple[float, int]] = []
        self._failing: dict[Hashable, int] = {}
        self._given_up: dict[Hashable, tuple[float, int]] = {}

    def passed(self, length: int) -> None:
        """Note that a document's text of so many characters was stored."""
        while self._passed and self._passed[-1][1] <= length:
            self._passed.pop()
        self._passed.append((self._clock(), length))
        self._passes_again(length)

    def control(self, length: int, *, failed: bool) -> None:
        """Note how a control of so many characters fared."""
        if not failed:
            self._passes_again(length)
            return
        self._refused = min(self._refused, length) if self._row else length
        self._row_since = self._row_since if self._row else self._clock()
        self._row += 1
        self._next_trial = self._clock() + self._recovery

    def unanswered(self, document: Hashable, length: int) -> None:
        """Note that nobody answered a document's upload, which holds its slot for long.

        That blames nobody, and counts as a control that failed: once for each document.
        """
        if document not in self._unanswered:
            self._unanswered.add(document)
            self.control(length, failed=True)

    def wait(self, length: int) -> float:
        """Seconds for which a text is held; 0: it goes on, maybe as the trial of its length."""
        if self._row < REFUSED or length < self._refused or length <= SHORT:
            return 0.0
        if (left := self._next_trial - self._clock()) > 0:
            return left
        # The next one, if this trial is dropped.
        self._next_trial = self._clock() + self._recovery
        return 0.0

    @property
    def shorter_pass(self) -> bool:
        """Whether texts are held for their length, and shorter ones were stored meanwhile."""
        return self._row >= REFUSED and self.longest_since(self._row_since) > 0

    def _passes_again(self, length: int) -> None:
        if length >= self._refused:
            self._row = 0
            self._unanswered.clear()

    def failing(self, document: Hashable, length: int) -> None:
        """Note that a text of a document fails again and again."""
        self._failing[document] = max(length, self._failing.get(document, 0))

    def over(self, document: Hashable, *, given_up: bool) -> None:
        """Note that a document is done or dropped; one that was given up counts for a while."""
        length = self._failing.pop(document, None)
        if given_up and length is not None:
            self._given_up[document] = (self._clock(), length)

    def is_outage(self, length: int, since: float) -> bool:
        """Whether many documents share that texts so long fail.

        Args:
            length: characters.
            since: when a text of that length began to fail, monotonic seconds.
        """
        longest = self.longest_since(since)
        if 0 < length <= longest:
            return False
        largest = max(_ALIKE * length, SHORT)
        return 0 < self._many <= len(self._failing_between(longest, largest))

    def longest_since(self, moment: float) -> int:
        """The longest text that was stored since then, at least `SHORT`; 0 where none was."""
        longest = next((length for at, length in self._passed if at >= moment), 0)
        return max(longest, SHORT) if longest else 0

    def _failing_between(self, above: int, largest: int) -> set[Hashable]:
        oldest = self._clock() - _REMEMBERED
        self._given_up = {
            each: (at, size) for each, (at, size) in self._given_up.items() if at >= oldest
        }
        failing = {each: size for each, (_, size) in self._given_up.items()} | self._failing
        return {each for each, size in failing.items() if above < size <= largest}
