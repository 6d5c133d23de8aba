"""What a study would cost, as a table."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from study.pipeline.estimate import ArmEstimate
from study.terminal.estimate_table import estimate_table


def printed(arms: list[ArmEstimate], width: int = 80) -> list[str]:
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(estimate_table(arms, trials=9, confirmations=3))
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def arm(name: str, first_rung: int | None) -> ArmEstimate:
    return ArmEstimate(name, 8447, 3300, first_rung, 1_234_567, scored_images=1, encoded_crops=0)


def test_an_arm_is_a_line_and_one_without_rungs_says_so() -> None:
    assert printed([arm("WBC_1/off", 4), arm("WBC_100/sum", None)]) == [
        "arm          images  steps  1st rung  search  confirm  image-steps",
        "WBC_1/off     8,447  3,300   epoch 4       9        3    1,234,567",
        "WBC_100/sum   8,447  3,300         -       9        3    1,234,567",
    ]


def test_in_a_narrow_terminal_names_are_folded_and_numbers_are_whole() -> None:
    lines = printed([arm("WBC_100/sum(prcc)-random", None)], width=66)
    assert "1,234,567" in lines[1] and "8,447" in lines[1]
    assert "".join(line.split()[0] for line in lines[1:]) == "WBC_100/sum(prcc)-random"
