"""How networks are trained: evaluation, replicas, devices."""
