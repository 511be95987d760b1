"""Replica theory of the binary perceptron, in float64 and without JAX.

Each function solves one saddle point and returns a frozen result with its iterations
and residual, or raises :class:`NotConverged`.

Example:
    >>> binary.theory.REFERENCES
    ('typical', 'spherical', 'stochastic', 'control')
"""

from binary.theory._control import control
from binary.theory._franz_parisi import (
    FranzParisiPoint,
    binary_entropy,
    franz_parisi,
    franz_parisi_coupled,
    franz_parisi_curve,
)
from binary.theory._gardner import GardnerPoint, capacity, gardner
from binary.theory._stochastic import StochasticPoint, critical_beta, stochastic
from binary.theory._teacher_student import (
    TeacherStudentPoint,
    first_order_point,
    spinodal,
    teacher_student,
)
from binary.theory.configuration import (
    draw_energy,
    flip_energy,
    loss,
    mode_energy,
    mode_overlaps,
    replicon,
)
from binary.theory.ensembles import Ensemble, spherical, typical
from binary.theory.iteration import NotConverged
from binary.theory.references import REFERENCES, reference

__all__ = [
    "REFERENCES",
    "Ensemble",
    "FranzParisiPoint",
    "GardnerPoint",
    "NotConverged",
    "StochasticPoint",
    "TeacherStudentPoint",
    "binary_entropy",
    "capacity",
    "control",
    "critical_beta",
    "draw_energy",
    "first_order_point",
    "flip_energy",
    "franz_parisi",
    "franz_parisi_coupled",
    "franz_parisi_curve",
    "gardner",
    "loss",
    "mode_energy",
    "mode_overlaps",
    "reference",
    "replicon",
    "spherical",
    "spinodal",
    "stochastic",
    "teacher_student",
    "typical",
]
