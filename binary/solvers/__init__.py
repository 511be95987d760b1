"""Algorithms that look for binary weights, and one way to run them all."""

from binary.solvers._amp import amp
from binary.solvers._annealed import annealed
from binary.solvers._annealing import annealing
from binary.solvers._committee import committee
from binary.solvers._focusing import focusing
from binary.solvers._free import free
from binary.solvers._replicated import replicated
from binary.solvers._sbpi import sbpi
from binary.solvers._solve import solve
from binary.solvers._straight_through import straight_through
from binary.solvers.schedules import linear, power
from binary.solvers.types import Clock, Problem, Result, Solver

__all__ = [
    "Clock",
    "Problem",
    "Result",
    "Solver",
    "amp",
    "annealed",
    "annealing",
    "committee",
    "focusing",
    "free",
    "linear",
    "power",
    "replicated",
    "sbpi",
    "solve",
    "straight_through",
]
