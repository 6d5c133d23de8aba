"""Mistakes in the data that a user can put right; the command line turns them into exit code 2."""

from __future__ import annotations

from pathlib import Path


class DataError(ValueError):
    """A data set is not as expected.

    The message names the file or field, what was found, what was expected and what to do.
    """


class UnreadableImage(DataError):
    """An image file that cannot be decoded.

    Attributes:
        path: the file, or the name of a generated image.
        reason: one line, why it cannot be read.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(
            f"{path}: the image cannot be read ({reason}). Replace or remove the file, "
            "or set data.unreadable: skip to leave such files out and list them in the audit."
        )

    def __reduce__(self) -> tuple[type[UnreadableImage], tuple[str, str]]:
        # Exceptions are pickled by their message; this one is rebuilt from its two parts.
        return (UnreadableImage, (self.path, self.reason))
