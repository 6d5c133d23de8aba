"""What becomes of a study."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import load_study
from study.pipeline.outcome import lost_trials, shortfalls

pytestmark = pytest.mark.slow


def test_what_a_study_lacks_is_said(calm, tmp_path):
    study = load_study(calm)
    assert shortfalls(study) == lost_trials(study) == []
    shutil.copytree(calm, tmp_path / "tiny")
    (segment,) = (tmp_path / "tiny" / "records" / "trials").iterdir()
    table = pq.read_table(segment)
    rows = table.to_pylist()
    for row in rows:
        if row["status"] == "completed":
            if row["arm"] == "WBC_10/sum" and row["phase"] == "search":
                row["status"] = "diverged"
            if row["arm"] == "WBC_100/off" and row["phase"] == "confirm" and row["seed"] == 2:
                row["status"] = "failed"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), segment)
    poorer = load_study(tmp_path / "tiny")
    said = lost_trials(poorer)
    assert [line for line in said if not line.startswith(" ")] == ["2 of 16 trials diverged:", "1 of 16 trials failed:"]
    assert len(said) == 2 + 3
    assert sum("(WBC_10/sum), after 3 epochs: the loss was not finite" in line for line in said) == 2
    lines = shortfalls(poorer)
    assert [line.partition(":")[0] for line in lines] == ["WBC_10/sum", "WBC_100/off"]
    assert "1 of 2 confirmations" in lines[1]
