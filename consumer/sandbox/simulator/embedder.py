"""A deterministic embedder: bags of words and word pairs, hashed, of unit length.

Not a language model, but right in what tests look at: equal texts have distance 0, texts without a
common word have distance 1, a phrase is nearest to the text that contains it. Vectors are kept
sparse, so that hash collisions never make a wrong text the nearest one; `dense` folds them to the
width that the embeddings endpoint shows.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

DIMENSION = 64
_HEADER_END = "</document_metadata>\n\n"
_HEADER_WEIGHT = 0.05
_SIGN_WEIGHT = 0.3
_HEADERS_KEPT = 1_000
_TOKENS = re.compile(r"\w+|[^\w\s]+")


class Nonsense(StrEnum):
    """What an embedder may give with success instead of a vector of the text.

    ``zeros``, ``nulls``, ``nan``  nothing but these.
    ``constant``                   the same vector for every text.
    """

    ZEROS = "zeros"
    NULLS = "nulls"
    NAN = "nan"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Vector:
    """A text's vector.

    Args:
        dimension: the width it claims; a table takes vectors of one width only.
        features: hashes of words and word pairs; none where all its numbers are zeros or none.
        weights: one a feature; their squares add up to one.
        nonsense: what its numbers are where they are no numbers.
    """

    dimension: int
    features: array[int]
    weights: array[float]
    nonsense: Nonsense | None = None

    def as_query(self) -> Mapping[int, float]:
        """The vector in the form that `distance` looks features up in."""
        return dict(zip(self.features, self.weights, strict=True))

    def dense(self) -> list[float] | list[None]:
        """The vector folded to its dimension, as an embeddings answer shows it: NaN is null."""
        if self.nonsense in (Nonsense.NULLS, Nonsense.NAN):
            return [None] * self.dimension
        folded = [0.0] * self.dimension
        for feature, weight in zip(self.features, self.weights, strict=True):
            folded[feature % self.dimension] += weight
        return folded


def embed(text: str, dimension: int = DIMENSION) -> Vector:
    """The vector of a text; the server's prefix counts little, or short texts would look alike."""
    head, end, body = text.rpartition(_HEADER_END)
    weights = _weights(body)
    if end:
        weights = _header_weights(head) | weights
    norm = math.hypot(*weights.values()) or 1.0
    return Vector(
        dimension,
        array("I", weights),
        array("f", [weight / norm for weight in weights.values()]),
    )


def zeros(dimension: int = DIMENSION) -> Vector:
    """A vector of zeros: it has nothing in common with anything, itself included."""
    return Vector(dimension, array("I"), array("f"))


def nonsense(kind: Nonsense, dimension: int = DIMENSION) -> Vector:
    """What an embedder gives that has gone mad."""
    if kind is Nonsense.CONSTANT:
        return embed(kind, dimension)
    return Vector(dimension, array("I"), array("f"), None if kind is Nonsense.ZEROS else kind)


def cut(vector: Vector, dimension: int) -> Vector:
    """The beginning of a vector: like nothing that a model of that width gives."""
    odd = crc32(vector.features.tobytes())
    return Vector(dimension, array("I", [odd]), array("f", [1.0]))


def distance(query: Mapping[int, float], vector: Vector) -> float:
    """Between 0 (equal) and 1 (nothing in common).

    The root of the cosine, because counted words are less alike than meanings are: without it the
    server's threshold would hide a text from a phrase that it contains.
    """
    get = query.get
    common = sum(
        weight * get(feature, 0.0)
        for feature, weight in zip(vector.features, vector.weights, strict=True)
    )
    return max(0.0, 1.0 - math.sqrt(common))


def score(distance_: float) -> float:
    """The score AnythingLLM 1.16 reports: a distance of 1 or more becomes the best score."""
    return 1.0 if distance_ >= 1.0 else 1.0 - distance_


@lru_cache(maxsize=_HEADERS_KEPT)  # the pieces of a file have one header
def _header_weights(head: str) -> dict[int, float]:
    return dict.fromkeys(_weights(head), _HEADER_WEIGHT)


def _weights(text: str) -> dict[int, float]:
    words = _TOKENS.findall(text.lower())
    counts = Counter(words)
    counts.update(map("\0".join, pairwise(words)))
    return {
        crc32(word.encode("utf-8", "surrogatepass")): (
            (1.0 + math.log(count)) * (1.0 if word[0].isalnum() else _SIGN_WEIGHT)
        )
        for word, count in counts.items()
    }
