"""The error of this package."""

from __future__ import annotations


class StudyError(ValueError):
    """A run directory cannot be read.

    The message names the file or column, what was found, what was expected and what to do.
    """
