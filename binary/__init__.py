"""Stochastic binary synapses: solvers, deep networks and replica theory."""

from binary._local_entropy import LocalEntropy, local_entropy
from binary.exact import count_solutions, distance_counts, solutions
from binary.instances import Instance, instance, stack, storage, teacher_student
from binary.likelihood import gradient, log_likelihood, self_overlap, stabilities
from binary.perceptron import draw, errors, mean_predict, mode, predict, verify
from binary.projection import project_magnetisations
from binary.solvers import (
    Result,
    Solver,
    amp,
    annealed,
    annealing,
    committee,
    focusing,
    free,
    linear,
    power,
    replicated,
    sbpi,
    solve,
    straight_through,
)

__all__ = [
    "Instance",
    "LocalEntropy",
    "Result",
    "Solver",
    "amp",
    "annealed",
    "annealing",
    "committee",
    "count_solutions",
    "distance_counts",
    "draw",
    "errors",
    "focusing",
    "free",
    "gradient",
    "instance",
    "linear",
    "local_entropy",
    "log_likelihood",
    "mean_predict",
    "mode",
    "power",
    "predict",
    "project_magnetisations",
    "replicated",
    "sbpi",
    "self_overlap",
    "solutions",
    "solve",
    "stabilities",
    "stack",
    "storage",
    "straight_through",
    "teacher_student",
    "verify",
]
