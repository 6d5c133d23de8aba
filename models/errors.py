"""The error for weights that a user supplied and that cannot be used."""

from __future__ import annotations


class WeightsError(ValueError):
    """A weights file or checkpoint is missing, damaged or of another network.

    The message names the file, what was found, what was expected and what to do; the command line prints it and exits
    with code 2.
    """
