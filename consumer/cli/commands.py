"""Which commands there are: the words that call each, where it stands, and its line in a help.

Nothing of a command is imported for this, so that a list of commands is shown at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the words that call it, and the function that does it.

    Args:
        words: what is typed: the command, or its group and the command.
        target: the function, as ``module:function``.
        summary: the first paragraph of the function's docstring, on one line.
    """

    words: str
    target: str
    summary: str

    @property
    def group(self) -> str:
        """The group it stands in; "" for a command of the program itself."""
        return self.words.rpartition(" ")[0]

    @property
    def name(self) -> str:
        """The last word."""
        return self.words.rpartition(" ")[2]


# In the order of the help, in which groups come last: what a newcomer needs, day to day, what helps
# others with their tests.
COMMANDS: tuple[Command, ...] = (
    Command(
        "demo",
        "consumer.cli.demo:demo",
        "Run everything on this machine: Kafka, AnythingLLM (simulated), documents in, search.",
    ),
    Command(
        "run",
        "consumer.cli.run:run",
        "Consume documents and store them until SIGTERM or Ctrl-C.",
    ),
    Command(
        "status",
        "consumer.cli.status:status",
        "Show what running services do: lag, pace, what waits and why. Changes nothing.",
    ),
    Command(
        "check",
        "consumer.cli.check:check",
        "Look at settings, Kafka, the topics and AnythingLLM; "
        "exit 3 when something must be mended.",
    ),
    Command(
        "validate",
        "consumer.cli.validate:validate",
        "Check files of events against the contract (schemas/README.md).",
    ),
    Command(
        "publish",
        "consumer.cli.publish:publish",
        "Publish ProcessedDocument events, each with its identity as the record key.",
    ),
    Command(
        "results",
        "consumer.cli.results:results",
        "Show upload results, oldest first within a partition.",
    ),
    Command(
        "where",
        "consumer.cli.where:where",
        "Everything that is known of one document, on one screen.",
    ),
    Command(
        "audit",
        "consumer.cli.audit:audit",
        "Is everything that was published stored? Names what is missing, double or left over.",
    ),
    Command(
        "dlq list",
        "consumer.cli.dlq.list:list_",
        "List open dead letters, newest first. Changes nothing.",
    ),
    Command(
        "dlq show",
        "consumer.cli.dlq.show:show",
        "Show everything about one dead letter. Changes nothing.",
    ),
    Command(
        "dlq stats",
        "consumer.cli.dlq.stats:stats",
        "Count open dead letters by reason, cause, workspace, technology and day. Changes nothing.",
    ),
    Command(
        "dlq replay",
        "consumer.cli.dlq.replay:replay",
        "Replay open dead letters: says what it would do, and does it with --yes.",
    ),
    Command(
        "dlq runs",
        "consumer.cli.dlq.runs:runs",
        "Show replay runs, newest first, and how their replays fared. Changes nothing.",
    ),
    Command(
        "dlq park",
        "consumer.cli.dlq.park:park",
        "Put open dead letters aside: says which, and does it with --yes.",
    ),
    Command(
        "dlq export",
        "consumer.cli.dlq.export:export",
        "Write open dead letters to a file, one JSON object a line. Changes nothing.",
    ),
    Command(
        "topics create",
        "consumer.cli.topics:create",
        "Create the topics that are missing; those that exist are left as they are.",
    ),
    Command(
        "workspaces list",
        "consumer.cli.workspaces.list:list_",
        "Show every workspace: documents and chunks of ours, documents of others, test documents.",
    ),
    Command(
        "workspaces verify",
        "consumer.cli.workspaces.verify:verify",
        "Look for what crashes and races left behind; exit 3 when something is found.",
    ),
    Command(
        "workspaces repair",
        "consumer.cli.workspaces.repair:repair",
        "Put right what `workspaces verify` finds: says what, and does it with --yes.",
    ),
    Command(
        "workspaces move",
        "consumer.cli.workspaces.move:move",
        "Move a workspace to another of several servers: says what, and does it with --yes.",
    ),
    Command(
        "workspaces forget",
        "consumer.cli.workspaces.forget:forget",
        "Give up the name of one of several servers: says what, and does it with --yes.",
    ),
    Command(
        "workspaces mark",
        "consumer.cli.workspaces.mark:mark",
        "Make again the removed mark of one of several servers: says what, does it with --yes.",
    ),
    Command(
        "schemas export",
        "consumer.cli.schemas:export",
        "Write JSON Schemas of all messages and the AsyncAPI document, made from the models.",
    ),
    Command(
        "simulate",
        "consumer.cli.simulate:simulate",
        "Run a simulated AnythingLLM 1.16; faults are switched through /_sim/faults.",
    ),
)

GROUPS = {
    "dlq": "Dead letters: what could not be stored, why, and what can be done about it.",
    "topics": "The Kafka topics the service needs.",
    "workspaces": "What AnythingLLM holds: looking, finding faults, mending them.",
    "schemas": "The JSON Schemas of all messages.",
}
