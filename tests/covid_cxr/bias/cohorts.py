"""Tables without pictures, for tests of arithmetic."""

import numpy as np

from covid_cxr.index import Row, build


def table(patients, label, source, **columns):
    """Return a table of films and its label (n,)."""
    rows = [
        Row(
            path=f"film{i}",
            patient=str(who),
            source=str(where),
            labels={"covid": int(ill)},
            **{name: column[i] for name, column in columns.items()},
        )
        for i, (who, ill, where) in enumerate(zip(patients, label, source, strict=True))
    ]
    return build(rows), np.asarray(label)
