"""Flows: a base density carried through an invertible map, and what is done with one."""

from pushforward.flows.dequantization import VariationalDequantization
from pushforward.flows.flow import Flow
from pushforward.flows.latent_path import LatentPath, latent_path
from pushforward.flows.torch_distribution import FlowDistribution

__all__ = ["Flow", "FlowDistribution", "LatentPath", "VariationalDequantization", "latent_path"]
