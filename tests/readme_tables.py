"""README's tables and its picture, from the reference study and the measures of speed that are committed beside it.

    python -m tests.readme_tables            # says what differs
    python -m tests.readme_tables --write    # writes tables and picture anew

README marks each place with a comment that names a table of the study (``python -m tests.readme_tables --list``), and its end:

    <!-- table: test_metrics -->
    <!-- /table -->

The caption of the picture stands between ``<!-- caption -->`` and ``<!-- /caption -->``, the table of speed between
``<!-- speed -->`` and ``<!-- /speed -->``: ``BENCH_JSON=tests/benchmarks/speed.json make bench`` measures what it shows.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from analysis import load_study
from analysis.figures.registry import CaptionedFigure, captioned
from analysis.records.study import Study
from analysis.report.files import to_markdown
from analysis.report.static_images import write_static_images
from analysis.tables.registry import tables
from tests.benchmarks.speed_table import markdown, read_json

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
REFERENCE = ROOT / "ray_results" / "reference"
PICTURE = "paired_difference"
"""The figure that README shows, ``ray_results/reference/paired_difference.svg``."""

SPEED = ROOT / "tests" / "benchmarks" / "speed.json"
"""What one run of ``make bench`` wrote."""

_CAPTION = re.compile(r"(<!-- caption -->\n).*?(<!-- /caption -->)", re.DOTALL)
_SPEED = re.compile(r"(<!-- speed -->\n).*?(<!-- /speed -->)", re.DOTALL)
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def filled(text: str, study: Study) -> str:
    """README with every marked table as the study has it now, the table and its caption below; and the table of speed.

    Raises:
        KeyError: README names a table that the study does not have.
    """
    made = {table.name: table for table in tables(study)}

    def fill(place: re.Match[str]) -> str:
        if place[2] not in made:
            raise KeyError(f"README names the table {place[2]!r}; {study.path} has {', '.join(made)}")
        _, _, body = to_markdown(made[place[2]]).partition("\n\n")
        return f"{place[1]}{body}{place[3]}"

    # Where there is no place for a caption, as in tests, no figure is drawn for it.
    caption = captioned(study, PICTURE).caption if _CAPTION.search(text) else ""
    speed = markdown(*read_json(SPEED)) if _SPEED.search(text) else ""
    text = _SPEED.sub(lambda place: f"{place[1]}{speed}{place[2]}", text)
    return _CAPTION.sub(lambda place: f"{place[1]}{caption}\n{place[2]}", _PLACE.sub(fill, text))


def marked(text: str) -> list[str]:
    """Names of the tables that README has a place for."""
    return [place[2] for place in _PLACE.finditer(text)]


def fingerprint(picture: CaptionedFigure) -> str:
    """Return the SHA-256 of what a picture shows: Plotly's figure with numbers to six digits, as processors round differently."""

    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rounded(each) for key, each in value.items()}
        if isinstance(value, list):
            return [rounded(each) for each in value]
        return f"{value:.6g}" if isinstance(value, float) else value

    figure = json.loads(picture.figure.to_json(engine="json"))
    return hashlib.sha256(json.dumps(rounded(figure), sort_keys=True).encode()).hexdigest()


def main(arguments: list[str]) -> int:
    """Run as the module says; 1 where README differs from the study."""
    study = load_study(REFERENCE)
    if "--list" in arguments:
        print("\n".join(f"{table.name:28} {table.title}" for table in tables(study)))
        return 0
    before = README.read_text(encoding="utf-8")
    after = filled(before, study)
    if "--write" in arguments:
        README.write_text(after, encoding="utf-8")
        drawn = captioned(study, PICTURE)
        (file,) = write_static_images([drawn], REFERENCE, "svg")
        # Browsers draw differently; what they drew is compared.
        file.write_text(f"{file.read_text(encoding='utf-8')}<!-- {fingerprint(drawn)} -->\n", encoding="utf-8")
        print(f"Written: {README} ({', '.join(marked(after)) or 'no table'}) and {file}")
        return 0
    if before != after:
        print(f"{README} differs from {REFERENCE}: python -m tests.readme_tables --write")
        return 1
    print("README and the reference study agree.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
