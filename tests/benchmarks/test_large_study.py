"""What the benchmark writes is a study as the schema says: else its figures would be those of something else."""

from __future__ import annotations

from pathlib import Path

from analysis import load_study
from tests.benchmarks.large_study import ARMS, SEEDS, write_large_study


def test_a_large_study_is_read_whole_and_judged(tmp_path: Path) -> None:
    study = load_study(write_large_study(tmp_path / "large", trials=4 * len(ARMS), epochs=3))
    assert study.trials.groupby("phase")["trial_id"].count().to_dict() == {
        "search": 4 * len(ARMS),
        "confirm": SEEDS * len(ARMS),
    }
    assert len(study.epochs) == 3 * len(study.trials)
    assert study.confirmed["test_accuracy"].notna().all()
    assert set(study.verdicts()["kind"]) >= {"transfer", "random"}
