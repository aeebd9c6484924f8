"""What people read and scrape: the help of commands, and metrics.

Used by the tests and by the program that records, so only what commit cdefe5a has as well is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry

from tests.commands import Commands
from tests.compatibility.forms import Json

# Of the process and of the build: their labels' values are this machine's.
_OTHERS = ("process_", "python_", "anythingllm_consumer_build")
_FRAMES = re.compile("[\\s\u2500-\u257f]+")


def help_of(words: Iterable[str], folder: Path) -> dict[str, str]:
    """The help of each command, its words alone: frames and line breaks are a terminal's."""
    commands = Commands(folder)
    found = {}
    for each in words:
        ended = commands.run_here(*each.split(), "--help", settings={})
        assert ended.code == 0, ended.err
        found[each] = _FRAMES.sub(" ", ended.out).strip()
    return found


def metrics_of(registry: CollectorRegistry) -> list[Json]:
    """Every metric with its kind and the samples that are there before anything happens."""
    return [
        {
            "name": family.name,
            "type": family.type,
            "samples": sorted(
                [sample.name, *map(list, sorted(sample.labels.items()))]
                for sample in family.samples
                if not sample.name.endswith("_created")
            ),
        }
        for family in sorted(registry.collect(), key=lambda each: each.name)
        if not family.name.startswith(_OTHERS)
    ]
