"""Radiographs as arrays: one reader, equalisation, resizing, augmentation.

>>> import covid_cxr.images as images
>>> images.PUBLISHED.flip, images.PUBLISHED_PRETRAINING.flip
(0.2, 0.0)
"""

from covid_cxr.images.augmentation import (
    PUBLISHED,
    PUBLISHED_PRETRAINING,
    Augmentation,
    augment,
    warp,
)
from covid_cxr.images.equalisation import clahe, equalise
from covid_cxr.images.normalisation import Statistics, as_published, normalise, pooled
from covid_cxr.images.reader import (
    ImageError,
    Radiograph,
    read,
    read_mask,
    read_raw,
)
from covid_cxr.images.resizing import (
    centre_crop,
    published_crop,
    resize,
    resize_mask,
    resize_short,
    square,
    square_mask,
)

__all__ = [
    "PUBLISHED",
    "PUBLISHED_PRETRAINING",
    "Augmentation",
    "ImageError",
    "Radiograph",
    "Statistics",
    "as_published",
    "augment",
    "centre_crop",
    "clahe",
    "equalise",
    "normalise",
    "pooled",
    "published_crop",
    "read",
    "read_mask",
    "read_raw",
    "resize",
    "resize_mask",
    "resize_short",
    "square",
    "square_mask",
    "warp",
]
