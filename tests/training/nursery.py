"""A process that has imported everything and forks trainings on request: a birth takes milliseconds, not seconds.

`Nursery` is the test's side of it; run as a program, this file is the other side. Requests come one a line as JSON:
the keywords of `work`. Answers are the child's process number and, once it has ended, its exit code.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).parent))

GAN = {"family": "gan", "network": "mlp", "width": 8, "noise": 4, "average_samples": 50}
DIED = 77


class Slow:
    """Stretches a training over time, so that a kill lands anywhere in it."""

    def __init__(self, pause_sec: float) -> None:
        self.pause_sec = pause_sec

    def update(self, progress: object) -> None:
        time.sleep(self.pause_sec)

    def event(self, kind: str, message: str, path: Path | None = None) -> None:
        time.sleep(self.pause_sec)


def work(
    out: str, steps: int = 0, call: str = "", number: int = 0, pause_sec: float = 0.0, recipe_path: str = ""
) -> None:
    """Train a tiny GAN, or what a recipe says; with `call`, die at the `number`-th use of that system call."""
    from motherlode.training.run import train

    if recipe_path:
        from motherlode.recipe import Recipe

        recipe = Recipe.load(recipe_path, [f"out={out}"])
    else:
        from doubles import tiny_recipe

        recipe = tiny_recipe(Path(out), steps=steps, model=GAN, sample_every=0.1, checkpoint_every=0.1, keep=1)
    if call:
        arm(call, number, out)
    train(recipe, progress=Slow(pause_sec) if pause_sec else None)


def arm(call: str, number: int, out: str) -> None:
    """Make the `number`-th use of a system call from now on the last thing this process does.

    Of `open` only files below `out` count: the rest is packages read by the import system.
    """
    module, name = (io, "open") if call == "open" else (os, call)
    real = getattr(module, name)
    uses = 0

    def deadly(*args: Any, **options: Any) -> Any:
        nonlocal uses
        uses += call != "open" or str(args[0]).startswith(out)
        if uses == number:
            os._exit(DIED)
        return real(*args, **options)

    setattr(module, name, deadly)


class Nursery:
    """Starts the process, asks it for trainings, ends it.

    Args:
        recipe: what all trainings are to be; None for tiny GANs on made-up data.
    """

    def __init__(self, recipe: Path | None = None) -> None:
        self.recipe = recipe

    def __enter__(self) -> Self:
        # `tokenizers` has threads of its own, and would not survive a fork with them.
        single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment = {**os.environ, **single}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.recipe or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._read() == "ready"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def start(self, **request: Any) -> int:
        """Start a training; its process number."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._read())

    def wait(self) -> int:
        """Exit code of the training that was started last; minus the signal where one ended it."""
        return int(self._read())

    def run(self, **request: Any) -> int:
        """Start a training and wait for its end."""
        self.start(**request)
        return self.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def serve(recipe_path: str) -> None:
    """The other side."""
    if not recipe_path:
        from doubles import install

        install()
    with TemporaryDirectory() as out:
        work(
            out, 2, recipe_path=recipe_path
        )  # everything that is imported late is imported now; one thread, so a fork is safe
    answer("ready")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(**json.loads(line), recipe_path=recipe_path)
                code = 0
            finally:
                os._exit(code)
        answer(child)
        answer(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def answer(value: object) -> None:
    """One line on standard output."""
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
