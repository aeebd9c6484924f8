"""The status page of the running service, from its parts and its settings."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime

from consumer.admin.guard import PageRules
from consumer.admin.page import PageParts, StatusPage
from consumer.admin.status import SettingStatus
from consumer.app.status import StatusView
from consumer.app.status_work import Sources
from consumer.settings import Settings
from consumer.settings.shown import shown_settings
from consumer.telemetry.logs import masked
from consumer.telemetry.scrub import Scrubber

_LONGEST = 500  # characters of one text


def status_page(settings: Settings, sources: Sources) -> StatusPage:
    """The page; nothing is asked before somebody looks."""
    view = StatusView(
        sources,
        [
            SettingStatus(each.name, each.value, each.is_default)
            for each in shown_settings(settings)
        ],
        instance=f"{socket.gethostname()}-{os.getpid()}",
        group=settings.kafka.group_id,
        clock=time.monotonic,
        now=lambda: datetime.now(UTC),
    )
    scrubber = Scrubber(settings.secrets())
    return StatusPage(
        PageParts(
            make=view,
            # What was changed since the start only the log's mask knows.
            clean=lambda text: scrubber.text(masked(text), _LONGEST),
            clock=time.monotonic,
            rules=PageRules(settings.admin.page, settings.admin.allowed_hosts or ()),
        )
    )
