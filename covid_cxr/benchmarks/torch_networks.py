"""The PyTorch side of :mod:`covid_cxr.benchmarks.rates`: the same networks.

Nothing of ours is imported; names of the ResNet are torchvision's, so that
:func:`covid_cxr.models.convert` takes its weights.
"""

from __future__ import annotations

import math
from typing import Any


def resnet18(torch: Any, width: int) -> Any:
    """Return ResNet-18 for one channel and one logit, in training mode."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inner: int, outer: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outer)
            self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outer)
            self.downsample = None
            if stride > 1 or inner != outer:
                conv = nn.Conv2d(inner, outer, 1, stride, bias=False)
                self.downsample = nn.Sequential(conv, nn.BatchNorm2d(outer))

        def forward(self, x: Any) -> Any:
            y = torch.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            return torch.relu(y + (self.downsample(x) if self.downsample else x))

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, width, 7, 2, 3, bias=False)
            self.bn1, self.pool = nn.BatchNorm2d(width), nn.MaxPool2d(3, 2, 1)
            inner = width
            for stage in range(4):
                outer = width * 2**stage
                first = Block(inner, outer, 2 if stage else 1)
                blocks = nn.Sequential(first, Block(outer, outer, 1))
                setattr(self, f"layer{stage + 1}", blocks)
                inner = outer
            self.fc = nn.Linear(inner, 1)

        def forward(self, x: Any) -> Any:
            x = self.pool(torch.relu(self.bn1(self.conv1(x))))
            for stage in range(4):
                x = getattr(self, f"layer{stage + 1}")(x)
            return self.fc(x.mean((2, 3)))

    return ResNet()


def unet(torch: Any, width: int, depth: int) -> Any:
    """Return the U-Net of :class:`covid_cxr.segmentation.UNet`, with one output."""
    nn = torch.nn

    def pair(inner: int, outer: int) -> Any:
        groups = math.gcd(32, outer // 2)
        layers = []
        for channels in (inner, outer):
            layers += [nn.Conv2d(channels, outer, 3, 1, 1, bias=False)]
            layers += [nn.GroupNorm(groups, outer), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [width * 2**level for level in range(depth + 1)]
            self.down = nn.ModuleList(
                pair(a, b) for a, b in zip([1, *widths], widths, strict=False)
            )
            steps = list(zip(widths[::-1], widths[-2::-1], strict=False))
            self.narrow = nn.ModuleList(
                nn.Conv2d(a, b, 1, bias=False) for a, b in steps
            )
            self.up = nn.ModuleList(pair(2 * b, b) for _, b in steps)
            self.out = nn.Conv2d(width, 1, 1)
            self.pool, self.grow = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)

        def forward(self, x: Any) -> Any:
            mean, std = x.mean((2, 3), True), x.std((2, 3), False, True)
            x, skips = (x - mean) / (std + 1e-3), []
            for layers in self.down[:-1]:
                x = layers(x)
                skips.append(x)
                x = self.pool(x)
            x = self.down[-1](x)
            for narrow, layers in zip(self.narrow, self.up, strict=True):
                x = narrow(self.grow(x))
                x = layers(torch.cat([x, skips.pop()], 1))
            return self.out(x)

    return UNet()
