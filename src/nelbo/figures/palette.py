"""One colour for each quantity, the same on every figure, table and page of nelbo.

The five quantities differ from each other, and the ten classes among themselves, for eyes with normal vision and for
eyes that lack red, green or blue cones; the tests measure by how much. Text in a quantity's colour has a contrast of
at least 4.5 on white.
"""

P = "#2b7bba"
"""p: the prior p(z), the model p(x|z), the first argument of a divergence."""
Q = "#d0400a"
"""q: the posterior q(z|x), the second argument of a divergence."""
RECONSTRUCTION_ERROR = "#00665e"
KL = "#7d1686"
NELBO = "#222222"

INK = "#222222"
"""Text and axes."""
FAINT = "#6b6b6b"
"""Captions and what stands behind the data."""
RULE = "#c9c9c9"
"""Lines that only guide the eye."""
CONTOURS = "#6f6f6f"
"""Contours of p(z) where they lie under points of ten colours: another hue would read as an eleventh class."""

# found by simulated annealing on the smallest distance in OKLab under the four kinds of vision, chroma capped so that
# no class shouts: it is 0.10, where matplotlib's tab10 has 0.007 and the ten colours of Petroff 2021 have 0.06. The
# order keeps digits that VAEs confuse (4 and 9, 7 and 9, 3, 5 and 8) far apart.
CLASSES = (
    "#235cd8",
    "#debe5f",
    "#b91d26",
    "#5ee1df",
    "#932994",
    "#dc6210",
    "#9e6e7d",
    "#ec8687",
    "#0191c2",
    "#1ab0f7",
)
