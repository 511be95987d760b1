"""Compile these tests' radiographs quickly."""

from tests.covid_cxr.quick import quick_compilation

__all__ = ["quick_compilation"]
