"""Where the lungs are, how sure that is, and radiographs with and without them.

>>> from covid_cxr import segmentation
>>> segmentation.VARIANTS
('lungs_only', 'lungs_removed', 'boxed_out', 'framed', 'border_only')
>>> segmentation.LIMITS == segmentation.Limits()
True
"""

from covid_cxr.segmentation.evaluation import (
    Agreement,
    across_sources,
    agreement,
    dice,
    evaluate,
    hausdorff95,
    iou,
)
from covid_cxr.segmentation.inference import load, predict, save
from covid_cxr.segmentation.inputs import Radiographs, SegmentConfig
from covid_cxr.segmentation.postprocess import clean, two_lungs
from covid_cxr.segmentation.quality import LIMITS, Checked, Limits, Quality, checked
from covid_cxr.segmentation.regions import (
    VARIANTS,
    border_only,
    boxed_out,
    framed,
    lungs_only,
    lungs_removed,
    variants,
)
from covid_cxr.segmentation.train import Segmenter, fit
from covid_cxr.segmentation.unet import UNet, UNetConfig

__all__ = [
    "LIMITS",
    "VARIANTS",
    "Agreement",
    "Checked",
    "Limits",
    "Quality",
    "Radiographs",
    "SegmentConfig",
    "Segmenter",
    "UNet",
    "UNetConfig",
    "across_sources",
    "agreement",
    "border_only",
    "boxed_out",
    "checked",
    "clean",
    "dice",
    "evaluate",
    "fit",
    "framed",
    "hausdorff95",
    "iou",
    "load",
    "lungs_only",
    "lungs_removed",
    "predict",
    "save",
    "two_lungs",
    "variants",
]
