"""One small study of two cells, begun once, killed once, finished once."""

import numpy as np
import pytest

from covid_cxr.study import cells, matrix, parse, run, training
from covid_cxr.study.data import library
from tests.covid_cxr.train.tiny import tiny

STUDY = {
    "name": "small",
    "side": 48,
    "seeds": [0, 1],
    "epochs": 2,
    "batch": 8,
    "rate": 0.03,
    "replicates": 50,
    "sets": {
        "home": {
            "phantom": {
                "patients": 120,
                "shortcuts": {"border": 0.95},
                "hospitals": [{"name": "home_clinic"}],
            },
            "seed": 1,
        },
        "ordinary": {
            "phantom": {
                "patients": 64,
                "hospitals": [{"name": "lungs_clinic", "covid": 0, "pneumonia": 0.5}],
            },
            "seed": 2,
        },
    },
    "encoders": {"small": {"architecture": "resnet10", "width": 4}},
    "mixes": {"border": {"kind": "target", "target": "home"}},
    "tests": ["own", "ordinary"],
    "preprocessing": ["none", "masked"],
}


@pytest.fixture(scope="session")
def held():
    """Return the radiographs of the study: drawn once, for nobody changes them."""
    return library(parse(STUDY))


class Killed(Exception):
    """What kills the study in a test."""


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Return (config, folder, log): killed in the second cell, then taken up."""
    patch = pytest.MonkeyPatch()
    # The smallest network: what is tested here is the study around it.
    patch.setattr(training, "network", lambda config: tiny())
    log, fit = [], training.fit

    def killed(net, stage, *data, **options):
        log.append("fit")
        trained = fit(net, stage, *data, **options)
        if len(log) == 2:
            raise Killed
        return trained

    config, folder = parse(STUDY), tmp_path_factory.mktemp("study")
    patch.setattr(training, "fit", killed)
    with pytest.raises(Killed):
        run(config, folder)
    first = matrix.path_of(folder, cells(config)[0].key)
    stamp = (first.stat().st_mtime_ns, first.read_bytes())
    unfinished = matrix.path_of(folder, cells(config)[1].key).exists()
    run(config, folder)
    run(config, folder)
    patch.undo()
    again = (first.stat().st_mtime_ns, first.read_bytes())
    return (
        config,
        folder,
        {
            "fits": len(log),
            "same": stamp == again,
            "unfinished": unfinished,
            "scores": np.load(first.with_suffix(".npz")),
        },
    )
