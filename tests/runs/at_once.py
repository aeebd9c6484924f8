"""Shows a failure when it happens, not after the last test: ``pytest -p tests.runs.at_once``."""

from __future__ import annotations

import pytest
from _pytest.terminal import TerminalReporter

_SAID_LINES = 100  # of what a test has said; a service that waits for Kafka fills pages


class ShowAtOnce:
    """Writes what pytest would keep for its last page, and keeps that page short.

    Args:
        terminal: what pytest writes with.
    """

    def __init__(self, terminal: TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a failure with what the test has said."""
        if not report.failed:
            return
        self._terminal.ensure_newline()
        self._terminal.section(f"{report.when} of {report.nodeid}", sep="_")
        report.toterminal(self._terminal._tw)
        for title, said in report.sections:
            self._terminal.section(title, sep="-")
            lines = said.splitlines()
            if len(lines) > _SAID_LINES:
                lines = [f"... {len(lines) - _SAID_LINES} lines before", *lines[-_SAID_LINES:]]
            self._terminal.line("\n".join(lines))
        self._terminal.section("on with the next test", sep="_")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Leave the failures out of the last page: it names them, and they have been shown."""
        session.config.option.tbstyle = "no"


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Stand beside pytest's own reporter, which has to be there first."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.register(ShowAtOnce(terminal), "show-at-once")
