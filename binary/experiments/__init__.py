"""Experiments with stochastic binary synapses, one file a figure."""
