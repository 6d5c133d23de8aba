"""Which trials the reader has chosen, and a study that has only these."""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from analysis.comparison import setting_of
from analysis.explorer.view_state import ViewState
from analysis.figures.parallel_coordinates import axis_values
from analysis.study import Study


class NarrowedStudy(Study):
    """A study of which only some trials are shown.

    Its figures draw these trials; winners and confirmed runs stay those of the whole study, as far as they are among the
    trials: a choice of trials must not make other winners.
    """

    def __init__(self, whole: Study, trial_ids: pd.Series[str]) -> None:
        super().__init__(whole.path, whole.config, whole.manifest, whole.audit)
        self._whole = whole
        self._ids = frozenset(trial_ids)

    def _among(self, table: pd.DataFrame) -> pd.DataFrame:
        return table[table["trial_id"].isin(self._ids)].reset_index(drop=True)

    @cached_property
    def trials(self) -> pd.DataFrame:  # noqa: D102 - as in `Study`
        return self._among(self._whole.trials)

    @cached_property
    def epochs(self) -> pd.DataFrame:  # noqa: D102 - as in `Study`
        return self._among(self._whole.epochs)

    @cached_property
    def confirmed(self) -> pd.DataFrame:  # noqa: D102 - as in `Study`
        return self._among(self._whole.confirmed)

    @cached_property
    def predictions(self) -> pd.DataFrame:  # noqa: D102 - as in `Study`
        return self._among(self._whole.predictions)

    @cached_property
    def images(self) -> pd.DataFrame:  # noqa: D102 - as in `Study`
        return self._whole.images

    @cached_property
    def curves(self) -> pd.DataFrame:  # noqa: D102 - as in `Study`
        return self._whole.curves

    def winners(self) -> pd.DataFrame:  # noqa: D102 - as in `Study`
        return self._among(self._whole.winners())

    def selected(self) -> pd.DataFrame:  # noqa: D102 - as in `Study`
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
    searched = whole[whole["phase"] == "search"]
    searched = searched.assign(
        score=searched[study.metric].astype("float64"),
        setting=pd.Series([setting_of(arm) for arm in searched["arm"]], index=searched.index, dtype="str"),
    )
    keep = searched["score"].notna()
    for name, ranges in state.picked:
        if name not in searched:
            continue
        place = pd.Series(axis_values(searched[name], name)[0], index=searched.index)
        inside = pd.Series(False, index=searched.index)
        for low, high in ranges:
            # The page draws rounded positions: a trial at the very end of a range belongs to it.
            inside |= place.between(low - 1e-4, high + 1e-4)
        keep &= inside
    picked = set(searched.loc[keep, "trial_id"])
    winners = study.winners()
    arms = set(winners.loc[winners["trial_id"].isin(picked), "arm"])
    repeated = set(study.confirmed.loc[study.confirmed["arm"].isin(arms), "trial_id"])
    return trials[trials["trial_id"].isin(picked | repeated)]
