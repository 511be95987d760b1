"""What a score is worth, and how sure that is: by patient, not by image.

Example:
    >>> covid_cxr.metrics.FIXED.value
    0.5
"""

from covid_cxr.metrics._delong import (
    Areas,
    Comparison,
    auc_interval,
    delong,
    delong_test,
)
from covid_cxr.metrics.calibration import (
    Recalibration,
    at_prevalence,
    brier,
    ece,
    log_loss,
    recalibration,
    reliability,
    temperature,
    tempered,
)
from covid_cxr.metrics.intervals import Estimate, holm, wilson
from covid_cxr.metrics.rates import (
    Confusion,
    accuracy,
    balanced_accuracy,
    bounded_odds,
    confusion,
    f_score,
    negative_predictive_value,
    npv_at,
    odds_ratio,
    odds_ratio_interval,
    positive_predictive_value,
    ppv_at,
    sensitivity,
    specificity,
)
from covid_cxr.metrics.report import Report, compare_auc, evaluate
from covid_cxr.metrics.resampling import Replicates, bootstrap
from covid_cxr.metrics.roc import Curve, auc, roc_curve, weighted_auc
from covid_cxr.metrics.thresholds import (
    FIXED,
    Threshold,
    at_sensitivity,
    decide,
    youden,
)

__all__ = [
    "FIXED",
    "Areas",
    "Comparison",
    "Confusion",
    "Curve",
    "Estimate",
    "Recalibration",
    "Replicates",
    "Report",
    "Threshold",
    "accuracy",
    "at_prevalence",
    "at_sensitivity",
    "auc",
    "auc_interval",
    "balanced_accuracy",
    "bootstrap",
    "bounded_odds",
    "brier",
    "compare_auc",
    "confusion",
    "decide",
    "delong",
    "delong_test",
    "ece",
    "evaluate",
    "f_score",
    "holm",
    "log_loss",
    "negative_predictive_value",
    "npv_at",
    "odds_ratio",
    "odds_ratio_interval",
    "positive_predictive_value",
    "ppv_at",
    "recalibration",
    "reliability",
    "roc_curve",
    "sensitivity",
    "specificity",
    "temperature",
    "tempered",
    "weighted_auc",
    "wilson",
    "youden",
]
