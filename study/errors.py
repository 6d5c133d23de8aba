"""Errors that a user can act on; the command line turns them into exit codes."""

from __future__ import annotations


class UsageError(ValueError):
    """A wrong request or configuration: the message says what was found and what to do. Exit code 2."""


class StudyFailed(RuntimeError):
    """The study ran and could not finish: the message says why and how to go on. Exit code 1."""


class RayLost(StudyFailed):
    """Ray's own processes failed under the study; a new process with new daemons may continue."""
