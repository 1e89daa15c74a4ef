"""Train a recipe on the device of `device.cpp`, and generate from it there:  train.py LIBRARY RECIPE [RECIPE …]."""

from __future__ import annotations

import sys
from types import ModuleType

import torch

NAME = "other"


def install(library: str) -> None:
    """Make the device known to torch and to Motherlode, and see that it refuses what it is there to refuse."""
    torch.ops.load_library(library)
    torch.utils.rename_privateuse1_backend(NAME)
    module = ModuleType(f"torch.{NAME}")
    module.is_available = lambda: True  # type: ignore[attr-defined]
    module.device_count = lambda: 1  # type: ignore[attr-defined]
    module.current_device = lambda: 0  # type: ignore[attr-defined]
    module._is_in_bad_fork = lambda: False  # type: ignore[attr-defined]
    module.manual_seed_all = lambda _seed: None  # type: ignore[attr-defined]
    module.get_amp_supported_dtype = lambda: [torch.bfloat16]  # type: ignore[attr-defined]
    torch._register_device_module(NAME, module)
    torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)

    from motherlode.training import precision

    precision.devices = lambda: [NAME, "cpu"]
    here = torch.ones(3, device=NAME)
    for mixed in (lambda: here + torch.ones(3), lambda: here.normal_(generator=torch.Generator())):
        try:
            mixed()
        except RuntimeError:
            continue
        raise AssertionError("the device takes what lies on another")


def main(library: str, *recipes: str) -> None:
    """Train each recipe, and generate from it where it makes samples."""
    install(library)
    torch.set_num_threads(1)
    import motherlode as ml

    for path in recipes:
        run = ml.train(ml.Recipe.load(path))
        family = run.load("last", device=NAME)
        places = {str(parameter.device) for parameter in family.parameters()}
        assert places == {f"{NAME}:0"}, places
        if family.code_space is None:
            ml.generate(run, num=2, seed=0, device=NAME)


if __name__ == "__main__":
    main(*sys.argv[1:])
