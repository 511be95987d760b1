"""Measurements of time and memory; not part of the installed package."""
