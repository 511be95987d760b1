"""Slow, plain NumPy networks that read a torchvision state dict by its own names.

Images are (B, C, H, W) in float64, as torchvision has them.
"""

import numpy as np


def conv(x, weight, stride=1):
    outputs, _, size, _ = weight.shape
    pad = size // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    height, width = ((n - size) // stride + 1 for n in x.shape[2:])
    y = np.zeros((x.shape[0], outputs, height, width))
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            window = x[:, :, top : top + size, left : left + size]
            y[:, :, row, column] = np.einsum("bcij,ocij->bo", window, weight)
    return y


def norm(x, state, name):
    shape = (1, -1, 1, 1)
    weight, bias, mean, var = (
        state[f"{name}.{leaf}"].astype(np.float64).reshape(shape)
        for leaf in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def pool(x, size, stride, reduce, fill=None):
    if fill is not None:
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=fill)
    height, width = ((n - size) // stride + 1 for n in x.shape[2:])
    y = np.zeros((*x.shape[:2], height, width))
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            y[:, :, row, column] = reduce(
                x[:, :, top : top + size, left : left + size], axis=(2, 3)
            )
    return y


def relu(x):
    return np.maximum(x, 0)


def resnet(state, x):
    """Return {stage: maps} and the logits."""
    x = relu(norm(conv(x, state["conv1.weight"], 2), state, "bn1"))
    out = {"stem": x}
    x = pool(x, 3, 2, np.max, -np.inf)
    for stage in range(1, 5):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in state:
            at = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            three = f"{at}.conv3.weight" in state
            strides = (1, stride, 1) if three else (stride, 1)
            y = x
            for index, step in enumerate(strides, 1):
                y = conv(y, state[f"{at}.conv{index}.weight"], step)
                y = norm(y, state, f"{at}.bn{index}")
                if index < len(strides):
                    y = relu(y)
            if f"{at}.downsample.0.weight" in state:
                x = conv(x, state[f"{at}.downsample.0.weight"], stride)
                x = norm(x, state, f"{at}.downsample.1")
            x = relu(x + y)
            block += 1
        out[f"layer{stage}"] = x
    return out, x.mean(axis=(2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def densenet(state, x):
    """Return {stage: maps} and the logits."""
    state = {k.removeprefix("features."): v for k, v in state.items()}
    x = relu(norm(conv(x, state["conv0.weight"], 2), state, "norm0"))
    out = {"stem": x}
    x = pool(x, 3, 2, np.max, -np.inf)
    block = 1
    while f"denseblock{block}.denselayer1.conv1.weight" in state:
        layer = 1
        while f"denseblock{block}.denselayer{layer}.conv1.weight" in state:
            at = f"denseblock{block}.denselayer{layer}"
            y = conv(relu(norm(x, state, f"{at}.norm1")), state[f"{at}.conv1.weight"])
            y = conv(relu(norm(y, state, f"{at}.norm2")), state[f"{at}.conv2.weight"])
            x = np.concatenate([x, y], axis=1)
            layer += 1
        at = f"transition{block}"
        if f"{at}.conv.weight" in state:
            out[f"layer{block}"] = x
            x = conv(relu(norm(x, state, f"{at}.norm")), state[f"{at}.conv.weight"])
            x = pool(x, 2, 2, np.mean)
        block += 1
    x = relu(norm(x, state, "norm5"))
    out[f"layer{block - 1}"] = x
    return out, x.mean(axis=(2, 3)) @ state["classifier.weight"].T + state[
        "classifier.bias"
    ]
