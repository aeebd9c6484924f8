"""Makes a failing schedule small: leaves out, and makes plain, whatever it fails without."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.simulation.findings import Wrong, kinds
from tests.simulation.run import run
from tests.simulation.schedule import At, Doc, Hit, Life, On, Schedule, Setup

_PARTS = ("history", "faults", "life")


def shrink(
    schedule: Schedule,
    wrong: Wrong,
    *,
    fails: Callable[[Schedule, Wrong], bool] | None = None,
    most_runs: int = 600,
) -> Schedule:
    """The smallest schedule found that goes wrong in the same way.

    Args:
        schedule: one that does.
        wrong: in which way.
        fails: whether a schedule does; runs it where None.
        most_runs: of schedules.
    """
    still = fails or _goes_wrong
    runs = 0
    smaller = True
    while smaller:
        smaller = False
        for tried in _simpler(schedule):
            if runs >= most_runs:
                return schedule
            runs += 1
            if still(tried, wrong):
                schedule, smaller = tried, True
                break
    return schedule


def _goes_wrong(schedule: Schedule, way: Wrong) -> bool:
    """Whether it does; what it leaves is swept up afterwards, never while the next one runs."""
    gc.disable()
    try:
        return way in kinds(run(schedule).found)
    finally:
        gc.collect()
        gc.enable()


def _simpler(schedule: Schedule) -> Iterator[Schedule]:
    """Schedules with less in them, the boldest first."""
    for part in _PARTS:
        every: tuple[Any, ...] = getattr(schedule, part)
        size = len(every) // 2
        while size:
            for start in range(0, len(every), size):
                yield _with(schedule, part, every[:start] + every[start + size :])
            size //= 2
        if len(every) == 1:
            yield _with(schedule, part, ())
    yield from _plainer_setups(schedule)
    for part in _PARTS:
        every = getattr(schedule, part)
        for place, each in enumerate(every):
            for plain in _plainer(each):
                changed = (*every[:place], plain, *every[place + 1 :])
                yield _with(schedule, part, changed)


def _with(schedule: Schedule, part: str, every: tuple[Any, ...]) -> Schedule:
    match part:
        case "history":
            return replace(schedule, history=every)
        case "faults":
            return replace(schedule, faults=every)
    return replace(schedule, life=every)


def _plainer_setups(schedule: Schedule) -> Iterator[Schedule]:
    usual = Setup()
    if schedule.setup == usual:
        return
    yield replace(schedule, setup=usual)
    for name in vars(usual):
        if getattr(schedule.setup, name) != getattr(usual, name):
            setup = replace(schedule.setup, **{name: getattr(usual, name)})
            yield replace(schedule, setup=setup)
    for slug in schedule.setup.prepared:
        left = tuple(each for each in schedule.setup.prepared if each != slug)
        yield replace(schedule, setup=replace(schedule.setup, prepared=left))


def _plainer(each: Any) -> Iterator[Any]:
    yield from _plainer_moments(each)
    match each:
        case Doc(texts=texts):
            if len(texts) > 1:
                yield replace(each, texts=texts[: len(texts) // 2])
                for place in range(len(texts) if len(texts) < 6 else 0):
                    yield replace(each, texts=texts[:place] + texts[place + 1 :])
                yield replace(each, texts=texts[:-1])
            if each.day not in (0, 1):
                yield replace(each, day=1)
            if each.slug != "docs":
                yield replace(each, slug="docs")
        case Hit():
            yield from _plainer_hits(each)
        case Life(seconds=seconds) if seconds > 1:
            yield replace(each, seconds=0.5)


def _plainer_moments(each: Any) -> Iterator[Any]:
    match each.when if hasattr(each, "when") else None:
        case At(seconds) if seconds:
            yield replace(each, when=At(0))
            if seconds != round(seconds):
                yield replace(each, when=At(float(round(seconds))))
        case On() as on:
            yield replace(each, when=At(0))
            for plain in (replace(on, turns=0), replace(on, seconds=0.0), replace(on, nth=1)):
                if plain != on:
                    yield replace(each, when=plain)


def _plainer_hits(hit: Hit) -> Iterator[Hit]:
    usual = Hit(hit.on, hit.kind)
    for name in ("skip", "times", "late", "contains", "retry_after", "status", "apply"):
        if getattr(hit, name) != getattr(usual, name):
            yield replace(hit, **{name: getattr(usual, name)})
    if hit.on == "any":
        for on in ("upload", "removal", "listing", "check", "search", "embed"):
            yield replace(hit, on=on)
