"""What kind of minimum a network sits in: entropy, curvature, landscape."""

from analysis import (
    entropy,
    landscape,
    pairs,
    paths,
    planes,
    selectivity,
    sharpness,
    summaries,
    transfer,
)
from analysis.entropy import FirstOrder
from analysis.landscape import (
    Fixed,
    Interpolated,
    Recomputed,
    Survey,
    explore,
    mean_loss,
    survey,
)
from analysis.pairs import SecondOrder, second_order
from analysis.paths import Bezier, Line, barrier, connect, distance, line
from analysis.planes import (
    Plane,
    filter_normalised,
    grid,
    locate,
    plane_along,
    plane_through,
    random_direction,
)
from analysis.sharpness import ascent_sharpness, expected_sharpness

__all__ = [
    "Bezier",
    "FirstOrder",
    "Fixed",
    "Interpolated",
    "Line",
    "Plane",
    "Recomputed",
    "SecondOrder",
    "Survey",
    "ascent_sharpness",
    "barrier",
    "connect",
    "distance",
    "entropy",
    "expected_sharpness",
    "explore",
    "filter_normalised",
    "grid",
    "landscape",
    "line",
    "locate",
    "mean_loss",
    "pairs",
    "paths",
    "plane_along",
    "plane_through",
    "planes",
    "random_direction",
    "second_order",
    "selectivity",
    "sharpness",
    "summaries",
    "survey",
    "transfer",
]
