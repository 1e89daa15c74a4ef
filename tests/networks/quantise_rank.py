"""One of two ranks that train a codebook together: `quantise_rank.py RANK FILE` leaves its codebook beside FILE."""

from __future__ import annotations

import sys

import torch

from motherlode.networks.quantise import VectorQuantiser
from motherlode.randomness import torch_generator


def taught(rank: int, world: int = 2) -> VectorQuantiser:
    """A quantiser after a start and some lessons on this rank's share of the points."""
    quantiser = VectorQuantiser(8, 4, 2, revive=0.3)
    quantiser.load_state_dict({name: torch.zeros_like(value) for name, value in quantiser.state_dict().items()})
    share = slice(rank, None, world)
    points = torch.randn(6, 64, 4, generator=torch_generator(0, "points"))
    quantiser.start(points[0][share], torch_generator(0, "start"))
    for step in range(1, 6):
        made = quantiser(points[step][share].t()[None])
        quantiser.learn(made.lessons, torch_generator(0, "learn", step))
    return quantiser


if __name__ == "__main__":
    number, path = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=number, world_size=2)
    torch.save(taught(number).state_dict(), f"{path}-{number}.pt")
    torch.distributed.destroy_process_group()
