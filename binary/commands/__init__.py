"""The commands of ``python -m binary``, one module each."""
