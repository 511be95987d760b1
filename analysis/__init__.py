"""What kind of minimum a network sits in: entropy, curvature, landscape."""

from analysis import (
    curvature,
    entropy,
    lanczos,
    landscape,
    operators,
    pairs,
    paths,
    planes,
    selectivity,
    sharpness,
    spectrum,
    summaries,
    transfer,
)
from analysis.curvature import top_eigenpairs, trace
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
from analysis.operators import (
    Operator,
    empirical_fisher,
    fisher,
    gauss_newton,
    hessian,
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
from analysis.spectrum import smoothed, spectral_density

__all__ = [
    "Bezier",
    "FirstOrder",
    "Fixed",
    "Interpolated",
    "Line",
    "Operator",
    "Plane",
    "Recomputed",
    "SecondOrder",
    "Survey",
    "ascent_sharpness",
    "barrier",
    "connect",
    "curvature",
    "distance",
    "empirical_fisher",
    "entropy",
    "expected_sharpness",
    "explore",
    "filter_normalised",
    "fisher",
    "gauss_newton",
    "grid",
    "hessian",
    "lanczos",
    "landscape",
    "line",
    "locate",
    "mean_loss",
    "operators",
    "pairs",
    "paths",
    "plane_along",
    "plane_through",
    "planes",
    "random_direction",
    "second_order",
    "selectivity",
    "sharpness",
    "smoothed",
    "spectral_density",
    "spectrum",
    "summaries",
    "survey",
    "top_eigenpairs",
    "trace",
    "transfer",
]
