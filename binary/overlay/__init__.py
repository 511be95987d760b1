"""Replica theory and what is measured at finite size, laid on each other.

``jobs`` lists the measurements of ``python -m binary overlay``, ``ascent`` and
``sampler`` make them, ``theory`` has the curves they belong on.
"""
