"""Weights in torchvision's names and layout, the same wherever NumPy runs.

Integer hashes, not a random generator: the golden outputs must not depend on a
version. Imports NumPy alone, so that the script beside the golden file, which runs
where PyTorch is, can share it.
"""

import zlib

import numpy as np

DEPTHS = {18: ((2, 2, 2, 2), 1), 50: ((3, 4, 6, 3), 4)}
BLOCKS = (6, 12, 24, 16)


def hashed(name, shape):
    """Return float32 numbers in [-1, 1), spread evenly, fixed by name and shape."""
    x = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(
        zlib.crc32(name.encode())
    )
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        x = (x ^ (x >> np.uint64(29))) * np.uint64(factor)
    x ^= x >> np.uint64(32)
    return (
        ((x >> np.uint64(40)).astype(np.float64) / 2**23 - 1)
        .astype(np.float32)
        .reshape(shape)
    )


def images(count=2, side=64):
    return hashed("images", (count, side, side, 1))


def fill(shapes):
    """Return a state dict of sensible sizes for {name: shape}."""
    out = {}
    for name, shape in shapes.items():
        value = hashed(name, shape)
        if name.endswith("num_batches_tracked"):
            value = np.zeros((), np.int64)
        elif name.endswith("running_var") or (len(shape) == 1 and "weight" in name):
            value = 1 + 0.4 * value
        elif len(shape) > 1:
            value = value * np.float32(np.sqrt(6 / np.prod(shape[1:])))
        else:
            value = 0.2 * value
        out[name] = value
    return out


def _norm(shapes, name, channels):
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{name}.{leaf}"] = (channels,)
    shapes[f"{name}.num_batches_tracked"] = ()


def resnet_shapes(depth, width=64, classes=1000, inputs=3):
    counts, expansion = DEPTHS[depth]
    shapes = {"conv1.weight": (width, inputs, 7, 7)}
    _norm(shapes, "bn1", width)
    before = width
    for stage, count in enumerate(counts):
        inner = width * 2**stage
        for block in range(count):
            at = f"layer{stage + 1}.{block}"
            sizes = [(3, before, inner), (3, inner, inner)]
            if expansion > 1:
                sizes = [(1, before, inner), (3, inner, inner), (1, inner, 4 * inner)]
            for index, (side, i, o) in enumerate(sizes, 1):
                shapes[f"{at}.conv{index}.weight"] = (o, i, side, side)
                _norm(shapes, f"{at}.bn{index}", o)
            if before != inner * expansion or (stage and not block):
                shapes[f"{at}.downsample.0.weight"] = (inner * expansion, before, 1, 1)
                _norm(shapes, f"{at}.downsample.1", inner * expansion)
            before = inner * expansion
    shapes |= {"fc.weight": (classes, before), "fc.bias": (classes,)}
    return shapes


def densenet_shapes(width=64, classes=1000, inputs=3, blocks=BLOCKS):
    shapes = {"features.conv0.weight": (width, inputs, 7, 7)}
    _norm(shapes, "features.norm0", width)
    growth, channels = width // 2, width
    for block, count in enumerate(blocks, 1):
        for layer in range(1, count + 1):
            at = f"features.denseblock{block}.denselayer{layer}"
            _norm(shapes, f"{at}.norm1", channels)
            shapes[f"{at}.conv1.weight"] = (4 * growth, channels, 1, 1)
            _norm(shapes, f"{at}.norm2", 4 * growth)
            shapes[f"{at}.conv2.weight"] = (growth, 4 * growth, 3, 3)
            channels += growth
        if block < len(blocks):
            _norm(shapes, f"features.transition{block}.norm", channels)
            shapes[f"features.transition{block}.conv.weight"] = (
                channels // 2,
                channels,
                1,
                1,
            )
            channels //= 2
    _norm(shapes, "features.norm5", channels)
    shapes |= {"classifier.weight": (classes, channels), "classifier.bias": (classes,)}
    return shapes
