"""The commands: arguments in, exit codes out, no decisions. `main` is the program."""

from __future__ import annotations

import sys

from consumer.cli.installed import missing, what_to_install

if absent := missing():

    def main() -> None:
        """The program ``anythingllm-consumer`` where only the client is installed.

        Raises:
            SystemExit: with 1, and one line that says what to install.
        """
        sys.exit(what_to_install(absent))

else:
    from consumer.cli.main import main

__all__ = ["main"]
