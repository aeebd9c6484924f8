"""``python -m tests.bench``: how fast the service is, beside its peers and the bound."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import orjson

from consumer.sandbox.kafka import local_kafka
from tests.bench.catalog import REPOSITORY
from tests.bench.comparison import NAMES, Options, compare
from tests.bench.report import table
from tests.bench.server import running_server

_FOLDER = REPOSITORY / "build" / "bench"


def main(words: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    given = _parser().parse_args(words)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it retries is no news here
    asyncio.run(_compare(given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default=",".join(NAMES), help="contestants: %(default)s")
    parser.add_argument("--documents", type=int, default=1_000, help="of 5 chunks: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="turns each: %(default)s")
    parser.add_argument("--slots", type=int, default=50, help="in flight: %(default)s")
    parser.add_argument("--output", type=Path, default=_FOLDER, help="folder for JSON and plot")
    return parser


async def _compare(given: argparse.Namespace) -> None:
    options = Options(given.only.split(","), given.documents, given.rounds, given.slots)
    async with local_kafka() as kafka, running_server() as server:
        found = await compare(options, kafka.bootstrap_servers, server, print)
    print(table(found.lines))
    for line in found.lines:
        print(f"{line.title}: {line.version}")
    given.output.mkdir(parents=True, exist_ok=True)
    file = given.output / "comparison.json"
    file.write_bytes(orjson.dumps(found.as_json(), option=orjson.OPT_INDENT_2))
    print(f"all of it: {file}")


if __name__ == "__main__":
    main()
