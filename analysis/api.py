"""The notebook's door: a study that hands out its verdicts, tables and figures by name.

The modules behind a name are imported when it is first used, so that opening a study stays cheap.
"""

from __future__ import annotations

import difflib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis.records import study as records
from analysis.records.errors import StudyError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from analysis.statistics.predictions import Predictions
    from analysis.tables.table import Table


def load_study(path: str | Path) -> Study:
    """Open a run directory. Its tables are read when they are first asked for, each once.

    Args:
        path: ``ray_results/<study>``, or ``s3://bucket/prefix/<study>``, of which a copy is kept on this machine; the study may
            still be running.

    Raises:
        StudyError: There is no study, or its records are newer than this program.

    Example:
        >>> load_study(study.path).name
        'tiny'
    """
    read = records.load_study(path)
    return Study(read.path, config=read.config, manifest=read.manifest, audit=read.audit)


class Study(records.Study):
    """A study with its frames, verdicts, tables and figures; load again to see what a running study wrote since.

    Its attributes and frames are those of `analysis.records.study.Study`.
    """

    @property
    def answers(self) -> Predictions:
        """Predictions of the confirmed runs on the shown split, in the form that the statistics take.

        Raises:
            StudyError: No confirmed runs, or predictions that do not pair.

        Example:
            >>> study.answers.split
            'test'
        """
        from analysis.statistics.predictions import study_predictions

        return study_predictions(self)

    @property
    def validation_intervals(self) -> pd.DataFrame:
        """Validation metrics of every arm with 95 % intervals in which seeds and images vary.

        Returns:
            The columns of `analysis.statistics.estimates.arm_intervals`.

        Raises:
            StudyError: No confirmed runs, or predictions that do not pair.

        Example:
            >>> sorted(study.validation_intervals["metric"].unique())
            ['accuracy', 'macro_f1', 'weighted_f1']
        """
        from analysis.statistics.estimates import validation_intervals

        return validation_intervals(self)

    def accuracy_table(self) -> pd.DataFrame:
        """Validation accuracy without and with pretraining at each fraction, the published values beside it.

        Values are shares in [0, 1]; ``difference`` is the difference of the two means, not a gain.

        Returns:
            Indexed by subset (``WBC_1`` ... ``WBC_100``, ascending), columns as `analysis.arms.compare_means` explains.

        Example:
            >>> study.accuracy_table()["without_mean"].round(3).to_dict()
            {'WBC_1': 0.6, 'WBC_100': 0.8}
        """
        from analysis.arms import compare_means

        return compare_means(self, "val_accuracy")

    def verdicts(self) -> pd.DataFrame:
        """Verdicts on gains: every arm against its baselines over seeds and images, one verdict and one sentence each.

        Returns:
            One row per comparison and metric; the columns are those of `analysis.statistics.verdicts.compare_arms`.

        Raises:
            StudyError: No confirmed runs, fewer than two seeds, or predictions that do not pair.

        Example:
            >>> sorted(study.verdicts()["metric"].unique())
            ['accuracy', 'macro_f1', 'weighted_f1']
        """
        from analysis.statistics.verdicts import study_verdicts

        return study_verdicts(self)

    def tables(self) -> dict[str, str]:
        """Names of the report's tables that this study fills, with their titles.

        Example:
            >>> "test_metrics" in study.tables()
            True
        """
        return {table.name: table.title for table in self._tables}

    def table(self, name: str) -> pd.DataFrame:
        """Numbers of one table of the report in full precision: what its CSV file holds.

        Args:
            name: One of `tables`.

        Returns:
            One row per line of the table; shares in [0, 1]. `analysis.tables.table.Table.display` gives the text of the report.

        Raises:
            StudyError: There is no table of that name, or nothing to fill it with yet.

        Example:
            >>> study.table("test_metrics")[["arm", "test_accuracy"]].head(1).to_dict("records")
            [{'arm': 'WBC_1/off', 'test_accuracy': 0.575}]
        """
        found = {table.name: table.frame for table in self._tables}
        if name not in found:
            near = difflib.get_close_matches(name, found, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise StudyError(f"{name!r}: this study has no such table.{hint} It has: {', '.join(found)}.")
        return found[name].copy()

    @cached_property
    def _tables(self) -> list[Table]:
        from analysis.tables.registry import tables

        return tables(self)

    def figures(self) -> dict[str, str]:
        """Names of all figures that `figure` draws, with their titles.

        Example:
            >>> list(study.figures())[:2]
            ['fraction_curve', 'paired_difference']
        """
        from analysis.figures.registry import FIGURES

        return {name: entry.title for name, entry in FIGURES.items()}

    def figure(self, name: str) -> go.Figure:
        """Draw one figure; in a notebook it shows by itself.

        Args:
            name: One of `figures`.

        Returns:
            A Plotly figure: ``.show()``, ``.write_html(...)``, ``.update_layout(...)``.

        Raises:
            StudyError: There is no figure of that name.

        Example:
            >>> type(study.figure("fraction_curve")).__name__
            'Figure'
        """
        from analysis.figures.registry import draw_figure

        return draw_figure(self, name)
