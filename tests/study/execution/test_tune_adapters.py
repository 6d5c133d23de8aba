"""The thin layer between Ray Tune and the study's own queue."""

import copy
import json
import pickle
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from analysis.records.schema import Decision
from study.design.arms import Arm
from study.design.trials import TrialSpec
from study.errors import StudyFailed
from study.execution.trainable import REPORT
from study.execution.tune_adapters import ArmScheduler, ArmSearch, TuneTrialIds

SPEC = TrialSpec("search", Arm(0.1, "sum", ("prcc",)), 0, 0, 1e-3, 1e-4, '{"training.sampling": "balanced"}')


class Queue:
    """Hands out one trial, answers with the given decision, remembers failures."""

    def __init__(self, decision: Decision = Decision.CONTINUE):
        self.waiting = [(SPEC, 2)]
        self.decision = decision
        self.failed: list[tuple[str, str]] = []
        self.finished = False

    def hand_out(self, tune_id):
        return self.waiting.pop() if self.waiting else None

    def report(self, trial_id, report, host):
        assert trial_id == SPEC.trial_id
        if report is None:
            raise StudyFailed("refused")
        return self.decision

    def fail(self, trial_id, error):
        self.failed.append((trial_id, error))


def adapters(decision: Decision = Decision.CONTINUE):
    tune_trials = TuneTrialIds(Queue(decision))  # type: ignore[arg-type]  # only what the adapters call
    return tune_trials, ArmSearch(tune_trials, lambda: 100), ArmScheduler(tune_trials)


def test_search_hands_out_the_queues_trial_and_has_finished_when_no_trial_can_come_back():
    tune_trials, search, _ = adapters()
    fields, recorded = json.loads(search.suggest("t1")["trial"])
    assert recorded == 2
    assert Arm(**{**fields["arm"], "encoders": tuple(fields["arm"]["encoders"])}) == SPEC.arm
    assert (fields["learning_rate"], fields["weight_decay"], fields["settings"]) == (1e-3, 1e-4, SPEC.settings)
    assert search.suggest("t2") is None
    tune_trials.queue.finished = True
    assert search.suggest("t3") == Searcher.FINISHED


@pytest.mark.parametrize(
    ("decision", "action"),
    [
        (Decision.CONTINUE, TrialScheduler.CONTINUE),
        (Decision.STOP, TrialScheduler.STOP),
        (Decision.COMPLETE, TrialScheduler.STOP),
    ],
)
def test_scheduler_acts_as_the_queue_decides(decision, action):
    _, search, scheduler = adapters(decision)
    search.suggest("t1")
    assert scheduler.on_trial_result(None, SimpleNamespace(trial_id="t1"), {REPORT: [object()]}) == action


def test_choosing_the_next_trial_does_not_look_through_all_trials():
    # Tune asks at every step of its loop: with thousands of trials the driver would do little else.
    _, _, scheduler = adapters()
    assert scheduler.choose_trial_to_run(None) is None


def test_what_tune_keeps_of_an_ended_trial_does_not_grow_with_its_results():
    from ray.tune.experiment import Trial

    trial = Trial("anything", stub=True)
    trial.update_last_result({"seconds": 1.0, "training_iteration": 1})
    assert trial.run_metadata.metric_n_steps
    _, _, scheduler = adapters()
    scheduler.on_trial_complete(None, trial, {})
    assert not trial.run_metadata.metric_n_steps and not trial.run_metadata.metric_analysis
    assert trial.last_result["training_iteration"] == 1


def test_the_queue_hears_of_a_failure_with_its_traceback(tmp_path):
    tune_trials, search, scheduler = adapters()
    search.suggest("t1")
    trial = SimpleNamespace(trial_id="t1", error_file=str(tmp_path / "error.txt"))
    (tmp_path / "error.txt").write_text("Failure # 1 (occurred at noon)\n\x1b[36mout of memory\x1b[39m\n")
    scheduler.on_trial_error(None, trial)
    search.on_trial_complete("t1", error=True)
    assert tune_trials.queue.failed == [(SPEC.trial_id, "out of memory")]


def test_completed_trials_need_no_word_from_tune():
    tune_trials, search, _ = adapters()
    search.suggest("t1")
    search.on_trial_complete("t1", {"anything": 1})
    assert tune_trials.queue.failed == []


def test_a_refused_report_is_kept_for_the_runner():
    tune_trials, search, scheduler = adapters()
    search.suggest("t1")
    with pytest.raises(StudyFailed):
        scheduler.on_trial_result(None, SimpleNamespace(trial_id="t1"), {REPORT: [None]})
    assert str(tune_trials.error) == "refused"


def test_tune_may_copy_and_pickle_them():
    _, search, scheduler = adapters()
    assert copy.deepcopy(search) is search
    assert isinstance(pickle.loads(pickle.dumps(scheduler)), ArmScheduler)


def test_reports_do_not_stay_in_tunes_memory():
    _, search, scheduler = adapters()
    search.suggest("t1")
    result = {REPORT: [object()], "time": 1}
    scheduler.on_trial_result(None, SimpleNamespace(trial_id="t1"), result)
    assert result == {REPORT: [], "time": 1}


def test_as_many_trials_are_at_work_as_there_are_slots_at_that_moment():
    tune_trials = TuneTrialIds(Queue())  # type: ignore[arg-type]  # only what the adapters call
    tune_trials.queue.waiting = [(SPEC, 0)] * 5
    slots = [1]
    search = ArmSearch(tune_trials, lambda: slots[0])
    handed_out = [search.suggest(name) is not None for name in ("t1", "t2")]
    slots[0] = 3  # a node joins
    handed_out += [search.suggest(name) is not None for name in ("t3", "t4", "t5")]
    search.on_trial_complete("t1", {})
    handed_out += [search.suggest("t6") is not None]
    slots[0] = 2  # a node leaves with its trials
    search.on_trial_complete("t3", error=True)
    handed_out += [search.suggest("t7") is not None]
    assert handed_out == [True, False, True, True, False, True, False]
