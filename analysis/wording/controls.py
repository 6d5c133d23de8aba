"""The control arms: what each is for, in words, and its colour. The only place that says either."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from analysis.wording.colours import INDIGO, OLIVE, SKY, TEAL, WINE


@dataclass(frozen=True)
class Control:
    """A kind of control arm, as a reader meets it."""

    colour: str
    """Its colour in every figure, from `analysis.wording.colours`."""
    purpose: str
    """What an arm of it does and what its result would mean."""


CONTROLS = {
    "random": Control(
        SKY,
        "the same encoders and fusion, or the same network, with random weights: what the larger model gives without any"
        " pretraining. No placebo: it may beat off, and transfer has to beat it.",
    ),
    "shuffled": Control(
        WINE,
        "features of another image of the same split, of any class: a placebo. They say nothing about the image, so a gain"
        " would come from the added parameters, or by chance.",
    ),
    "published": Control(
        OLIVE,
        "what the published code did: noise from one fixed batch through heads newly random at every step, added to the logits"
        " in training and left out when scoring. A placebo: a gain would be regularisation or chance, not transfer.",
    ),
    "twin": Control(
        TEAL,
        "off under another name, tuned and confirmed on its own, with the same labelled images of a seed and its own initial"
        " weights, order and crops. There is no difference: what it shows is how far two arms differ by search and chance.",
    ),
    "classical": Control(
        INDIGO,
        "logistic regression on colour and texture features that nobody learned, tuned with the same budget: a floor. Networks"
        " that do not beat it have learned nothing that needs a network.",
    ),
}
"""Name of a control, as in the records -> the control."""


def describe_controls(controls: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Each of the given controls with what it is for, in the order above; of one that is not known only that is said."""
    found = set(controls)
    known = [(name, control.purpose) for name, control in CONTROLS.items() if name in found]
    return (*known, *((name, "not known to this program.") for name in sorted(found - set(CONTROLS))))
