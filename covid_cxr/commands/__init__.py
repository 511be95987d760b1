"""The commands of ``python -m covid_cxr``, one module each."""
