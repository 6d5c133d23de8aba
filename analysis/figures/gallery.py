"""All figures of a study with their captions, in the order of the report."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.figures.comparison_dots import comparison_dots, comparison_dots_table
from analysis.figures.fraction_curve import fraction_curve
from analysis.figures.learning_curves import TRIALS_PER_PANEL, learning_curves
from analysis.figures.pretraining_curves import pretraining_curves
from analysis.published import PUBLISHED_NOTE
from analysis.study import Study
from analysis.tables import NO_EVIDENCE, OPTIMISTIC, floor_sentence, selection_rule


@dataclass(frozen=True)
class CaptionedFigure:
    """A figure of the report; ``name`` is also the id of its element."""

    name: str
    title: str
    caption: str
    figure: go.Figure


def gallery(study: Study) -> list[CaptionedFigure]:
    """All figures of a study; those without content yet say so."""
    rule = selection_rule(study)
    made = [
        CaptionedFigure(
            "fraction-curve",
            "Validation results against the amount of labelled data",
            f"{rule} {OPTIMISTIC} {floor_sentence(study)} Settings are set apart a little sideways. {PUBLISHED_NOTE}",
            fraction_curve(study),
        ),
        _comparison(study, rule),
    ]
    shown = (
        "Every trial of the search, one panel per arm, all on one scale; the winner thick, a star at its chosen epoch. "
        f"An arm with more than {TRIALS_PER_PANEL} trials shows {TRIALS_PER_PANEL} of them, evenly over their ranks. "
        "One run per line. Training values are measured on augmented crops during the epoch."
    )
    made.append(
        CaptionedFigure(
            "learning-curves-accuracy", "Learning curves: accuracy", shown, learning_curves(study, "accuracy")
        )
    )
    made.append(
        CaptionedFigure(
            "learning-curves-loss",
            "Learning curves: loss",
            f"{shown} Mean cross-entropy, natural logarithm, on a logarithmic axis.",
            learning_curves(study, "loss"),
        )
    )
    if len(study.curves):
        made.append(
            CaptionedFigure(
                "pretraining-curves",
                "Pretraining of the encoders",
                "One run per encoder (n = 1). Loss: cross-entropy for a classifier, mean squared error for an "
                "autoencoder.",
                pretraining_curves(study),
            )
        )
    return made


def _comparison(study: Study, rule: str) -> CaptionedFigure:
    table = comparison_dots_table(study)
    test = bool(table["metric"].str.startswith("test").any())
    where = "Nothing was chosen on the test images." if test else OPTIMISTIC
    return CaptionedFigure(
        "comparison",
        f"Without and with pretraining, {'test' if test else 'validation'} images",
        f"{rule} {where} Points are runs, a line joins the runs of one seed; bars are ± one standard deviation over "
        f"seeds, no confidence interval. {NO_EVIDENCE}",
        comparison_dots(study),
    )
