"""A small generative adversarial network for points in the plane, to hold beside a flow."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def network(in_features: int, out_features: int, width: int = 64) -> nn.Sequential:
    """Return a multilayer perceptron with three hidden layers."""
    return nn.Sequential(
        nn.Linear(in_features, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, out_features),
    )


def train_gan(
    x: Tensor, *, num_steps: int, seed: int, batch_size: int = 256, latent_features: int = 2
) -> tuple[nn.Sequential, nn.Sequential]:
    """Train generator and discriminator in turn with the non-saturating loss (arXiv:1406.2661).

    Args:
        x: Training points, (N, D).
        num_steps: Updates of each network.
        seed: Seed of weights, batches and noise.
        batch_size: Real and generated points a step.
        latent_features: Size of the noise.

    Returns:
        The generator, (*batch, latent_features) -> (*batch, D), and the discriminator, whose output is a logit.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator, discriminator = network(latent_features, x.shape[1]), network(x.shape[1], 1)
        players = [
            torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999)) for net in (generator, discriminator)
        ]
        schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(player, num_steps) for player in players]
        for _ in range(num_steps):
            real = x[torch.randint(len(x), (batch_size,))]
            fake = generator(torch.randn(batch_size, latent_features))
            players[1].zero_grad()
            (
                functional.softplus(-discriminator(real)) + functional.softplus(discriminator(fake.detach()))
            ).mean().backward()
            players[1].step()
            players[0].zero_grad()
            functional.softplus(-discriminator(fake)).mean().backward()
            players[0].step()
            for schedule in schedules:
                schedule.step()
    return generator, discriminator
