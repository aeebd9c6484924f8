"""``simulate``: the simulated AnythingLLM as a server for anyone's tests."""

from __future__ import annotations

import errno
import json
import secrets
import signal
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.cli import output
from consumer.cli.common import CommandFailed, wrong_usage

if TYPE_CHECKING:
    from consumer.sandbox.simulator import Faults, Options, Simulator
    from consumer.sandbox.simulator.state_file import StateFile


def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 0,
    api_key: Annotated[
        str,
        typer.Option(
            "--api-key",
            help="The key it accepts; without one that of the state file, or one that is made up.",
        ),
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
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep what is stored in this file: a restart goes on with it, and with its key.",
            show_default=False,
        ),
    ] = None,
    seed_faults: Annotated[
        Path | None,
        typer.Option(
            "--seed-faults",
            metavar="FILE",
            help="Faults from the start: a JSON object a line, as below.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Run a simulated AnythingLLM 1.16; faults are switched through /_sim/faults.

    Faults are rules and switches: one JSON object a line of --seed-faults, or the
    body of PUT /_sim/faults ({"rules": [...]} replaces all rules; GET shows them
    with how often they struck). At the start they are printed.

    A rule does something (kind) to some requests, the first that fits:
      method, path      which; a path is a pattern as in a shell: */raw-text
      contains, longer  only where the text has this, or more characters
      times, skip       how often at most; leave so many alone first
      every             then only each n-th, beginning with the first
      status, headers, body, seconds, apply, late, gateway
                        details of the kind

    Kinds, before the request takes effect: delay (seconds), hold.
    Instead of it: status, html, redirect (to body), reset, fin; with apply it
    takes effect all the same, with late only so many seconds afterwards.
    After it: reset-after, fin-after, hold-after, half-body, truncated, drip
    (64 bytes every seconds), large-header, unreadable-header.
    Lies: pretend (success, and nothing is stored), wrong-location.
    The whole server: kill (gone for seconds; with gateway a proxy answers).
    A part, for this request: embedder-fails, fetch-failed, collector-down,
    key-refused.

    Switches: embedder_down, embedder_latency, embedder_fails_every,
    embedder_fails_share, embedder_longest, embedder_per_minute, embedder_pace,
    embedder_poison, embedder_nonsense, embedder_dimension, collector,
    workspace_dimensions, fetch_failed_every, key_revoked, vectors_refused,
    vectors_kept, database_down, visible_after_seconds, late_every, most_hits,
    odd_hits, latency.

    Examples of lines:
      {"kind": "status", "path": "*/raw-text", "status": 422, "contains": "NO"}
      {"kind": "status", "status": 429, "headers": {"Retry-After": "2"}}
      {"kind": "reset-after", "path": "*/raw-text", "every": 10, "times": 3}
      {"embedder_down": true}

    With --state a process that is killed may lack what came last: a fifth of a
    second, with thousands of chunks a few seconds.

    Example: anythingllm-consumer simulate --port 3001 --state anythingllm.json
    Example: anythingllm-consumer simulate --seed-faults faults.ndjson
    """
    from consumer.sandbox.simulator import Costs, Faults, Options, VectorDb
    from consumer.sandbox.simulator.faults_file import FaultsFileError, read_faults
    from consumer.sandbox.simulator.state_file import StateFile, StateFileError

    if vector_db not in list(VectorDb):
        raise wrong_usage(f"--vector-db is one of {', '.join(VectorDb)}")
    faults = Faults(embedder_latency=embedder_latency)
    file = StateFile(state, vector_db) if state is not None else None
    try:
        if seed_faults is not None:
            read_faults(seed_faults, faults)
    except FaultsFileError as error:
        raise wrong_usage(str(error)) from None
    options = Options(
        host=host,
        port=port,
        api_key=api_key or "",
        costs=Costs(upload=upload_cost, search=search_cost),
        journal=journal,
        vector_db=vector_db,
    )
    try:
        with nullcontext() if file is None else file.claimed():
            _simulate(options, faults, file, as_json=as_json)
    except StateFileError as error:
        raise CommandFailed(f"what is stored can't be kept: {error}") from None


def _simulate(options: Options, faults: Faults, file: StateFile | None, *, as_json: bool) -> None:
    import asyncio

    from consumer.sandbox.simulator.state_file import StateFileError

    try:
        kept = file.read() if file is not None else None
    except StateFileError as error:
        raise wrong_usage(str(error)) from None
    key = options.api_key or (kept or {}).get("api_key") or secrets.token_urlsafe(16)
    options = replace(options, api_key=key)
    try:
        asyncio.run(_serve(options, faults, file, kept, as_json=as_json))
    except OSError as error:
        output.error(_cannot_listen(options.host, options.port, error))
        raise typer.Exit(1) from None


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    taken = error.errno == errno.EADDRINUSE
    why = "the port is in use" if taken else error.strerror or type(error).__name__
    return f"can't listen on {host}:{port}: {why}; choose another --port, or 0 for a free one"


async def _serve(
    options: Options,
    faults: Faults,
    file: StateFile | None,
    kept: dict[str, Any] | None,
    *,
    as_json: bool,
) -> None:
    import asyncio

    from consumer.sandbox.simulator import Simulator
    from consumer.sandbox.simulator.state_file import put_back

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = Simulator(options, faults)
    if kept is not None:
        put_back(kept, server.state, server.tables)
    if file is not None:
        file.write(_held(server))  # what can't be written is told at once
    try:
        await server.start()
        for line in _announcement(server, as_json=as_json):
            typer.echo(line)
        await _until(stop, server, file)
    finally:
        await server.close()
        if file is not None:
            file.write(_held(server))


async def _until(stop: Any, server: Simulator, file: StateFile | None) -> None:
    """Return when it is to stop; meanwhile what is stored is kept."""
    import asyncio

    from consumer.sandbox.simulator.state_file import keep

    if file is None:
        await stop.wait()
        return
    tasks = [
        asyncio.create_task(stop.wait()),
        asyncio.create_task(keep(file, lambda: _held(server), server.touched)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _held(server: Simulator) -> dict[str, Any]:
    from consumer.sandbox.simulator.state_file import held

    return held(server.state, server.tables, server.api_key)


def _announcement(server: Simulator, *, as_json: bool) -> list[str]:
    from consumer.sandbox.simulator.faults_file import faults_shown, not_normal

    if as_json:
        said = {"endpoint": server.endpoint, "api_key": server.api_key}
        return [json.dumps({**said, "faults": not_normal(server.faults)})]
    first = f"simulated AnythingLLM at {server.endpoint}, API key {server.api_key}"
    lines = [first]
    if server.state.workspaces:
        names, files = len(server.state.workspaces), len(server.state.files)
        lines.append(f"{names} workspaces and {files} files from before")
    return [*lines, *faults_shown(server.faults)]
