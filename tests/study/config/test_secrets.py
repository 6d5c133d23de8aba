"""Passwords of database servers stay where they were given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.config.secrets import STORAGE_VARIABLE, mask_password, resolve_storage


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://ann:s3cret@host:5432/db", "postgresql://ann:***@host:5432/db"),
        ("postgresql+psycopg://ann:a/b:c@d@host/db", "postgresql+psycopg://ann:***@host/db"),
        ("postgresql://:s3cret@host/db", "postgresql://:***@host/db"),
        ("postgresql://host/db?user=ann&password=s3cret&port=1", "postgresql://host/db?user=ann&password=***&port=1"),
        ("postgresql://host/db?sslpassword=s3cret", "postgresql://host/db?sslpassword=***"),
        ("postgresql://ann@host:5432/db", "postgresql://ann@host:5432/db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("sqlite:///folder/file.db", "sqlite:///folder/file.db"),
        ("journal", "journal"),
        ("search.storage=postgresql://a:b@h/d ok", "search.storage=postgresql://a:***@h/d ok"),
    ],
)
def test_only_passwords_are_masked(url: str, masked: str) -> None:
    assert mask_password(url) == masked
    assert mask_password(masked) == masked


@given(password=st.text(st.characters(codec="ascii", exclude_categories=["Cc", "Zs"]), min_size=1))
def test_no_password_comes_through(password: str) -> None:
    assert mask_password(f"postgresql://ann:{password}@host/db") == "postgresql://ann:***@host/db"


def test_the_environment_replaces_a_url_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STORAGE_VARIABLE, raising=False)
    assert resolve_storage("postgresql://ann:***@host/db") == "postgresql://ann:***@host/db"
    monkeypatch.setenv(STORAGE_VARIABLE, "postgresql://ann:s3cret@host/db")
    assert resolve_storage("postgresql://ann:***@host/db") == "postgresql://ann:s3cret@host/db"
    assert resolve_storage("journal") == "journal"
    assert resolve_storage("memory") == "memory"
