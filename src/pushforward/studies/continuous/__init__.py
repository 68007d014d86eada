"""The study of planar, coupling and continuous flows on three small data sets."""
