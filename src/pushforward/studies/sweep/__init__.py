"""The study of settings on two moons, run by several processes."""
