"""How fast the service is, beside its peers and the bound; and what does not slow it down."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from consumer.sandbox.errors import SandboxError
from consumer.sandbox.kafka import local_kafka
from tests.bench.catalog import REPOSITORY
from tests.bench.changes import measure_changes
from tests.bench.comparison import NAMES, Options, compare
from tests.bench.cost_model import measure_cost_model
from tests.bench.flatness import measure_flatness
from tests.bench.index import measure_index
from tests.bench.plot import plot
from tests.bench.proof import SEARCH_COSTS, measure_proof
from tests.bench.report import table
from tests.bench.republish import measure_republish
from tests.bench.server import Server, running_server
from tests.bench.skew import measure_skew

Given = argparse.Namespace
Measure = Callable[[Given, str, Server], Awaitable[Any]]


async def _compare(given: Given, kafka: str, server: Server) -> Any:
    options = Options(
        names=given.only.split(","),
        documents=given.documents,
        rounds=given.rounds,
        slots=given.slots,
        settings=_settings(given),
        is_cold=given.cold,
    )
    found = await compare(options, kafka, server, print)
    print(table(found.lines))
    for line in found.lines:
        print(f"{line.title}: {line.version}")
    _save(given.output / "compare.svg", plot(found.lines).encode())
    return found.as_json()


async def _republish(given: Given, kafka: str, server: Server) -> Any:
    return asdict(await measure_republish(kafka, server, given.documents, _settings(given)))


async def _skew(given: Given, kafka: str, server: Server) -> Any:
    found = []
    for _ in range(given.rounds):
        one = await measure_skew(kafka, server, given.documents, 10_000, _settings(given))
        print(f"{one.alone:.1f} s without the large one, {one.beside:.1f} s with it: {one.ratio}")
        found.append(one)
    return {
        "ratio": median(each.ratio for each in found),
        "rounds": [asdict(each) for each in found],
    }


async def _cost_model(given: Given, kafka: str, server: Server) -> Any:
    packs = given.packs.split(",") if given.packs else []
    turns = await measure_cost_model(kafka, server, given.documents // 100, packs, print)
    return [asdict(each) for each in turns]


async def _changes(given: Given, kafka: str, server: Server) -> Any:
    count = max(1, given.documents // 50)
    return [asdict(each) for each in await measure_changes(kafka, server, count, _settings(given))]


async def _index(given: Given, kafka: str, server: Server) -> Any:
    counts = [int(each) for each in given.markers.split(",")]
    return [asdict(each) for each in await measure_index(kafka, server, counts, _settings(given))]


async def _flat(given: Given, kafka: str, server: Server) -> Any:
    levels = await measure_flatness(
        kafka, server, given.documents, given.rounds, _settings(given), print
    )
    return [asdict(each) for each in levels]


async def _proof(given: Given, kafka: str, _: Server) -> Any:
    settings = _settings(given)
    return [asdict(await measure_proof(each, kafka, settings)) for each in SEARCH_COSTS]


_MEASURES: Mapping[str, tuple[Measure, str]] = {
    "compare": (_compare, "the service beside its peers and the bound (the default)"),
    "republish": (_republish, "documents that are stored as they are come again"),
    "skew": (_skew, "a document of 10,000 chunks among small ones"),
    "cost-model": (_cost_model, "at the cost of a real AnythingLLM, beside fixed concurrencies"),
    "changes": (_changes, "at that cost: a chunk of ten is changed, then all documents erased"),
    "flat": (_flat, "a chunk's cost by markers, partitions and instances"),
    "index": (_index, "reading a workspace that holds many markers, and keeping them"),
    "proof": (_proof, "what proof by a search costs"),
}


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is asked for; prints it, and keeps it as JSON."""
    given = _parser().parse_args(words)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it retries is no news here
    try:
        asyncio.run(_measure(given))
    except (RuntimeError, SandboxError) as error:
        sys.exit(str(error))


def _parser() -> argparse.ArgumentParser:
    about = "\n".join(f"  {name:<12}{what}" for name, (_, what) in _MEASURES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=f"{__doc__}\n\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("measure", nargs="?", choices=_MEASURES, default="compare")
    parser.add_argument("--only", default=",".join(NAMES), help="contestants: %(default)s")
    parser.add_argument("--documents", type=int, default=1_000, help="how many: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="turns each: %(default)s")
    parser.add_argument("--slots", type=int, default=50, help="requests in flight: %(default)s")
    parser.add_argument("--packs", default="10", help="cost-model: packings: %(default)s")
    parser.add_argument("--markers", default="20000,100000", help="index: %(default)s")
    parser.add_argument("--cold", action="store_true", help="measure from the first upload on")
    parser.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="of the service"
    )
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench")
    return parser


def _settings(given: Given) -> dict[str, str]:
    return dict(each.split("=", 1) for each in given.setting)


async def _measure(given: Given) -> None:
    measure, _ = _MEASURES[given.measure]
    async with local_kafka() as kafka, running_server() as server:
        found = await measure(given, kafka.bootstrap_servers, server)
    if given.measure != "compare":
        print(orjson.dumps(found).decode())
    _save(given.output / f"{given.measure}.json", orjson.dumps(found, option=orjson.OPT_INDENT_2))


def _save(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    print(f"written: {file}")


if __name__ == "__main__":
    main()
