"""Addresses of database servers, whose passwords are never written or printed."""

from __future__ import annotations

import os
import re

STORAGE_VARIABLE = "WBC_STUDY_STORAGE"
"""Environment variable with the whole URL, password included."""

MASK = "***"

# Greedy up to the last @: a password may hold any character. Rather hide too much than a part of it.
_USER = re.compile(r"(\w[\w+.-]*://[^:/@\s]*:)\S*@")
_QUERY = re.compile(r"([?&][^=&\s]*(?:password|passwd|secret|token)[^=&\s]*=)[^&\s]*", re.IGNORECASE)


def mask_password(text: str) -> str:
    """A URL, or any text with URLs in it, with ``***`` for every password."""
    return _QUERY.sub(rf"\1{MASK}", _USER.sub(rf"\1{MASK}@", text))


def resolve_storage(storage: str) -> str:
    """The storage with its password: where a URL is configured, the one of the environment replaces it, if there is one."""
    return os.environ.get(STORAGE_VARIABLE) or storage if "://" in storage else storage
