"""All figures of a study by name, with titles and captions, in the order of the report."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.figures.comparison_dots import comparison_dots
from analysis.figures.confusion import confusion_counts, confusion_shares, recall_heatmap
from analysis.figures.domain_shift import domain_shift
from analysis.figures.fraction_curve import fraction_curve
from analysis.figures.importance import FEWEST_TRIALS, counted_trials, importance
from analysis.figures.learning_curves import learning_curves, shown_trials
from analysis.figures.paired_difference import paired_difference
from analysis.figures.parallel_coordinates import LINES, parallel_coordinates
from analysis.figures.pretraining_curves import pretraining_curves
from analysis.figures.reliability import reliability
from analysis.figures.response import response
from analysis.figures.response import shown_trials as response_trials
from analysis.figures.rungs import rungs
from analysis.figures.tuning_curves import POINTS, tuning_curves
from analysis.figures.with_without_curves import with_without_curves
from analysis.figures.worker_timeline import BARS, TIMES, busy_share, worker_timeline, worker_timeline_table
from analysis.metrics import SPLIT_TITLES, metric_title
from analysis.records.errors import StudyError
from analysis.records.published import PUBLISHED_NOTE
from analysis.records.schema import Phase
from analysis.records.study import Study
from analysis.statistics.confusion import shown_split
from analysis.wording.captions import NO_EVIDENCE, OPTIMISTIC, floor_sentence, selection_rule


@dataclass(frozen=True)
class FigureKind:
    """One of the figures that a study has."""

    title: str
    draw: Callable[[Study], go.Figure]
    caption: Callable[[Study], str]
    """What to see, which runs, n, and what the figure is not."""
    section: str
    """Part of the report: "results", "classes", "outside", "training", "search", "pretraining" or "cost"."""


@dataclass(frozen=True)
class CaptionedFigure:
    """A figure of the report; ``name`` is also the id of its element."""

    name: str
    title: str
    caption: str
    figure: go.Figure
    section: str


def _where(study: Study) -> str:
    return "Nothing was chosen on the test images." if shown_split(study) == "test" else OPTIMISTIC


def _fraction_caption(study: Study) -> str:
    return (
        f"{selection_rule(study)} {OPTIMISTIC} {floor_sentence(study)} Bands: 95 % intervals of the mean, in which seeds and "
        "images vary, where there are two seeds. Points are moved a little sideways, or they would hide each other. "
        f"{PUBLISHED_NOTE}"
    )


def _difference_caption(study: Study) -> str:
    return (
        "Accuracy above, macro F1 below. Each mark is one seed: the run of the arm minus the run without pretraining that saw "
        "the same images in the same order from the same initial weights; bars: means with 95 % intervals, in which seeds and "
        "images vary (each interval by itself; the verdicts adjust for several). Open marks are controls, of which twin and "
        "classical share the labelled images alone. "
        f"{_where(study)}"
    )


def _dots_caption(study: Study) -> str:
    return (
        f"{selection_rule(study)} {_where(study)} Points are runs, a line joins the runs of one seed; bars are ± one "
        f"standard deviation over seeds, no confidence interval. {NO_EVIDENCE}"
    )


def _pair_caption(study: Study) -> str:
    return (
        f"{selection_rule(study)} Thin: validation of each run; thick: mean over runs; dotted: mean in training, measured "
        "on augmented crops during the epoch. Cross-entropy, natural logarithm, on a logarithmic axis. One curve is not "
        "evidence: see the differences with their intervals."
    )


def _learning_caption(quantity: str) -> Callable[[Study], str]:
    loss = " Mean cross-entropy, natural logarithm, on a logarithmic axis." if quantity == "loss" else ""

    def caption(study: Study) -> str:
        limit, most = shown_trials(study), _most_trials(study)
        thinned = (
            f" Of up to {most:,} trials of an arm {limit} are drawn, evenly over their ranks." if most > limit else ""
        )
        return (
            "Every trial of the search, one panel per arm, all on one scale; the winner thick, a star at its chosen epoch."
            f"{thinned} One run per line. Training values are measured on augmented crops during the epoch.{loss}"
        )

    return caption


def _most_trials(study: Study) -> int:
    """Trials of the search of the arm that has most of them."""
    counts = study.trials.loc[study.trials["phase"] == Phase.SEARCH, "arm"].value_counts()
    return int(counts.max()) if len(counts) else 0


def _response_caption(study: Study) -> str:
    limit, most = response_trials(study), _most_trials(study)
    thinned = (
        f" Of up to {most:,} trials of an arm {limit} are drawn, evenly over their ranks; the surface is fitted to all."
        if most > limit
        else ""
    )
    return (
        "Every trial of the search at its best epoch (n = 1 each), as percentage points below the best full-length trial "
        "of its arm; open marks did not reach full length. The surface is a polynomial of degree two in the logarithms, "
        "fitted to full-length trials where an arm has more than six; its R² is in the hover text. A star at an edge says "
        f"that better settings may lie outside the range.{thinned}"
    )


def _parallel_caption(study: Study) -> str:
    count = int((study.trials["phase"] == Phase.SEARCH).sum())
    thinned = (
        f" Of {count:,} trials about {LINES:,} are drawn, evenly over the ranks of each arm." if count > LINES else ""
    )
    return (
        "One line per trial of the search (n = 1 each) at its best epoch, coloured by setting. Drag along an axis to pick "
        f"trials, click it to let go; drag a title to move its axis. Lines have no texts of their own: `wbc-study explore` "
        f"lists the trials that are picked.{thinned} A picked trial is the best of many: no "
        "evidence for its settings."
    )


def _importance_caption(study: Study) -> str:
    most, counted = _most_trials(study), counted_trials(study)
    thinned = (
        f" Of up to {most:,} trials of an arm {counted} are taken, evenly over their ranks." if most > counted else ""
    )
    return (
        "How much each hyperparameter sets the upper tenth of an arm's trials apart from all of them (PED-ANOVA, shares "
        f"of one within the arm). Arms with fewer than {FEWEST_TRIALS} trials are left out; below a hundred the shares "
        f"vary much from search to search.{thinned} It describes this search; it is no statement about the settings in general."
    )


def _tuning_caption(study: Study) -> str:
    metric, most = metric_title(study.metric), _most_trials(study)
    thinned = f" Drawn at no more than {POINTS} numbers of trials." if most > POINTS else ""
    return (
        f"Median of the best {metric} among so many random trials of an arm, with bands that hold at all numbers of "
        "trials at once with at least 95 % probability (opda). Where two curves still rise, the search decides the "
        f"comparison as much as the arms do. Chosen on validation: optimistic.{thinned}"
    )


def _rungs_caption(_: Study) -> str:
    return (
        "Where the trials of the search ended: stopped by ASHA at a rung (early ones yellow, late ones dark), trained to full "
        "length, diverged or failed; on the right the epochs that they had cost by then."
    )


def _confusion_caption(study: Study) -> str:
    split = SPLIT_TITLES[shown_split(study)]
    return f"{selection_rule(study)} Counts on the {split} images, summed over n runs; rows are true classes. {_where(study)}"


def _counts_caption(study: Study) -> str:
    return f"{_confusion_caption(study)} Colours follow the logarithm of the count."


def _shares_caption(study: Study) -> str:
    return f"{_confusion_caption(study)} Each row in percent of its class; a dash: the split has no image of the class."


def _recall_caption(study: Study) -> str:
    return (
        f"{selection_rule(study)} Percent of the images of a class that were named rightly, mean over runs. {_where(study)}"
        " The fewer images a class has, the less a difference between arms says: one of nine basophils is 11 points."
    )


def _reliability_caption(study: Study) -> str:
    return (
        "Answers of all confirmed runs of an arm by their confidence, the probability of the class that was named, in ten bins: "
        "below the diagonal they are surer than they are right. Solid: as trained; dotted: divided by the temperature that was "
        f"fitted on the validation images of each run. The larger a mark, the more answers. {_where(study)}"
    )


def _shift_caption(study: Study) -> str:
    own = SPLIT_TITLES[shown_split(study)]
    return (
        f"Accuracy of the confirmed runs on the study's own {own} images and on other data sets, mean over seeds; bars: 95 % "
        "intervals in which seeds and images vary. Shares of the classes differ between data sets, and with them what an "
        "accuracy means: the tables name the floor of each."
    )


def _timeline_caption(study: Study) -> str:
    table = worker_timeline_table(study)
    share = busy_share(table)
    busy = (
        f" Epochs took {100 * share:.0f} % of the workers' time from the first begin to the last end."
        if not math.isnan(share)
        else ""
    )
    thinned = (
        f" {len(table):,} stretches of training are more than the {BARS:,} that can be told apart: only their number is drawn"
        f", as its mean over each of {TIMES:,} equal spans."
        if len(table) > BARS
        else ""
    )
    return (
        "Trials on workers as the driver wrote them down; pale bars are confirmations. A worker is a place for one trial "
        f"on a host.{busy}{thinned} Time between epochs (checkpoints, starting a trial) and interruptions is not training."
    )


def _pretraining_caption(_: Study) -> str:
    return "One run per encoder (n = 1). Loss: cross-entropy for a classifier, mean squared error for an autoencoder."


FIGURES: dict[str, FigureKind] = {
    "fraction_curve": FigureKind(
        "Validation results against the amount of labelled data", fraction_curve, _fraction_caption, "results"
    ),
    "paired_difference": FigureKind(
        "Difference to no pretraining, seed by seed", paired_difference, _difference_caption, "results"
    ),
    "comparison_dots": FigureKind("Runs without and with pretraining", comparison_dots, _dots_caption, "results"),
    "recall_heatmap": FigureKind("Recall of each class", recall_heatmap, _recall_caption, "classes"),
    "confusion_shares": FigureKind("Confusion matrices, percent", confusion_shares, _shares_caption, "classes"),
    "confusion_counts": FigureKind("Confusion matrices, images", confusion_counts, _counts_caption, "classes"),
    "reliability": FigureKind("Confidence and right answers", reliability, _reliability_caption, "classes"),
    "domain_shift": FigureKind("On other data sets", domain_shift, _shift_caption, "outside"),
    "with_without_curves": FigureKind(
        "Training without and with pretraining", with_without_curves, _pair_caption, "training"
    ),
    "learning_curves_accuracy": FigureKind(
        "Learning curves: accuracy",
        lambda study: learning_curves(study, "accuracy"),
        _learning_caption("accuracy"),
        "training",
    ),
    "learning_curves_loss": FigureKind(
        "Learning curves: loss", lambda study: learning_curves(study, "loss"), _learning_caption("loss"), "training"
    ),
    "response": FigureKind("Response to learning rate and weight decay", response, _response_caption, "search"),
    "parallel_coordinates": FigureKind("All settings of all trials", parallel_coordinates, _parallel_caption, "search"),
    "importance": FigureKind("Importance of the hyperparameters", importance, _importance_caption, "search"),
    "tuning_curves": FigureKind("Best of so many trials", tuning_curves, _tuning_caption, "search"),
    "rungs": FigureKind("Early stopping and its cost", rungs, _rungs_caption, "search"),
    "pretraining_curves": FigureKind(
        "Pretraining of the encoders", pretraining_curves, _pretraining_caption, "pretraining"
    ),
    "worker_timeline": FigureKind("Trials on the workers", worker_timeline, _timeline_caption, "cost"),
}
"""Name -> figure, in the order of the report."""


def draw_figure(study: Study, name: str) -> go.Figure:
    """Draw one figure by its name.

    Raises:
        StudyError: There is no such figure; the message names the nearest and all others.
    """
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise StudyError(f"{name!r}: there is no such figure.{hint} There are: {', '.join(FIGURES)}.")
    return FIGURES[name].draw(study)


def captioned(study: Study, name: str) -> CaptionedFigure:
    """One figure with title and caption; see `draw_figure`."""
    figure = draw_figure(study, name)
    kind = FIGURES[name]
    return CaptionedFigure(name, kind.title, kind.caption(study), figure, kind.section)


def gallery(study: Study) -> list[CaptionedFigure]:
    """All figures of a study; those without content yet say so, those of pretraining and other data sets are left out."""
    absent = set() if len(study.curves) else {"pretraining_curves"}
    absent |= set() if any(study.path.glob("evaluations/*/evaluation.json")) else {"domain_shift"}
    return [captioned(study, name) for name in FIGURES if name not in absent]
