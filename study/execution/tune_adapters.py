"""Ray Tune's searcher and scheduler, both delegating to the study's own trial queue."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from analysis.records.schema import Decision
from study.errors import StudyFailed
from study.execution.trainable import NO_ROOM, REPORT, trial_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from study.design.trials import TrialSpec
    from study.search.queue import TrialQueue


class TuneTrialIds:
    """The queue, asked by Tune's trial ids. These last no longer than one experiment; ours are those of the records."""

    def __init__(self, queue: TrialQueue):
        self.queue = queue
        self.error: Exception | None = None
        """Why the queue refused something: Tune would pass on nothing but the text of its traceback."""
        self._ours: dict[str, str] = {}
        self._failures: dict[str, str] = {}

    def hand_out(self, tune_id: str) -> tuple[TrialSpec, int] | None:
        """The trial that the queue hands out for Tune's id, with its number of recorded epochs; None while there is none."""
        with self._refusal_kept():
            handed_out = self.queue.hand_out(tune_id)
        if handed_out is not None:
            self._ours[tune_id] = handed_out[0].trial_id
        return handed_out

    def report(self, tune_id: str, result: dict[str, Any]) -> Decision:
        """Tell the queue of an epoch, whose report is taken out of Tune's result; returns what the queue decides."""
        with self._refusal_kept():
            if NO_ROOM in result:
                raise StudyFailed(
                    f"a checkpoint cannot be written: {result[NO_ROOM]}. Nothing recorded is lost; make room and run the same"
                    " command again"
                )
            return self.queue.report(self._ours[tune_id], result[REPORT].pop(), str(result.get("hostname", "")))

    def keep_failure(self, tune_id: str, text: str) -> None:
        """Remember why an attempt failed until `fail` is called for it."""
        self._failures[tune_id] = text

    def fail(self, tune_id: str) -> None:
        """Tell the queue that an attempt failed, and why."""
        text = self._failures.get(tune_id, "the worker process was lost")
        with self._refusal_kept():
            self.queue.fail(self._ours[tune_id], text)

    @contextmanager
    def _refusal_kept(self) -> Iterator[None]:
        try:
            yield
        except (StudyFailed, OSError) as refused:
            self.error = refused
            raise


class _KeptInMemory:
    """Tune copies and pickles its searcher and scheduler into experiment files that we never read: there is nothing to keep."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _KeptInMemory:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {}


class ArmSearch(_KeptInMemory, Searcher):
    """Hands out the trials that the queue names."""

    def __init__(self, tune_trials: TuneTrialIds, slots: Callable[[], int]):
        """Hand out nothing yet.

        Args:
            tune_trials: The queue by Tune's ids.
            slots: Trials that can run at once, at this moment.
        """
        super().__init__(metric="score", mode="max")
        self._tune_trials, self._slots = tune_trials, slots
        self._at_work: set[str] = set()

    def suggest(  # type: ignore[override]  # Ray documents FINISHED, a string, and does not declare it
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """The next trial's configuration; None while there is no room, or a running trial may come back; then FINISHED.

        Points are suggested when a worker is free, not earlier: the searcher then knows all that can be known. Room is counted
        anew each time: nodes join and leave.
        """
        if len(self._at_work) >= self._slots() and not self._tune_trials.queue.finished:
            return None
        handed_out = self._tune_trials.hand_out(trial_id)
        if handed_out is None:
            return str(Searcher.FINISHED) if self._tune_trials.queue.finished else None
        spec, recorded_epochs = handed_out
        self._at_work.add(trial_id)
        return trial_config(spec, recorded_epochs)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """The scheduler has passed the result on already."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the queue of an attempt that failed; any other end it knows from its own decision."""
        self._at_work.discard(trial_id)
        if error:
            self._tune_trials.fail(trial_id)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Nothing to set: the study's configuration has said it all."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the records are the only truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: a restart opens a fresh experiment and replays the records."""


class ArmScheduler(_KeptInMemory, FIFOScheduler):
    """Passes each result to the queue, which records it and decides."""

    def __init__(self, tune_trials: TuneTrialIds):
        super().__init__()  # type: ignore[no-untyped-call]  # Ray does not declare it
        self._tune_trials = tune_trials

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Record the epoch, then say whether the trial goes on."""
        decision = self._tune_trials.report(trial.trial_id, result)
        return str(TrialScheduler.CONTINUE if decision == Decision.CONTINUE else TrialScheduler.STOP)

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None: Tune then starts waiting trials in the order in which they were handed out.

        Ray's own answer is the same trial, found by looking through all trials of the experiment at every step of its loop.
        """

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Forget the statistics that Tune keeps of each number in each result: half of what it holds of a trial that ended."""
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Keep the reason of a failure; Tune tells the searcher right after, without it."""
        with suppress(OSError):
            # Colours are for terminals; the first line counts Tune's own attempts.
            text = re.sub(r"\x1b\[[0-9;]*m", "", Path(trial.error_file).read_text())
            self._tune_trials.keep_failure(trial.trial_id, text.partition("\n")[2].strip())
