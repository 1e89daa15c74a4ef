"""One rank of a distributed training of the tiny family; started by torchrun or by a test with its environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

import doubles

from motherlode.errors import DivergedError, TrainingError
from motherlode.training import distributed
from motherlode.training.run import train


def main(out: str, options_json: str) -> None:
    """Train, and leave this rank's final weights' sum beside the run."""
    torch.set_num_threads(1)
    doubles.install()
    options = json.loads(options_json)
    rank = distributed.start().rank
    try:
        run = train(doubles.tiny_recipe(Path(out), **options))
        said = run.facts["status"]
    except DivergedError as error:
        said = f"diverged: {error.received}"
    except TrainingError as error:
        (Path(out) / f"rank-{rank}.txt").write_text(str(error))
        sys.exit(2)
    (Path(out) / f"rank-{rank}.txt").write_text(said)
    distributed.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
