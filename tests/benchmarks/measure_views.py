"""Measures tables, report and explorer on a large study, and prints the figures beside their goals.

    make bench-views
    python -m tests.benchmarks.measure_views [--trials 10000] [--repeat 3]

Each step runs in a process of its own and the best of several runs is taken; say what else ran on the machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

STEPS = {
    "load_study": (
        3.0,
        "study = load_study(path)\nstart()\n_ = study.trials, study.epochs, study.predictions, study.confirmed",
    ),
    "all tables": (
        5.0,
        "from analysis.tables.registry import tables\nstudy = load_study(path)\n"
        "_ = study.trials, study.epochs, study.predictions, study.confirmed\nstart()\ntables(study)",
    ),
    "report": (
        30.0,
        "from analysis import write_report\nstart()\nindex = write_report(load_study(path), out)\n"
        "size = sum(file.stat().st_size for file in index.parent.rglob('*') if file.is_file())",
    ),
    "explorer, first view": (3.0, "{explorer}\nstart()\nview('')"),
}
"""Step -> goal in seconds, and the code that is timed from `start` on."""

INTERACTION_GOAL = 0.5
MEMORY_GOAL, SIZE_GOAL = 1536, 20
"""MiB: of a process, and of the report on disk."""
INTERACTIONS = {
    "open an arm": "?arm=WBC_10%2Fsum",
    "sort": "?arm=WBC_10%2Fsum&sort=epochs",
    "turn the page": "?page=2",
    "tick a trial": "?selected=00000001",
    "open a trial": "?trial=00000001",
    "open a confirmed trial": "?trial=c0000001",
    "open its images": "?trial=c0000001&cell=test,4,4",
    "another metric": "?metric=macro_f1",
    "filter by status": "?statuses=completed",
    "filter by arm": "?arms=WBC_10%2Fsum&arms=WBC_10%2Foff",
    "brush": "?pick.learning_rate=-3.5..-3.0",
    "brush again": "?pick.learning_rate=-3.4..-3.1&pick.weight_decay=-4.0..-3.0",
}
"""What a reader does -> the address that it leads to; one for each figure is added."""

_EXPLORER = """
import dash
from analysis.explorer.application import make_application
application = make_application([path])
versions = {"large": 0}
names = [name for name, item in application.callback_map.items()
         if {"address", "version"} <= {each["id"] for each in item["inputs"]}]
client = application.server.test_client()
stored = {}
def answer(name, search):
    item = application.callback_map[name]
    outputs = [dict(zip(("id", "property"), part.split(".", 1))) for part in name.strip(".").split("...")]
    body = {"output": name, "outputs": outputs if name.startswith("..") else outputs[0],
            "changedPropIds": ["address.search"],
            "inputs": [{"id": each["id"], "property": each["property"],
                        "value": {"address": search, "version": versions}.get(each["id"])} for each in item["inputs"]],
            "state": [{"id": each["id"], "property": each["property"], "value": stored.get(each["id"])}
                      for each in item["state"]]}
    found = client.post("/_dash-update-component", json=body, headers={"Host": "127.0.0.1"})
    assert found.status_code in (200, 204), (name, found.status_code, found.data[:500])
    if found.status_code == 200:
        # A page keeps what was stored in it and sends it with the next question.
        stored.update({each: value["data"] for each, value in found.get_json()["response"].items() if "data" in value})
def view(search):
    for name in names: answer(name, search)
"""

_INTERACTIONS = """{explorer}
view("")
start()
parts = {}
for what, search in interactions.items():
    view("")
    began = time.perf_counter()
    view(search)
    parts[what] = time.perf_counter() - began
"""

_FRAME = """
import json, resource, sys, time
from pathlib import Path
from analysis import load_study
path, out, size = Path(sys.argv[1]), Path(sys.argv[2]), 0
begun, parts = [], dict()
interactions = json.loads(sys.argv[3])
def start():
    begun[:] = [time.perf_counter(), time.process_time()]
{code}
wall, busy = time.perf_counter() - begun[0], time.process_time() - begun[1]
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"wall": wall, "busy": busy, "memory": memory, "size": size / 2**20, "parts": parts}}))
"""


def measure(code: str, folder: Path, out: Path) -> dict[str, Any]:
    """Run code in a new process.

    Returns:
        wall and busy (processor) seconds, memory (MiB, highest), size (MiB, of the report) and parts (wall seconds).
    """
    from analysis.figures.registry import FIGURES

    figures = {f"figure {name}": f"?figure={name}" for name in FIGURES}
    code = _FRAME.format(code=code.replace("{explorer}", _EXPLORER))
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(out), json.dumps(INTERACTIONS | figures)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print one line for each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    from tests.benchmarks.large_study import write_large_study

    print(f"{'step':32} {'wall s':>8} {'CPU s':>8} {'goal s':>8} {'MiB':>6} (goal {MEMORY_GOAL})")
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        path = write_large_study(Path(folder) / "large", arguments.trials)
        for step, (goal, code) in STEPS.items():
            runs = [measure(code, path, Path(folder) / "report") for _ in range(arguments.repeat)]
            best = min(runs, key=lambda run: run["wall"])
            size = f", report {best['size']:.1f} MiB (goal {SIZE_GOAL})" if best["size"] else ""
            if best["wall"] > goal or best["memory"] > MEMORY_GOAL or best["size"] > SIZE_GOAL:
                missed.append(step)
            print(
                f"{step:32} {best['wall']:8.2f} {best['busy']:8.2f} {goal:8.1f} {best['memory']:6.0f}{size}", flush=True
            )
        runs = [measure(_INTERACTIONS, path, Path(folder) / "report") for _ in range(arguments.repeat)]
        for what in runs[0]["parts"]:
            least = min(run["parts"][what] for run in runs)
            if least > INTERACTION_GOAL:
                missed.append(what)
            print(f"{what:32} {least:8.2f} {'':8} {INTERACTION_GOAL:8.1f}", flush=True)
    print(f"Not reached: {', '.join(missed)}" if missed else "Every goal is reached.")


if __name__ == "__main__":
    main()
