"""The goals for speed, the figures of one run beside them, as a table and as JSON. Measures nothing."""

from __future__ import annotations

import json
import operator
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from scipy.stats import binom

_COMPARE = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Goal:
    """What is measured and what it should come to. No time is ever compared with a fixed one, but for `overhead` and `memory`."""

    measure: str
    relation: str
    limit: float
    unit: str = ""
    also: str = ""
    """A second condition, which the measure itself checks."""

    def __str__(self) -> str:
        return f"{self.relation} {self.limit:g}{self.unit and ' ' + self.unit}{self.also and ', and ' + self.also}"


GOALS: Mapping[str, Goal] = {
    "step": Goal(
        "training step of a trial / bare forward-backward-step on a tensor in memory (width 32, 64 px)", "<=", 1.03
    ),
    "step_quick": Goal("the same in the preset quick (width 16, 32 px)", "<=", 1.10),
    "input": Goal(
        "batches per second of our input path without a model / of the peer's DataLoader, 360 px JPEG cut to 64 px, two workers",
        ">=",
        2.5,
    ),
    "fusion": Goal("epoch of a fusion arm / of the same arm without, cached features", "<=", 1.10),
    "overhead": Goal(
        "seconds of a trial beyond its training, warm worker", "<=", 0.15, "s", "a tenth of the peer's at most"
    ),
    "study_peer": Goal(
        "wall time of the peer / ours: 8 arms x 2 trials x 3 epochs of 6 steps, width 16, 32 px", ">=", 3.0
    ),
    "study_real": Goal("the same on real cells, 64 px", ">=", 2.0),
    "study_loop": Goal("wall time of the sequential loop without Ray / ours, real cells, 64 px", ">=", 1.5),
    "makespan": Goal("wall time of a search of 48 trials / (seconds of all trials / workers)", "<=", 1.08),
    "driver": Goal(
        "driver's CPU seconds per trial with 5,000 tiny trials / with 200",
        "<=",
        1.2,
        "",
        "at most 200 MB more resident memory",
    ),
    "workers": Goal("utilisation of 64 slots by 1,000 trials that wait 5 s, after ramp-up", ">=", 0.90),
    "memory": Goal("private memory of one more trial at a time, 2,000 cached images of 360 px", "<=", 500, "MB"),
}
"""Id of a measure -> its goal, in the order of the table."""


@dataclass(frozen=True)
class Figure:
    """What one measure came to."""

    id: str
    value: float | None
    """None: it could not be measured; the note says why."""
    low: float | None = None
    high: float | None = None
    """The quartiles of the repetitions; None where there was one."""
    least: float | None = None
    most: float | None = None
    """95 % interval of the median; None for fewer than six repetitions."""
    repetitions: int = 1
    also: bool = True
    """Whether the second condition of the goal holds, where it has one."""
    note: str = ""
    """What was compared, and what else it showed."""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None without a value."""
        goal = GOALS[self.id]
        return None if self.value is None else _COMPARE[goal.relation](self.value, goal.limit) and self.also


def figure_of(id_: str, values: Sequence[float], *, also: bool = True, note: str = "") -> Figure:
    """The median of repeated measurements, with the quartiles: what else a machine does now and then moves neither."""
    if len(values) == 1:
        return Figure(id_, values[0], also=also, note=note)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    least, most = median_interval(values)
    return Figure(id_, middle, low, high, least, most, len(values), also, note)


def median_interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """The interval between two order statistics that holds the true median with at least 95 %, for independent values.

    Nones for fewer than six values: not even the smallest and the largest are that sure (2 x 0.5^5 = 6 %).
    """
    rank = int(binom.ppf(0.025, len(values), 0.5))  # of the lower end, from 1; the upper end has it from above
    if not rank:
        return None, None
    ordered = sorted(values)
    return ordered[rank - 1], ordered[-rank]


def write_json(path: Path, figures: Sequence[Figure], machine: str) -> None:
    """Write a list of ``{id, measure, figure, goal, reached, ...}``; the figure is null where it was not measured."""
    rows = []
    for figure in figures:
        fields = asdict(figure)
        told = {
            "id": fields.pop("id"),
            "measure": GOALS[figure.id].measure,
            "figure": fields.pop("value"),
            "goal": str(GOALS[figure.id]),
            "reached": figure.reached,
        }
        rows.append({**told, **fields, "machine": machine})
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> tuple[list[Figure], str]:
    """The figures that `write_json` wrote, and the machine."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    derived = ("measure", "figure", "goal", "reached", "machine")
    figures = [
        Figure(value=row["figure"], **{key: value for key, value in row.items() if key not in derived}) for row in rows
    ]
    return figures, rows[0]["machine"]


def markdown(figures: Sequence[Figure], machine: str) -> str:
    """The table as README shows it, and below it what each measure compared and what else it showed."""
    lines = [
        f"On {machine}:",
        "",
        "| id | measure | median | 95 % of the median | quartiles (n) | goal | reached |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for figure in figures:
        lines.append(f"| {' | '.join((figure.id, GOALS[figure.id].measure, *_cells(figure)))} |")
    lines += ["", *(f"- *{figure.id}*: {figure.note}." for figure in figures if figure.note)]
    return "\n".join(lines) + "\n"


def print_table(figures: Sequence[Figure], machine: str, console: Console | None = None) -> None:
    """Print figures beside their goals, and below what each of them is and compared."""
    console = console or Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=f"Speed on {machine}", title_justify="left")
    table.add_column("id", no_wrap=True)
    for heading in ("median", "95 % of it", "quartiles (n)", "goal", "reached"):
        table.add_column(heading, justify="right", overflow="fold", no_wrap=heading != "goal")
    for figure in figures:
        *cells, reached = _cells(figure)
        table.add_row(figure.id, *cells, f"[red]{reached}[/red]" if figure.reached is False else reached)
    console.print(table)
    for figure in figures:
        told = f"{figure.id}: {GOALS[figure.id].measure}"
        console.print(f"{told}. {figure.note}" if figure.note else told, markup=False, soft_wrap=True)


def _cells(figure: Figure) -> tuple[str, ...]:
    """Median, its interval, quartiles, goal and verdict, as both tables show them."""
    reached = {True: "yes", False: "no", None: "-"}[figure.reached]
    return _value(figure), _interval(figure), _spread(figure), str(GOALS[figure.id]), reached


def _value(figure: Figure) -> str:
    unit = GOALS[figure.id].unit
    return "not measured" if figure.value is None else f"{_number(figure.value)}{unit and ' ' + unit}"


def _interval(figure: Figure) -> str:
    return "-" if figure.least is None or figure.most is None else f"{_number(figure.least)} to {_number(figure.most)}"


def _spread(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return "-" if figure.value is None else "one run"
    return f"{_number(figure.low)} to {_number(figure.high)} ({figure.repetitions})"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) < 1.5 else f"{value:.2f}"


def dump_figures(figures: Sequence[Figure]) -> str:
    """One line that `load_figures` reads in another process."""
    return json.dumps([asdict(figure) for figure in figures])


def load_figures(line: str) -> list[Figure]:
    """The figures of a measure that ran in a process of its own."""
    return [Figure(**fields) for fields in json.loads(line)]
