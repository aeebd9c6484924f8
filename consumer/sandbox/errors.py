"""What can go wrong with the sandbox itself, told to a person in front of it."""

from __future__ import annotations


class SandboxError(Exception):
    """A part of the sandbox failed; the message says which and shows its last words."""


class SandboxUnavailable(SandboxError):
    """This machine lacks something; the message says what to install. Commands exit with 2."""
