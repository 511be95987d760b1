"""Write golden.npz: what torchvision's own networks make of formula weights.

Run once by hand, from the repository's root, where torch and torchvision are
(recorded with torch 2.13.0, torchvision 0.28.0, on a CPU):

    python tests/covid_cxr/models/golden/make.py

Given a path, they are written there instead: .ci/full compares them with those here.

The weights are those of ../formula.py in torchvision's own full-size networks, the
input its grey images repeated on three channels. Stored: the first 8 logits and,
for each stage, the first 32 channels' spatial means.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import formula  # noqa: E402


def stages(model):
    if hasattr(model, "layer4"):
        return {f"layer{k}": getattr(model, f"layer{k}") for k in range(1, 5)}
    return {f"layer{k}": getattr(model.features, f"denseblock{k}") for k in (1, 2, 3)}


def main():
    out = {}
    for name in ("resnet18", "resnet50", "densenet121"):
        model = getattr(torchvision.models, name)(weights=None).eval()
        dense = name.startswith("dense")
        shapes = (
            formula.densenet_shapes() if dense else formula.resnet_shapes(int(name[6:]))
        )
        state = {k: torch.from_numpy(v) for k, v in formula.fill(shapes).items()}
        model.load_state_dict(state, strict=True)
        for stage, module in stages(model).items():
            module.register_forward_hook(
                lambda m, i, y, at=f"{name}/{stage}": out.__setitem__(
                    at, y.mean(dim=(2, 3))[:, :32].numpy()
                )
            )
        x = torch.from_numpy(formula.images()).permute(0, 3, 1, 2).repeat(1, 3, 1, 1)
        with torch.no_grad():
            out[f"{name}/logits"] = model(x)[:, :8].numpy()
    np.savez(sys.argv[1] if len(sys.argv) > 1 else HERE / "golden.npz", **out)
    print({k: (v.shape, float(np.abs(v).mean())) for k, v in out.items()})


if __name__ == "__main__":
    main()
