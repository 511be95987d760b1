"""A small-data chest X-ray study that looks for its own shortcuts.

Example:
    >>> covid_cxr.CAUTION[:27]
    'Research on confounded data'
"""

#: To be shown by everything that reports a score.
CAUTION = (
    "Research on confounded data. Not a diagnostic device: no score here says what a "
    "network would do for a patient."
)

__all__ = ["CAUTION"]
