"""The search in Optuna's own form, for its dashboard: one Optuna study for each arm, made from the records, never read back."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from analysis.records.schema import Decision, Phase, TrialStatus
from study.config.secrets import MASK, STORAGE_VARIABLE, mask_password
from study.design.trials import EpochReport, recorded_point
from study.search.optuna_storage import JOURNAL, open_database, open_journal
from study.search.tpe import further_distributions, parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    import pandas as pd
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage

    from study.config.search import SearchConfig
    from study.design.trials import TrialSpec

_OWNER = "wbc_study_run"
"""User attribute of an Optuna study: the run directory's own id, so that no study of somebody else is ever replaced."""

_STATES = {
    TrialStatus.RUNNING: TrialState.RUNNING,
    TrialStatus.COMPLETED: TrialState.COMPLETE,
    TrialStatus.STOPPED: TrialState.PRUNED,
    TrialStatus.DIVERGED: TrialState.FAIL,
    TrialStatus.FAILED: TrialState.FAIL,
}


def search_space(config: SearchConfig) -> dict[str, BaseDistribution]:
    """Distributions that trials are shown in, by name: the configured ranges, or the range that the grid spans."""
    if config.mode != "grid":
        return {
            "learning_rate": FloatDistribution(*config.learning_rate, log=True),
            "weight_decay": FloatDistribution(*config.weight_decay, log=True),
            **further_distributions(config),
        }
    axes = {"learning_rate": config.grid_learning_rate, "weight_decay": config.grid_weight_decay}
    # A grid may hold a weight decay of zero, which has no place on a logarithmic scale.
    spanned = {name: FloatDistribution(min(axis), max(axis), log=min(axis) > 0) for name, axis in axes.items()}
    return {**spanned, **further_distributions(config)}


class OptunaMirror:
    """Keeps one Optuna study for each arm, ``<study>/<arm>``, equal to the records of the search.

    The first error of the storage is printed; the search goes on, and the next rebuild brings the storage up to date.
    """

    def __init__(
        self,
        storage: str,
        folder: Path,
        *,
        study: str,
        owner: str,
        replaces: Collection[str] = (),
        space: dict[str, BaseDistribution],
        metric: str,
        warn: Callable[[str], None],
    ):
        """Open nothing yet.

        Args:
            storage: ``journal`` or a URL with its password.
            folder: Run directory, where the journal lies.
            study: Name of the study.
            owner: Id of the run directory.
            replaces: Ids of runs that had this name and were set aside: their studies give way to this one's.
            space: Distributions of all parameters by name, see `search_space`.
            metric: ``val_accuracy`` or ``val_macro_f1``; what a trial's values are.
            warn: Prints a line.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage_name, self._folder = storage, folder
        self._study, self._owner, self._space, self._metric = study, owner, space, metric
        self._owners = {owner, *replaces}
        self._warn: Callable[[str], None] | None = warn
        self._storage: BaseStorage | None = None
        self._studies: dict[str, int] = {}
        """Optuna's number of each study, by the arm's name."""
        self._trials: dict[str, int] = {}
        """Optuna's number of each trial, by our id."""
        self.is_current = False
        """Whether the storage shows what the records say."""

    def rebuild(self, arms: Iterable[str], trials: pd.DataFrame, epochs: pd.DataFrame) -> None:
        """Replace the arms' Optuna studies by what the records say.

        Args:
            arms: Names of all arms, with and without trials.
            trials: Table ``trials``, all rows, by sequence.
            epochs: Table ``epochs``, all rows, by sequence.
        """
        self.close()
        self.is_current = True
        self._attempt(lambda: self._rebuild(arms, trials, epochs))

    def begin(self, spec: TrialSpec) -> None:
        """Add a running trial."""
        self._attempt(lambda: self._add(spec.columns(), TrialStatus.RUNNING, {}, None, None))

    def observe(self, spec: TrialSpec, epoch: int, score: float) -> None:
        """Add an intermediate value."""
        self._attempt(lambda: self._opened().set_trial_intermediate_value(self._trials[spec.trial_id], epoch, score))

    def end(self, spec: TrialSpec, status: TrialStatus, score: float | None) -> None:
        """End a trial: complete with its best score, pruned with its last one, or failed."""
        self._attempt(lambda: self._end(spec.trial_id, status, score))

    def close(self) -> None:
        """Let go of connections."""
        if isinstance(self._storage, RDBStorage):
            self._storage.remove_session()
            self._storage.engine.dispose()
        self._storage = None
        self._studies.clear()
        self._trials.clear()

    def _opened(self) -> BaseStorage:
        if self._storage is None:
            self._storage = (
                open_journal(self._folder / JOURNAL)
                if self._storage_name == "journal"
                else open_database(self._storage_name)
            )
        return self._storage

    def _attempt(self, change: Callable[[], object]) -> None:
        """Change the storage while it is current; an error makes it outdated."""
        from sqlalchemy.exc import SQLAlchemyError

        if not self.is_current:
            return
        try:
            change()
        # What storages raise: their own errors, a lost connection, a full disk, and KeyError, RuntimeError or ValueError where
        # somebody deleted or changed a study in the dashboard.
        except (
            optuna.exceptions.OptunaError,
            SQLAlchemyError,
            OSError,
            KeyError,
            RuntimeError,
            ValueError,
        ) as error:
            self.is_current = False
            if _was_interrupted(error):
                raise KeyboardInterrupt from error
            self._warn_once(error)

    def _warn_once(self, error: Exception) -> None:
        if self._warn is None:
            return
        where = str(self._folder / JOURNAL) if self._storage_name == "journal" else mask_password(self._storage_name)
        hint = (
            f" Passwords are not kept: set {STORAGE_VARIABLE} to the whole URL." if MASK in self._storage_name else ""
        )
        reason = self._without_password(str(error).strip() or type(error).__name__).splitlines()[0]
        self._warn(
            f"Warning: Optuna's storage {where} cannot be written ({reason}).{hint} The search goes on and loses nothing; the"
            " storage is brought up to date when the search ends or the study is next continued."
        )
        self._warn = None

    def _without_password(self, text: str) -> str:
        from sqlalchemy import make_url

        text = mask_password(text)
        if "://" in self._storage_name:
            password = make_url(self._storage_name).password
            if password:
                text = text.replace(str(password), MASK)
        return text

    def _rebuild(self, arms: Iterable[str], trials: pd.DataFrame, epochs: pd.DataFrame) -> None:
        searched = trials[trials["phase"] == Phase.SEARCH].sort_values(["index", "sequence"], kind="stable")
        scores: dict[str, dict[int, float]] = {}
        for row in epochs.to_dict("records"):
            if row["decision"] != Decision.DIVERGED:
                report = EpochReport.recorded(row)
                scores.setdefault(row["trial_id"], {}).setdefault(report.epoch, report.score(self._metric))
        for arm in arms:
            self._create_study(arm)
            for _, history in searched[searched["arm"] == arm].groupby("index", sort=True):
                begun, last = history.iloc[0], history.iloc[-1]
                status = TrialStatus(last["status"])
                self._add(
                    {str(key): value for key, value in last.items()},
                    status,
                    scores.get(str(last["trial_id"]), {}),
                    float(begun["time"]),
                    None if status == TrialStatus.RUNNING else float(last["time"]),
                )

    def _create_study(self, arm: str) -> None:
        """Create an arm's Optuna study, in place of the one that an earlier process of this run made."""
        name = f"{self._study}/{arm}"
        self._delete_own(name)
        study_id = self._opened().create_new_study([optuna.study.StudyDirection.MAXIMIZE], name)
        self._opened().set_study_user_attr(study_id, _OWNER, self._owner)
        self._studies[arm] = study_id

    def _delete_own(self, name: str) -> None:
        """Delete the Optuna study of this name, if there is one.

        Raises:
            RuntimeError: the study belongs neither to this run nor to one whose place it takes.
        """
        storage = self._opened()
        try:
            study_id = storage.get_study_id_from_name(name)
        except KeyError:
            return
        owner = storage.get_study_user_attrs(study_id).get(_OWNER)
        # A study without owner and trials: its process was killed between creating it and naming its owner.
        if owner not in self._owners and (owner is not None or storage.get_all_trials(study_id, deepcopy=False)):
            raise RuntimeError(
                f"it holds a study {name!r} of another run: give this one another --name, or delete that one with optuna"
            )
        storage.delete_study(study_id)

    def _add(
        self,
        columns: dict[str, Any],
        status: TrialStatus,
        scores: dict[int, float],
        began: float | None,
        ended: float | None,
    ) -> None:
        """Add a trial as it stands, in one step.

        Args:
            columns: Row of the table ``trials``, or the specification as such columns.
            status: Status of the trial.
            scores: Score of each epoch, in [0, 1], by epoch.
            began: When the trial began, in seconds since 1970; now when None.
            ended: When the trial ended, likewise; None while it runs.
        """
        trial = FrozenTrial(
            number=-1,  # the storage counts: trials come by their index, so the two are equal
            trial_id=-1,
            state=_STATES[status],
            value=None,
            values=self._values(status, max(scores.values(), default=None), scores),
            datetime_start=datetime.now() if began is None else datetime.fromtimestamp(began),
            datetime_complete=None if ended is None else datetime.fromtimestamp(ended),
            params=parameters(recorded_point(columns)),
            distributions=self._space,
            user_attrs={
                "trial_id": str(columns["trial_id"]),
                "arm": str(columns["arm"]),
                "seed": int(columns["seed"]),
            },
            system_attrs={},
            intermediate_values=dict(scores),
        )
        self._trials[str(columns["trial_id"])] = self._opened().create_new_trial(
            self._studies[str(columns["arm"])], template_trial=trial
        )

    def _end(self, trial_id: str, status: TrialStatus, score: float | None) -> None:
        storage = self._opened()
        number = self._trials[trial_id]
        values = self._values(status, score, storage.get_trial(number).intermediate_values)
        storage.set_trial_state_values(number, _STATES[status], values)

    def _values(self, status: TrialStatus, best: float | None, scores: dict[int, float]) -> Sequence[float] | None:
        """Value of an ended trial: the best score of a complete one, the last score of a pruned one (as Optuna sets it)."""
        if status == TrialStatus.COMPLETED and best is not None:
            return [best]
        return [scores[max(scores)]] if status == TrialStatus.STOPPED and scores else None


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether an error hides an interrupt: Optuna's lock of a journal fails when Ctrl-C comes while it lets go."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
