"""Packs: which chunks of a document share one AnythingLLM document, and what its text is. Pure.

1. The whole document is cut, whatever of it is stored, and of each part the chunks that are to be
   uploaded make one pack. So whoever begins the same upload anew sends the same packs, also where
   some of them are stored already: a late copy of one is an exact double, and known as such.
2. Parts are full, but for cuts that the content makes (`_is_anchor`): behind an inserted chunk the
   cuts are the same again from the next such chunk on, as a rule after eight parts.
3. A part never holds a text twice: by its text a hit is known to be of a chunk, and a set of its
   vectors would look like two. It never holds more than `MOST_BYTES` of text, but a larger chunk.
4. Some chunks go alone: blank ones, of which AnythingLLM embeds nothing and says nothing, and
   those that are known to be refused.

AnythingLLM 1.16 cuts texts itself (LangChain's recursive splitter: pieces of 1,000 UTF-16 units
unless it is set otherwise, at paragraphs first), and fills its pieces across the borders of chunks.
`JOINT` stands against that: a paragraph of blanks as long as a piece is in no piece, and ends the
one before it. So a chunk of up to 998 units is one piece, with the vector that it would have alone
(the line breaks before it count), and a longer one is cut for itself; with @langchain/textsplitters
0.0.0 this was so for all of 599 packs of real documents. Where an operator has set pieces larger
than 1,000, they hold several chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from consumer.model.blank import is_blank

JOINT = "\n\n" + " " * 998 + "\n\n"
"""What stands between two chunks of a pack."""

MOST_CHUNKS = 100  # a pack; a marker names each, and comes back with every hit
MOST_BYTES = 64 * 1024  # of a pack's chunks together; proxies take bodies of a megabyte
AUTO_CHUNKS = 10  # a pack where there is a backlog: stored eight times as fast as ten uploads
_PARTS_A_CUT = 8  # full parts between two cuts by content, on average


@dataclass(frozen=True, slots=True)
class Packing:
    """How chunks are packed.

    Args:
        most: chunks of a pack; 1: each chunk goes alone.
        goes_alone: whether a chunk with this text is known to be refused.
    """

    most: int = 1
    goes_alone: Callable[[str], bool] = lambda content: False


ONE_BY_ONE = Packing()
"""Each chunk is an AnythingLLM document of its own."""


def pack_text(contents: Iterable[str]) -> str:
    """The text of a pack of chunks; of one chunk its own."""
    return JOINT.join(contents)


def contents_of(text: str) -> list[str]:
    """The chunks of a pack's text, where none of them holds a `JOINT` itself."""
    return text.split(JOINT)


def parts(contents: Sequence[str], digests: Sequence[str], most: int) -> list[range]:
    """Cut a document (rules 2 and 3).

    Args:
        contents: the texts of its chunks, in order.
        digests: of the same chunks.
        most: chunks of a part.

    Returns:
        Positions, part by part.
    """
    if most <= 1:
        return [range(position, position + 1) for position in range(len(digests))]
    fits_in_one = len(digests) <= most
    found: list[range] = []
    start, size, held = 0, 0, set[str]()
    for position, digest in enumerate(digests):
        more = len(contents[position].encode(errors="surrogatepass"))
        is_full = position - start >= most or size + more > MOST_BYTES or digest in held
        is_cut = not fits_in_one and _is_anchor(digest, most)
        if position > start and (is_full or is_cut):
            found.append(range(start, position))
            start, size = position, 0
            held.clear()
        size += more
        held.add(digest)
    return [*found, range(start, len(digests))] if digests else found


def packs(
    contents: Sequence[str], digests: Sequence[str], wanted: Iterable[int], packing: Packing
) -> list[tuple[int, ...]]:
    """The packs in which chunks of a document are uploaded.

    Args:
        contents: the texts of all its chunks, in order.
        digests: of the same chunks.
        wanted: positions of those that are to be uploaded.
        packing: how.

    Returns:
        Positions, pack by pack, each of `wanted` once; in order, but that those which go alone come
        before the others of their part.
    """
    chosen = set(wanted)
    if packing.most <= 1:
        return [(position,) for position in sorted(chosen)]
    found: list[tuple[int, ...]] = []
    for part in parts(contents, digests, packing.most):
        together: list[int] = []
        for position in (each for each in part if each in chosen):
            if packing.goes_alone(contents[position]) or is_blank(contents[position]):
                found.append((position,))
            else:
                together.append(position)
        if together:
            found.append(tuple(together))
    return found


def _is_anchor(digest: str, most: int) -> bool:
    """Whether a chunk begins a part wherever it stands: one in `_PARTS_A_CUT` parts does."""
    return int(digest[:8] or "0", 16) % (_PARTS_A_CUT * most) == 0
