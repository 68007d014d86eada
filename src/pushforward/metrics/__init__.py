"""Figures of merit, each with what says how far it can be trusted: a standard error, a null, a count."""

from pushforward.metrics.classifier import Judgement, judge, random_forest
from pushforward.metrics.latent import LatentNormality, latent_normality
from pushforward.metrics.likelihood import HasLogProb, Score, TrueDensity, bits_per_dim, excess, gain, nll
from pushforward.metrics.neighbours import nearest_neighbour_distance
from pushforward.metrics.two_sample import NullTest, c2st, median_bandwidth, mmd, mmd_null

__all__ = [
    "HasLogProb",
    "Judgement",
    "LatentNormality",
    "NullTest",
    "Score",
    "TrueDensity",
    "bits_per_dim",
    "c2st",
    "excess",
    "gain",
    "judge",
    "latent_normality",
    "median_bandwidth",
    "mmd",
    "mmd_null",
    "nearest_neighbour_distance",
    "nll",
    "random_forest",
]
