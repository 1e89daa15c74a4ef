"""One rank of several that share a model's weights: what each holds, and what they hold together."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from motherlode.recipe import Recipe
from motherlode.training import distributed
from motherlode.training.assembly import Assembly
from motherlode.training.loop import Setting
from motherlode.training.sharding import Shares


def main(recipe_path: str, out: str) -> None:
    """Build, split, put together again, and write down what was found."""
    torch.set_num_threads(1)
    recipe, ranks = Recipe.load(recipe_path), distributed.start()
    alone = Assembly.of(recipe).engine(Setting()).weights()
    engine = Assembly.of(recipe, ranks).engine(Setting())
    shares = engine.shares
    assert isinstance(shares, Shares)
    named = dict(engine.family.named_parameters())
    own = {name: shares.own(parameter) for name, parameter in named.items()}
    engine.step(1.0)
    states = sum(value.numel() for opt in engine.optimizers.values() for value in opt.state().values() if value.dim())
    state = engine.optimizer_state()

    dealt = shares.deal({name: parameter.shape for name, parameter in named.items()})
    names = list(named)
    wholes = dealt.gather(names, [own[name] for name in names])
    parts = dealt.scatter(names, wholes)
    after = engine.weights()
    with engine.whole() as family:
        whole = None if family is None else family.state_dict()
    found = {
        "slowest": ranks.slowest(float(ranks.rank), "cpu"),
        "held": sum(parameter.numel() for parameter in own.values()),
        "remembered": states,
        "total": sum(weight.numel() for weight in alone.values()),
        "worked_on": sorted(wholes),
        "round_trip": all(torch.equal(part, own[name]) for part, name in zip(parts, names, strict=True)),
        "as_if_whole": all(tuple(wholes[name].shape) == tuple(named[name].shape) for name in wholes),
    }
    if ranks.leads:
        found["names"] = names
        found["moved"] = sum(not torch.equal(after[name], alone[name]) for name in alone)
        found["shapes"] = all(after[name].shape == alone[name].shape for name in alone)
        found["state"] = all(
            value.dim() == 0 or value.shape == named[path.split("/")[1]].shape for path, value in state.items()
        )
        found["twin"] = whole is not None and all(torch.equal(whole[name], after[name]) for name in after)
        found["alone_is_none"] = False
    else:
        found["alone_is_none"] = whole is None
    (Path(out) / f"rank-{ranks.rank}.json").write_text(json.dumps(found))
    distributed.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
