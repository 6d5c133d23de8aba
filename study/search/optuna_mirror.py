"""The search in Optuna's own form, for its dashboard: one Optuna study for each arm, made from the records, never read back."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.records.schema import Decision, Phase, TrialStatus
from study.config.secrets import MASK, STORAGE_VARIABLE, mask_password
from study.design.trials import EpochReport, recorded_point
from study.errors import UsageError
from study.search.tpe import further_distributions, parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    import optuna
    import pandas as pd
    from optuna.storages import BaseStorage

    from study.config.search import SearchConfig
    from study.design.trials import TrialSpec


JOURNAL = "optuna.journal"
"""Name of the journal file in the run directory."""

_OWNER = "wbc_study_run"
"""User attribute of an Optuna study: the run directory's own id, so that no study of somebody else is ever replaced."""

_SECONDS = 10
"""After which a database server that does not answer is taken to be lost."""


def search_space(config: SearchConfig) -> dict[str, optuna.distributions.BaseDistribution]:
    """The space that trials are shown in: the configured ranges, or what the grid spans."""
    from optuna.distributions import FloatDistribution

    if config.mode != "grid":
        return {
            "learning_rate": FloatDistribution(*config.learning_rate, log=True),
            "weight_decay": FloatDistribution(*config.weight_decay, log=True),
            **further_distributions(config),
        }
    axes = {"learning_rate": config.grid_learning_rate, "weight_decay": config.grid_weight_decay}
    # A grid may hold a weight decay of zero, which no logarithmic scale does.
    spanned = {name: FloatDistribution(min(axis), max(axis), log=min(axis) > 0) for name, axis in axes.items()}
    return {**spanned, **further_distributions(config)}


def check_storage(url: str) -> None:
    """Refuse a URL that could never be opened. Does not connect.

    Raises:
        UsageError: it is not a URL that SQLAlchemy reads, or the database's driver is not installed.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        create_engine(_with_driver(url)).dispose()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise UsageError(
            f"search.storage: found {mask_password(url)!r}, expected a URL such as postgresql://user@host:5432/database"
            f" ({mask_password(str(error))})"
        ) from None  # the cause would show the URL
    except ImportError as error:
        raise UsageError(
            f"search.storage: the driver of {mask_password(url)!r} is not installed ({error.name}). For PostgreSQL:"
            ' pip install "wbc-study[postgres]"'
        ) from error


def open_journal(file: Path) -> BaseStorage:
    """The storage in a journal file, which other processes may have open. Mends what a killed process left behind."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    file = file.resolve()
    # Whoever holds the run directory is alone: a lock is what a killed process left, and Optuna would wait 30 s for it.
    file.with_name(file.name + ".lock").unlink(missing_ok=True)
    if file.exists():
        _drop_torn_line(file)
    try:
        return JournalStorage(JournalFileBackend(str(file)))
    except (ValueError, KeyError):
        # Not readable as a journal. Everything in it is in the records.
        file.unlink()
        return JournalStorage(JournalFileBackend(str(file)))


def _drop_torn_line(file: Path) -> None:
    """Cut off a last line that was not written to its end: Optuna would append to it and never read the file again."""
    with file.open("rb+") as journal:
        content = journal.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            journal.truncate(whole)


def open_database(url: str) -> BaseStorage:
    """The storage on a database server."""
    from optuna.storages import RDBStorage

    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql"):
        # The driver of the study waits for every answer: it must come soon or count as lost (libpq's parameter names).
        options["connect_args"] = {"connect_timeout": _SECONDS, "tcp_user_timeout": _SECONDS * 1000}
    return RDBStorage(_with_driver(url), engine_kwargs=options)


def _with_driver(url: str) -> str:
    """Where a URL leaves the driver open, the one of the extra `postgres`."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1) if url.startswith("postgresql://") else url


class OptunaProjection:
    """Keeps one Optuna study for each arm, ``<study>/<arm>``, equal to the records of the search.

    An error of the storage is said once; the study goes on, and the next rebuild brings the storage up to date.
    """

    def __init__(
        self,
        storage: str,
        folder: Path,
        *,
        study: str,
        owner: str,
        replaces: Collection[str] = (),
        space: dict[str, optuna.distributions.BaseDistribution],
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
            space: See `search_space`.
            metric: ``val_accuracy`` or ``val_macro_f1``; what values are.
            warn: Prints a line.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._storage_name, self._folder = storage, folder
        self._study, self._owner, self._space, self._metric = study, owner, space, metric
        self._owners = {owner, *replaces}
        self._warn: Callable[[str], None] | None = warn
        self._storage: BaseStorage | None = None
        self._studies: dict[str, int] = {}
        self._trials: dict[str, int] = {}
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
        from optuna.storages import RDBStorage

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
        from sqlalchemy.exc import SQLAlchemyError

        if not self.is_current:
            return
        try:
            change()
        # What storages raise: their own errors, a lost connection, a full disk, and KeyError, RuntimeError or ValueError where
        # somebody deleted or changed a study in the dashboard.
        except (
            self._optuna.exceptions.OptunaError,
            SQLAlchemyError,
            OSError,
            KeyError,
            RuntimeError,
            ValueError,
        ) as error:
            self.is_current = False
            self._say(error)

    def _say(self, error: Exception) -> None:
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
        storage = self._opened()
        searched = trials[trials["phase"] == Phase.SEARCH]
        scores: dict[str, dict[int, float]] = {}
        for row in epochs.to_dict("records"):
            if row["decision"] != Decision.DIVERGED:
                known = scores.setdefault(row["trial_id"], {})
                known.setdefault(int(row["epoch"]), EpochReport.recorded(row).score(self._metric))
        for arm in arms:
            name = f"{self._study}/{arm}"
            self._delete_own(name)
            study_id = storage.create_new_study([self._optuna.study.StudyDirection.MAXIMIZE], name)
            storage.set_study_user_attr(study_id, _OWNER, self._owner)
            self._studies[arm] = study_id
            rows = searched[searched["arm"] == arm].sort_values(["index", "sequence"], kind="stable")
            for _, history in rows.groupby("index", sort=True):
                begun, last = history.iloc[0], history.iloc[-1]
                ended = None if last["status"] == TrialStatus.RUNNING else float(last["time"])
                known = scores.get(str(last["trial_id"]), {})
                self._add(
                    {str(key): value for key, value in last.items()},
                    TrialStatus(last["status"]),
                    known,
                    float(begun["time"]),
                    ended,
                )

    def _delete_own(self, name: str) -> None:
        """Delete an Optuna study of this run, or of one that it takes the place of, if there is one.

        Raises:
            RuntimeError: it is that of another run.
        """
        storage = self._opened()
        try:
            study_id = storage.get_study_id_from_name(name)
        except KeyError:
            return
        owner = storage.get_study_user_attrs(study_id).get(_OWNER)
        # Without owner and trials: this process was killed between creating it and naming its owner.
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
        """Add a trial as it stands, in one step."""
        params = parameters(recorded_point(columns))
        state = self._state(status)
        trial = self._optuna.trial.FrozenTrial(
            number=-1,  # the storage counts: trials come by their index, so the two are equal
            trial_id=-1,
            state=state,
            value=None,
            values=self._values(status, max(scores.values(), default=None), scores),
            datetime_start=datetime.now() if began is None else datetime.fromtimestamp(began),
            datetime_complete=None if ended is None else datetime.fromtimestamp(ended),
            params=params,
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
        storage.set_trial_state_values(number, self._state(status), values)

    def _values(self, status: TrialStatus, best: float | None, scores: dict[int, float]) -> Sequence[float] | None:
        """The value of an ended trial; for a pruned one the last intermediate value, as Optuna itself sets it."""
        if status == TrialStatus.COMPLETED and best is not None:
            return [best]
        return [scores[max(scores)]] if status == TrialStatus.STOPPED and scores else None

    def _state(self, status: TrialStatus) -> optuna.trial.TrialState:
        states = self._optuna.trial.TrialState
        return {
            TrialStatus.RUNNING: states.RUNNING,
            TrialStatus.COMPLETED: states.COMPLETE,
            TrialStatus.STOPPED: states.PRUNED,
        }.get(status, states.FAIL)
