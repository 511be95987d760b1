"""Algorithms that look for binary weights, and one way to run them all."""

from binary.solvers.amp import amp
from binary.solvers.annealed import annealed
from binary.solvers.annealing import annealing
from binary.solvers.free import free
from binary.solvers.sbpi import sbpi
from binary.solvers.schedules import linear, power
from binary.solvers.solve import solve
from binary.solvers.straight_through import straight_through
from binary.solvers.types import Clock, Problem, Result, Solver

__all__ = [
    "Clock",
    "Problem",
    "Result",
    "Solver",
    "amp",
    "annealed",
    "annealing",
    "free",
    "linear",
    "power",
    "sbpi",
    "solve",
    "straight_through",
]
