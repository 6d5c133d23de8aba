"""What a person sees: durations, time left, one line for each arm."""

from __future__ import annotations

import threading
from io import StringIO

import pytest
from rich.console import Console

from study.search.queued_trials import ArmProgress
from study.terminal import progress as progress_module
from study.terminal.progress import ImageProgress, Progress, arm_table, format_duration, time_left


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.terminal.progress.monotonic", lambda: 5.0)


def arm(name: str = "WBC_1/off", **values: object) -> ArmProgress:
    defaults = {
        "planned": 4,
        "running": 1,
        "completed": 1,
        "stopped": 1,
        "failed": 0,
        "best": 0.617,
        "epochs_left": 6,
        "seconds_per_epoch": 2.0,
    }
    return ArmProgress(arm=name, **{**defaults, **values})  # type: ignore[arg-type]  # a test's shorthand


WAITING = arm("WBC_100/sum", running=0, completed=0, stopped=0, best=None, epochs_left=10, seconds_per_epoch=None)


def recorder(terminal: bool = False) -> Console:
    return Console(file=StringIO(), width=120, force_terminal=terminal, highlight=False, color_system=None)


def printed(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (47 * 3600, "47 h 00 min"),
        (76 * 3600, "3 d 4 h"),
    ],
)
def test_durations_are_written_for_people(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected


def test_time_left_is_unknown_before_the_first_epoch() -> None:
    assert time_left([WAITING], slots=2) is None
    assert time_left([], slots=2) is None


def test_an_arm_without_epochs_is_taken_to_be_as_slow_as_the_slowest() -> None:
    fast = arm(seconds_per_epoch=1.0)
    assert time_left([arm(), fast, WAITING], slots=1) == 6 * 2 + 6 * 1 + 10 * 2
    assert time_left([arm(), fast, WAITING], slots=4) == (6 * 2 + 6 * 1 + 10 * 2) / 4
    assert time_left([arm()], slots=0) == 12


def test_the_table_has_a_line_for_each_arm() -> None:
    console = recorder()
    ended = arm("WBC_10/off", planned=4, running=0, completed=2, stopped=1, failed=1, epochs_left=0)
    console.print(arm_table([arm(), ended, WAITING], "val_accuracy"))
    lines = printed(console).splitlines()
    assert lines[0].split() == [
        "arm",
        "trials",
        "running",
        "done",
        "stopped",
        "failed",
        "best",
        "acc.",
        "left",
    ]
    assert lines[1].split() == ["WBC_1/off", "2/4", "1", "1", "1", "-", "61.7", "%", "12", "s"]
    assert lines[2].split() == ["WBC_10/off", "4/4", "-", "2", "1", "1", "61.7", "%", "-"]
    assert lines[3].split() == ["WBC_100/sum", "0/4", "-", "-", "-", "-", "-", "?"]


def test_the_table_names_the_metric_that_counts() -> None:
    console = recorder()
    console.print(arm_table([arm()], "val_macro_f1"))
    assert "best F1" in printed(console)


def test_a_phase_is_one_line_with_what_it_says_of_itself() -> None:
    console = recorder()
    with Progress(console).phase("audit") as tell:
        tell("3 unreadable files")
        tell("[bold]cells[/bold]")
    with Progress(console).phase("report"):
        pass
    # Brackets are text: a path may hold some.
    assert printed(console).splitlines() == [
        "audit     3 unreadable files; [bold]cells[/bold] (0 s)",
        "report    done (0 s)",
    ]


def test_decoded_images_are_counted_by_domain() -> None:
    progress = ImageProgress()
    assert progress.describe() == ""
    progress.of("wbc")(1_200, 8_447)
    progress.of("prcc")(3, 96)
    progress.of("wbc")(1_201, 8_447)
    assert progress.describe() == "1,201/8,447 wbc, 3/96 prcc"


def test_long_lines_are_not_broken() -> None:
    # They are paths to be copied.
    console = recorder()
    Progress(console).say("x" * 300)
    assert printed(console) == "x" * 300 + "\n"


def test_the_end_of_the_trials_is_summed_up() -> None:
    console = recorder()
    arms = [arm(running=0), arm("WBC_1/sum", running=0, failed=2)]
    with Progress(console).watch("search", lambda: arms, slots=lambda: 2, metric="val_accuracy"):
        pass
    lines = printed(console).splitlines()
    assert lines[0] == "search    2 trials completed, 2 stopped early, 2 failed or diverged (0 s)"
    assert lines[2].startswith("WBC_1/off") and lines[3].startswith("WBC_1/sum")


def test_without_a_terminal_a_line_is_printed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "_PLAIN_INTERVAL", 0.001)
    console, asked, said = recorder(), [arm(running=2, epochs_left=300)], threading.Event()
    say = Progress.say

    def say_and_tell(self: Progress, text: str) -> None:
        say(self, text)
        said.set()

    monkeypatch.setattr(Progress, "say", say_and_tell)
    with Progress(console).watch("search", lambda: asked, slots=lambda: 2, metric="val_accuracy"):
        assert said.wait(30)
    assert "search    2/4 trials, 2 running | 0 s | about 5 min 00 s left" in printed(console).splitlines()[0]


@pytest.mark.parametrize("terminal", [False, True])
def test_an_interruption_passes_through_and_ends_the_display(terminal: bool) -> None:
    console, before = recorder(terminal), set(threading.enumerate())
    with (
        pytest.raises(KeyboardInterrupt),
        Progress(console).watch("search", lambda: [WAITING], slots=lambda: 1, metric="val_accuracy"),
    ):
        raise KeyboardInterrupt
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()
    assert "trials completed" not in printed(console)


def test_on_a_terminal_the_table_is_live() -> None:
    console = recorder(terminal=True)
    with Progress(console).watch("search", lambda: [arm(), WAITING], slots=lambda: 1, metric="val_accuracy"):
        pass
    assert "search    2/8 trials, 1 running" in printed(console)
    assert "time left unknown" not in printed(console)
