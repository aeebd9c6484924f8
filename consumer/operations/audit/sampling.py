"""Which documents an audit searches for, where it does not search for all. Chance is handed in."""

from __future__ import annotations

import random
from collections.abc import Mapping

from consumer.model.names import Slug

Pick = tuple[Slug, int]
"""A document: its workspace, and its number among the documents of that workspace."""


def picks(counts: Mapping[Slug, int], most: int, rng: random.Random) -> list[Pick]:
    """Documents at random, one of each workspace in turn: a small workspace may be lost as well.

    Args:
        counts: how many documents each workspace has.
        most: how many are picked, at most.
        rng: chooses.
    """
    slugs = [slug for slug, count in counts.items() if count]
    rng.shuffle(slugs)
    shares = dict.fromkeys(slugs, 0)
    left = most
    while left and (larger := [slug for slug in slugs if shares[slug] < counts[slug]]):
        for slug in larger[:left]:
            shares[slug] += 1
        left -= min(left, len(larger))
    chosen = {slug: rng.sample(range(counts[slug]), share) for slug, share in shares.items()}
    turns = range(max(shares.values(), default=0))
    return [(slug, chosen[slug][turn]) for turn in turns for slug in slugs if turn < shares[slug]]
