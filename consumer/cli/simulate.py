"""``simulate``: the simulated AnythingLLM as a server for anyone's tests."""

from __future__ import annotations

import json
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli.common import wrong_usage

if TYPE_CHECKING:
    from consumer.sandbox.simulator import Options


def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 0,
    api_key: Annotated[
        str, typer.Option("--api-key", help="The key it accepts; made up when not given.")
    ] = "",
    upload_cost: Annotated[
        float, typer.Option(min=0, help="Seconds of the server's only thread an upload takes.")
    ] = 0.0,
    search_cost: Annotated[
        float, typer.Option(min=0, help="Seconds of the server's only thread a search takes.")
    ] = 0.0,
    embedder_latency: Annotated[
        float, typer.Option(min=0, help="Seconds an embedding call takes.")
    ] = 0.0,
    journal: Annotated[
        Path | None, typer.Option(help="Append what it does to this file, a JSON object a line.")
    ] = None,
    vector_db: Annotated[
        str,
        typer.Option(help="Vector database behind it: lancedb, pgvector, chroma or milvus."),
    ] = "lancedb",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Run a simulated AnythingLLM 1.16; faults are switched through /_sim/faults."""
    import asyncio

    from consumer.sandbox.simulator import Costs, Options, VectorDb

    options = Options(
        host=host,
        port=port,
        api_key=api_key or secrets.token_urlsafe(16),
        costs=Costs(upload=upload_cost, search=search_cost),
        journal=journal,
        vector_db=vector_db,
    )
    if vector_db not in list(VectorDb):
        raise wrong_usage(f"--vector-db is one of {', '.join(VectorDb)}")
    try:
        asyncio.run(_serve(options, embedder_latency, as_json=as_json))
    except OSError as error:
        typer.echo(f"cannot listen on {host}:{port}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None


async def _serve(options: Options, embedder_latency: float, *, as_json: bool) -> None:
    import asyncio

    from consumer.sandbox.simulator import Faults, Simulator

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = Simulator(options, Faults(embedder_latency=embedder_latency))
    try:
        await server.start()
        typer.echo(_announcement(server.endpoint, api_key=server.api_key, as_json=as_json))
        await stop.wait()
    finally:
        await server.close()


def _announcement(endpoint: str, *, api_key: str, as_json: bool) -> str:
    if as_json:
        return json.dumps({"endpoint": endpoint, "api_key": api_key})
    return f"simulated AnythingLLM at {endpoint}, API key {api_key}"
