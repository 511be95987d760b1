"""Stochastic binary synapses: solvers, deep networks and replica theory."""
