"""Algorithms that look for binary weights, and one way to run them all."""

from binary.solvers.annealed import annealed
from binary.solvers.free import free
from binary.solvers.schedules import linear, power
from binary.solvers.solve import solve
from binary.solvers.types import Clock, Problem, Result, Solver

__all__ = [
    "Clock",
    "Problem",
    "Result",
    "Solver",
    "annealed",
    "free",
    "linear",
    "power",
    "solve",
]
