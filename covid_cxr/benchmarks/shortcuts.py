"""Shortcuts to plant in radiographs, each at three strengths, at the stored size.

Lengths are given for a radiograph of 512 pixels a side and grow with it. What is
planted says nothing of a disease: a probe that tells the classes by it has found it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

#: Takes an 8-bit grey image, the length of a pixel at 512, a generator and a strength;
#: returns the image changed.
Plant = Callable[[Any, float, np.random.Generator, Any], Any]
STRENGTHS = ("weak", "middle", "strong")


def _marker(x: float, y: float) -> Plant:
    def plant(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
        half = max(size * pixel / 2, 0.5)
        moved = rng.uniform(-0.02, 0.02, 2)
        at = (x + moved[0]) * image.width, (y + moved[1]) * image.height
        box = [at[0] - half, at[1] - half, at[0] + half, at[1] + half]
        ImageDraw.Draw(image).rectangle(box, fill=235)
        return image

    return plant


def _letter(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    font = ImageFont.load_default(max(size * pixel, 4))
    at = (0.86 * image.width, 0.04 * image.height)
    ImageDraw.Draw(image).text(at, "L", fill=235, font=font)
    return image


def _border(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    width = max(round(size * pixel), 1)
    inner = image.crop((width, width, image.width - width, image.height - width))
    dark = Image.new("L", image.size, 0)
    dark.paste(inner, (width, width))
    return dark


def _device(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    ends = np.array([[0.30, 0.15], [0.36, 0.45], [0.33, 0.75]])
    ends = (ends + rng.uniform(-0.03, 0.03, ends.shape)) * image.size
    line = list(map(tuple, ends.tolist()))
    ImageDraw.Draw(image).line(line, fill=220, width=max(round(size * pixel), 1))
    return image


def _blur(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    return image.filter(ImageFilter.GaussianBlur(size * pixel))


def _sharpen(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    return image.filter(ImageFilter.UnsharpMask(3 * pixel, size, 0))


def _noise(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    noise = size * rng.standard_normal((image.height, image.width), np.float32)
    return _grey(np.asarray(image) + noise)


def _jpeg(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=size)
    return Image.open(file)


def _gamma(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    return image.point((255 * (np.arange(256) / 255) ** size).round().tolist())


def _posterise(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    step = 256 / size
    return image.point(((np.arange(256) // step + 0.5) * step).astype(int).tolist())


def _zoom(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    width, height = image.size
    edge = (1 - 1 / size) / 2
    box = (edge * width, edge * height, (1 - edge) * width, (1 - edge) * height)
    return image.resize(image.size, Image.Resampling.BILINEAR, box=box)


def _rotate(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    # Corners are filled with what was there: a black one would be another shortcut.
    turned = image.rotate(size, Image.Resampling.BILINEAR)
    inside = Image.new("L", image.size, 255).rotate(size)
    return Image.composite(turned, image, inside)


def _resized(image: Any, pixel: float, rng: np.random.Generator, size: Any) -> Any:
    small = tuple(max(round(side * size), 8) for side in image.size)
    less = image.resize(small, Image.Resampling.BILINEAR)
    return less.resize(image.size, Image.Resampling.BILINEAR)


#: Name to what plants it and its three strengths.
PLANTED: dict[str, tuple[Plant, tuple[Any, Any, Any]]] = {
    "marker, top left": (_marker(0.07, 0.07), (8, 16, 40)),
    "marker, top right": (_marker(0.93, 0.07), (8, 16, 40)),
    "marker, bottom": (_marker(0.5, 0.95), (8, 16, 40)),
    "marker, over the lung": (_marker(0.32, 0.4), (8, 16, 40)),
    "laterality letter": (_letter, (14, 28, 50)),
    "device over the lung": (_device, (1, 3, 8)),
    "border": (_border, (2, 5, 12)),
    "blur": (_blur, (1, 2, 4)),
    "sharpening": (_sharpen, (50, 100, 150)),
    "noise": (_noise, (5, 10, 20)),
    "JPEG": (_jpeg, (80, 50, 30)),
    "gamma": (_gamma, (0.95, 0.9, 0.8)),
    "posterise": (_posterise, (32, 16, 8)),
    "zoom": (_zoom, (1.02, 1.05, 1.1)),
    "rotation": (_rotate, (1, 3, 6)),
    "resize history": (_resized, (0.5, 0.25, 0.125)),
}


def planted(name: str, strength: int, image: np.ndarray, seed: int) -> np.ndarray:
    """Return a radiograph with a shortcut.

    Args:
        name: a key of :data:`PLANTED`.
        strength: 0, 1 or 2.
        image: (H, W) uint8; it is not changed.
        seed: of what is drawn: the noise, or by how much a mark is off its place.

    Returns:
        (H, W) uint8.
    """
    plant, sizes = PLANTED[name]
    rng = np.random.default_rng(seed)
    copy = Image.fromarray(np.array(image, np.uint8))
    pixel = min(image.shape) / 512
    return np.asarray(plant(copy, pixel, rng, sizes[strength]), np.uint8)


def _grey(values: np.ndarray) -> Any:
    return Image.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8))
