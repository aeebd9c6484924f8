"""``schemas export``: writes the published schemas, or checks that files are up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consumer.cli import output
from consumer.cli.common import CommandFailed, ExitCode, JsonOption


def export(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to.")] = Path("schemas"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 3 where a file differs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write JSON Schemas of all messages and the AsyncAPI document, made from the models."""
    from consumer.contract.schemas import files

    if check:
        _check(folder, files(), as_json=as_json)
        return
    try:
        for name, content in files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            if not as_json:
                output.line(str(folder / name))
    except OSError as error:
        raise CommandFailed(f"{error.filename}: can't be written: {error.strerror}") from None
    if as_json:
        output.json_line({"folder": str(folder), "written": list(files())})


def _check(folder: Path, wanted: dict[str, bytes], *, as_json: bool) -> None:
    differing = [name for name, content in wanted.items() if _content(folder / name) != content]
    if as_json:
        output.json_line({"folder": str(folder), "files": len(wanted), "differing": differing})
    if differing:
        raise CommandFailed(
            f"missing in {folder} or different from the models: {', '.join(differing)}\n"
            "`anythingllm-consumer schemas export` writes them",
            ExitCode.FOUND,
        )
    if not as_json:
        output.line(f"{folder}: all {len(wanted)} files are up to date")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
