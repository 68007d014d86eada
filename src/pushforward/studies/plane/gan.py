"""A small generative adversarial network for points in the plane, to hold beside a flow."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, BATCH_SIZE, LATENT_FEATURES = 64, 256, 2


def _network(in_features: int, out_features: int) -> nn.Sequential:
    widths = pairwise((in_features, WIDTH, WIDTH, WIDTH))
    hidden = [layer for before, width in widths for layer in (nn.Linear(before, width), nn.LeakyReLU(0.2))]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, out_features))


def train_gan(x: Tensor, *, num_steps: int, seed: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Train generator and discriminator in turn on points (N, D) with the non-saturating loss (arXiv:1406.2661).

    Returns:
        The generator, (*batch, 2) -> (*batch, D), and the discriminator, whose output is a logit.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator, discriminator = _network(LATENT_FEATURES, x.shape[1]), _network(x.shape[1], 1)
        making, judging = (
            torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999)) for net in (generator, discriminator)
        )
        schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(player, num_steps) for player in (making, judging)]
        for _ in range(num_steps):
            real = x[torch.randint(len(x), (BATCH_SIZE,))]
            fake = generator(torch.randn(BATCH_SIZE, LATENT_FEATURES))
            judging.zero_grad()
            wrong = functional.softplus(-discriminator(real)) + functional.softplus(discriminator(fake.detach()))
            wrong.mean().backward()
            judging.step()
            making.zero_grad()
            functional.softplus(-discriminator(fake)).mean().backward()
            making.step()
            for schedule in schedules:
                schedule.step()
    return generator, discriminator
