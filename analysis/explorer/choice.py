"""Which trials the reader has chosen, and a study that shows only these."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from analysis.arms import settings_of
from analysis.explorer.view_state import ViewState
from analysis.figures.parallel_coordinates import axis_values
from analysis.records.schema import Phase
from analysis.records.study import Study

_Made = TypeVar("_Made")


class NarrowedStudy(Study):
    """A study that shows only some of its trials.

    Its figures draw these trials; winners and confirmed runs stay those of the whole study, as far as they are among the
    trials, and so do verdicts and intervals: a choice of trials must not make other winners or other evidence.
    """

    def __init__(self, whole: Study, trial_ids: pd.Series[str]) -> None:
        """Narrow a study.

        Args:
            whole: The study.
            trial_ids: Ids of its trials that are shown.
        """
        super().__init__(whole.path, whole.config, whole.manifest, whole.audit)
        self._whole = whole
        # Positions instead of texts: a study has hundreds of thousands of epochs.
        self._shown = np.zeros(len(whole.trials) + 1, dtype=bool)
        self._shown[pd.Index(whole.trials["trial_id"]).get_indexer(pd.Index(trial_ids))] = True
        self._shown[-1] = False  # where a trial that is not there would stand

    def _among(self, table: pd.DataFrame) -> pd.DataFrame:
        positions = pd.Index(self._whole.trials["trial_id"]).get_indexer(pd.Index(table["trial_id"]))
        among: pd.DataFrame = table[self._shown[positions]].reset_index(drop=True)
        return among

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trials that are shown."""
        return self._whole.trials[self._shown[:-1]].reset_index(drop=True)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """Epochs of the trials that are shown."""
        return self._whole.epochs[self._shown[self._whole.epoch_trials]].reset_index(drop=True)

    @cached_property
    def confirmed(self) -> pd.DataFrame:
        """Confirmed runs among the trials that are shown."""
        return self._among(self._whole.confirmed)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predictions of the trials that are shown."""
        return self._among(self._whole.predictions)

    @cached_property
    def images(self) -> pd.DataFrame:
        """Images of the whole study."""
        return self._whole.images

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Pretraining curves of the whole study."""
        return self._whole.curves

    def remember(self, compute: Callable[[Study], _Made]) -> _Made:
        """What a function makes of the whole study: evidence does not depend on what is shown."""
        return self._whole.remember(compute)

    def winners(self) -> pd.DataFrame:
        """Winners of the whole study, as far as they are shown."""
        return self._among(self._whole.winners())

    def selected(self) -> pd.DataFrame:
        """Selected runs of the whole study, as far as they are shown."""
        return self._among(self._whole.selected())


def filtered_trials(study: Study, state: ViewState) -> pd.DataFrame:
    """Trials that pass the filters of arm and status, before anything is picked on the parallel coordinates."""
    trials = study.trials
    keep = pd.Series(True, index=trials.index)
    if state.arms:
        keep &= trials["arm"].isin(state.arms)
    if state.statuses:
        keep &= trials["status"].isin(state.statuses)
    return trials[keep]


def chosen_trials(study: Study, state: ViewState) -> pd.DataFrame:
    """Trials that the reader has chosen: by the filters, and by ranges picked on the parallel coordinates.

    Picked ranges choose among the trials of the search; a confirmation goes with the winner that it repeats.

    Returns:
        Rows of `Study.trials` and ``score``, the selection metric.
    """
    trials = filtered_trials(study, state)
    trials = trials.assign(score=trials[study.metric])
    if not state.picked:
        return trials
    whole = study.trials
    names = [name for name, _ in state.picked if name in whole or name in ("score", "setting")]
    columns = ["arm", *(name for name in names if name in whole), study.metric]
    # Of the wide table only what is asked for: it is copied at every step.
    searched = whole.loc[whole["phase"] == Phase.SEARCH, list(dict.fromkeys(columns))]
    searched = searched.assign(score=searched[study.metric].astype("float64"), setting=settings_of(searched["arm"]))
    keep = searched["score"].notna()
    for name, ranges in state.picked:
        if name not in names:
            continue
        place = pd.Series(axis_values(searched[name], name)[0], index=searched.index)
        inside = pd.Series(False, index=searched.index)
        for low, high in ranges:
            # The page draws rounded positions: a trial at the very end of a range belongs to it.
            inside |= place.between(low - 1e-4, high + 1e-4)
        keep &= inside
    picked = keep.reindex(whole.index, fill_value=False)
    winners = whole["trial_id"].isin(study.winners()["trial_id"])
    repeated = study.confirmed["arm"].isin(whole.loc[winners & picked, "arm"])
    picked |= whole["trial_id"].isin(study.confirmed.loc[repeated, "trial_id"])
    return trials[picked.reindex(trials.index)]


def picked_ranges(state: ViewState) -> list[list[Any]]:
    """The picked ranges as a page stores them, in lists: [axis, [[low, high], ...]] each."""
    return [[name, [list(pair) for pair in pairs]] for name, pairs in state.picked]
