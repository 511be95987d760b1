"""What kind of minimum a network sits in: entropy, curvature, landscape."""

from analysis import entropy, pairs, summaries
from analysis.entropy import FirstOrder
from analysis.pairs import SecondOrder, second_order

__all__ = [
    "FirstOrder",
    "SecondOrder",
    "entropy",
    "pairs",
    "second_order",
    "summaries",
]
