"""Kernels in plain C, compiled by the system's compiler when they are first used."""
