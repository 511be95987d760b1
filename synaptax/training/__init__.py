"""How networks are trained: stages of epochs, replicas, devices, evaluation."""

from synaptax.training.epochs import scan_batches
from synaptax.training.errors import NonFiniteError
from synaptax.training.replicas import keys_of, over_replicas, replica_of
from synaptax.training.sharding import make_mesh, placing
from synaptax.training.trainer import Outcome, Stage, Writer, run

__all__ = [
    "NonFiniteError",
    "Outcome",
    "Stage",
    "Writer",
    "keys_of",
    "make_mesh",
    "over_replicas",
    "placing",
    "replica_of",
    "run",
    "scan_batches",
]
