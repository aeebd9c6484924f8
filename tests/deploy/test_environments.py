"""The examples of settings are whole: each as it stands, and with what it offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.settings import load_settings
from tests.deploy.places import DEPLOY

EXAMPLES = sorted(DEPLOY.glob("*.env"))


def _settings(text: str, folder: Path) -> dict[str, str]:
    """What a file sets; files that it names are made up."""
    found = {}
    for name, _, value in (line.partition("=") for line in text.splitlines() if "=" in line):
        if value.startswith("/"):
            file = folder / Path(value).name
            file.write_text("a-secret")
            value = str(file)
        found[name] = value
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
@pytest.mark.parametrize("offered", [False, True], ids=["as it stands", "with all it offers"])
def test_the_service_takes_an_example(path: Path, offered: bool, tmp_path: Path) -> None:
    """What is behind a `# ` is offered: without it, it is a setting as well."""
    text = path.read_text()
    if offered:
        text = text.replace("\n# KAFKA_", "\nKAFKA_")
    else:
        text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    settings = {"ANYTHINGLLM_API_KEY": "a-secret"} | _settings(text, tmp_path)
    if "ANYTHINGLLM_API_KEY_FILE" in settings:
        del settings["ANYTHINGLLM_API_KEY"]

    assert load_settings(settings).kafka.security_protocol == "SASL_SSL"
