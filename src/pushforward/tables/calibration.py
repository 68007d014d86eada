"""Whether a law of rows is calibrated: of each cell, the share of its conditional law that lies below it."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from pushforward.numerics.default_device import on_the_cpu
from pushforward.rows import RowJoint
from pushforward.rows.cells import CHUNK
from pushforward.rows.heads import Heads, bounded, mixture_cdf
from pushforward.tables.row_encoder import Rows

if TYPE_CHECKING:
    from pushforward.tables.answers import Answers


@on_the_cpu()
@torch.no_grad()
def integral_transforms(joint: RowJoint, answers: "Answers", rows: Rows, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return P(cell of the column is less | cells before it) at each cell, by modelled column, of those that are there.

    Uniform on [0, 1] where the law is right (probability integral transform; Dawid 1984). Within a probability, of a
    category, an atom or a recorded step, the place is drawn (Czado et al. 2009, Biometrics 65); categories have the
    order of their codes.

    Args:
        joint: The law.
        answers: Which knows the columns.
        rows: Encoded.
        seed: Decides the places within probabilities.
    """
    random = np.random.default_rng(seed)
    found: dict[str, list[np.ndarray]] = {name: [] for name in answers.schema.modelled}
    places = dict(zip(answers.encoder.columns, joint.place.tolist(), strict=True))
    for part in rows.cells.split(CHUNK):
        code, z, half = joint.with_marks(part)
        params = joint.network(code, z, torch.ones_like(z))
        for name, values in found.items():
            place, atoms = places[name], answers.encoder.encoders[name].places.atoms
            there = code[:, place] >= 0
            cells = code[there, place], z[there, place], half[there, place]
            below, above = _ends(joint.network.heads, place, params[there], *cells, atoms)
            values.append(below + random.random(len(below)) * (above - below))
    return {name: np.concatenate(values) for name, values in found.items()}


def _ends(
    heads: Heads, place: int, params: torch.Tensor, code: torch.Tensor, z: torch.Tensor, half: torch.Tensor,
    atoms: tuple[float, ...],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the shares of a column's law below the cells and up to their upper ends, (n,) each."""
    logits, mixture = (params[:, where].double() for where in heads.params_of(place))
    share = bounded(logits).softmax(1) if logits.shape[1] else torch.ones(len(params), 1, dtype=torch.float64)
    if not heads.numbers[place]:
        upper = share.cumsum(1).gather(1, code[:, None])[:, 0]
        return (upper - share.gather(1, code[:, None])[:, 0]).numpy(), upper.numpy()
    ends = torch.stack((z - half, z + half), 1).double()
    of_numbers = share[:, -1:] * mixture_cdf(mixture.unflatten(1, (3, -1)), ends)
    values = torch.tensor(atoms, dtype=torch.float64)
    # An atom lies within the cell around it: below its upper end, not below its lower.
    near = 1e-6
    own = (code[:, None] == torch.arange(len(atoms))) if len(atoms) else torch.zeros(len(code), 0, dtype=torch.bool)
    lower = of_numbers[:, 0] + (share[:, :-1] * ((values < ends[:, :1] - near) & ~own)).sum(1)
    upper = of_numbers[:, 1] + (share[:, :-1] * ((values <= ends[:, 1:] + near) | own)).sum(1)
    return lower.numpy(), upper.numpy()
