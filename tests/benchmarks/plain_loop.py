"""The same trials without Ray, one after the other, as the coursework ran them: all cores work for one trial.

    python -m tests.benchmarks.plain_loop WORK.json

The training is the peer's, with as many threads as torch takes by itself.
"""

from __future__ import annotations

import sys

from tests.benchmarks.compared_work import FRACTIONS, FUSIONS, Work
from tests.benchmarks.peer import train_epochs


def main(work: Work) -> None:
    """Every trial of every arm after the other."""
    for fraction in FRACTIONS:
        for fusion in FUSIONS:
            for lr, weight_decay in work.points:
                best = max(
                    float(str(epoch["accuracy"])) for epoch in train_epochs(work, fraction, fusion, lr, weight_decay)
                )
                print(f"WBC_{100 * fraction:g}/{fusion} lr {lr:.4f}: {best:.3f}", flush=True)


if __name__ == "__main__":
    main(Work.load(sys.argv[1]))
