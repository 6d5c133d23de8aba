"""A recorded trial, trained again in another process, is the same to the last bit."""

import shutil
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import load_study
from study.errors import UsageError
from study.storage.run_directory import RunDirectory
from study.training.replay import replay
from tests.study.tiny import command

pytestmark = pytest.mark.slow


def test_replayed_trials_equal_their_records_with_and_without_fusion(calm):
    trials = load_study(calm).trials
    for phase, fusion in (("search", "off"), ("confirm", "sum")):
        trial_id = trials[(trials["phase"] == phase) & (trials["fusion"] == fusion)]["trial_id"].iloc[0]
        epochs = list(replay(RunDirectory(calm), trial_id))
        assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
        assert all(epoch.identical for epoch in epochs)


def test_a_changed_record_is_noticed(calm, tmp_path):
    shutil.copytree(calm, tmp_path / "tiny")
    (segment,) = (tmp_path / "tiny" / "records" / "epochs").iterdir()
    table = pq.read_table(segment)
    rows = table.to_pylist()
    rows[1]["val_loss"] += 1e-12
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), segment)
    arguments = ("replay", "tiny", rows[1]["trial_id"], "--root", tmp_path)
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "differs in val_loss" in done.stdout


def test_an_unknown_trial_is_named_with_some_that_exist(calm):
    known = load_study(calm).trials["trial_id"].iloc[0]
    with pytest.raises(UsageError, match=f"nothing.*{known}"):
        list(replay(RunDirectory(calm), "nothing"))
