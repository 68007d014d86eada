"""Numerical methods that know nothing of flows: integrators, roots, Jacobians, rows in chunks, arrays as tensors."""
