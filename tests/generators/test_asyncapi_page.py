"""The AsyncAPI document as people read it: AsyncAPI's own React component, in a browser.

TEST_SCREENSHOTS_DIR names a folder that keeps what was seen, for people to look at.
"""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from tests.generators.installs import REACT_COMPONENT, npm_package
from tests.integration.chromium import chromium, chromium_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DOCUMENT = Path(__file__).resolve().parents[2] / "schemas" / "asyncapi.json"
PAGE = """<!DOCTYPE html><meta charset="utf-8"><link rel="stylesheet" href="styles/default.min.css">
<div id="page"></div><script src="browser/standalone/index.js"></script>
<script>
AsyncApiStandalone.render({schema: %s, config: {show: {errors: true}}},
  document.getElementById("page"));
</script>
"""


async def test_the_page_shows_every_channel_and_model(tmp_path: Path) -> None:
    """No error on it; each topic, and what a result and a document are made of."""
    chromium_program()
    package = npm_package(tmp_path / "npm", REACT_COMPONENT)
    document = orjson.loads(DOCUMENT.read_bytes())
    page = package / "page.html"
    page.write_text(PAGE % orjson.dumps(document).decode(), encoding="utf-8")
    async with chromium(tmp_path / "browser") as tab:
        await tab.show(page.as_uri(), width=1400, height=1000)
        await tab.until("document.querySelector('#operations, #messages') !== null", seconds=90)
        text = await tab.value_of("document.body.textContent")
        if folder := os.environ.get("TEST_SCREENSHOTS_DIR"):
            (Path(folder) / "asyncapi.png").write_bytes(await tab.screenshot())
        complaints = list(tab.complaints)

    assert complaints == []
    assert "Error" not in text
    for channel in document["channels"].values():
        assert channel["address"] in text
    for title in document["components"]["schemas"]:
        assert title in text
    assert "Keep the first" in text or "keep the first" in text
