"""The colours of figures by name; all can be told apart by colour-blind eyes and be seen on white and on black."""

from __future__ import annotations

# Okabe and Ito, "Color Universal Design", 2008; black and yellow are left out: each vanishes on one of the
# two backgrounds.
BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"

# Tol, "Colour Schemes", 2021, muted: for settings beyond the first six.
WINE, TEAL, INDIGO, OLIVE = "#882255", "#44AA99", "#6F64B5", "#999933"

GREY = "#808080"
"""For what is not ours: published values and the floor. Legible on white and on near-black."""
