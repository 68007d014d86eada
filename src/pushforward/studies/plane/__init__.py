"""Studies of points in the plane, where the exact density is known."""
