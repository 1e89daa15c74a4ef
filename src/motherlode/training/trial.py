"""`python -m motherlode.training.trial recipe.yaml SETTING`: time a setting in a process of its own.

`precision` runs this for compiled settings, so that a crash of the compiler is a note in the run and not its end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from motherlode.recipe import Recipe
from motherlode.training import precision
from motherlode.training.assembly import Assembly
from motherlode.training.loop import Setting

_WARM_UP_STEPS = 2
_TIMED_STEPS = 8


def main(recipe_path: str, setting_json: str) -> float:
    """Seconds a step takes once everything is compiled: the fastest of eight."""
    setting = Setting(**json.loads(setting_json))
    precision.keep_freed_memory()
    with setting.pool():
        engine = Assembly.of(Recipe.load(Path(recipe_path))).engine(setting)
        for _ in range(_WARM_UP_STEPS):
            precision.timed_step(engine)
        return min(precision.timed_step(engine) for _ in range(_TIMED_STEPS))


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"seconds": main(*sys.argv[1:3])}) + "\n")
