"""What doctor prints, and how it ends."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from study.commands import preset_times
from study.commands.doctor import print_examination
from study.commands.preset_times import estimate_presets
from tests.study.commands.calls import invoke


@pytest.mark.usefixtures("broken_ray")
def test_what_would_stop_a_study_fails_the_command(tmp_path):
    said = " ".join(invoke("doctor", "--quick", "--root", tmp_path, code=1).split())
    assert "(no port)" in said and "images/s" not in said


def test_the_times_of_presets_are_printed_with_where_to_ask_for_ones_own_images(monkeypatch):
    monkeypatch.setattr(preset_times, "_measure", lambda config: 0.01)
    text = io.StringIO()
    print_examination([], estimate_presets(("local", "published")), Console(file=text, width=100))
    assert "images/s of a trial" in text.getvalue() and "--dry-run" in text.getvalue()
