"""Fused maps, each with the plain-torch version of the same map beside it, which it falls back to.

`PUSHFORWARD_KERNELS=off` in the environment turns all of them off.
"""
