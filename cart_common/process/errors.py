"""The base of all errors that end a program, or a command, with a sentence."""

from __future__ import annotations


class UserError(Exception):
    """What a user gave, or what the machine holds, cannot be used; the message is a sentence that says what to do."""
