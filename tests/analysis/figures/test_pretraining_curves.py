"""Pretraining curves."""

from __future__ import annotations

from analysis import Study
from analysis.figures.pretraining_curves import pretraining_curves, pretraining_curves_table


def test_an_autoencoder_has_no_accuracy(finished_study: Study) -> None:
    study = finished_study
    table = pretraining_curves_table(study)
    assert table[table["quantity"] == "accuracy"]["encoder"].unique().tolist() == ["cam16"]
    assert table[(table["encoder"] == "prcc") & (table["split"] == "val")]["value"].tolist() == [0.03, 0.011]
    assert [note.text for note in pretraining_curves(study).layout.annotations] == [
        "cam16, loss",
        "cam16, accuracy",
        "prcc, loss",
    ]
