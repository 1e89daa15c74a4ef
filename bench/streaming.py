"""How soon sound is heard, and whether it keeps up: first piece and real-time factor of a run over fields.

    python bench/streaming.py RUN --prompt seven [--prompt …] [--task say] [--num 20] [--threads 1]

Each sample is asked for by itself, as a listener does. Reported for the first request of the process, whose code is
loaded and compiled on its way, and as median and worst of the rest. `stall_sec` above 0 would be heard as a pause.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--prompt", action="append", default=[])
    parser.add_argument("--task", default="")
    parser.add_argument("--num", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="as `lode generate --stream` uses them")
    parser.add_argument("--json", action="store_true", help="also the facts of every sample")
    asked = parser.parse_args()

    import torch

    from motherlode.generation.composer import composer
    from motherlode.generation.playing import Reach, play
    from motherlode.training.run import Run

    torch.set_num_threads(asked.threads)
    started = time.perf_counter()
    run = Run.open(asked.run)
    options = run.recipe.generate.model_copy(update={"task": asked.task})
    made_with = composer(run, options)
    openings = made_with.asked(asked.prompt or None)
    print(f"opened in {time.perf_counter() - started:.2f} s, {torch.get_num_threads()} threads")
    name = next(name for name in made_with.task.make if made_with.layout.field(name).modality == "audio")
    codec = made_with.codec(name)
    stride, num_codes = codec.codec.space.stride[0], len(codec.field.sizes)
    print(f"codec of {name}: {stride} samples a place, {num_codes} codes, {Reach.of(codec)}")
    heard = play(made_with, openings, asked.num, 0)
    found = [dict(piece.finished.facts) for piece in heard if piece.finished is not None]
    first, *rest = found
    print(f"first request: {json.dumps(first)}")
    print(f"sound: {sum(facts['seconds'] for facts in found):.1f} s in {len(found)} samples")
    for key in ("first_chunk_sec", "real_time_factor", "stall_sec"):
        values = [facts[key] for facts in rest if key in facts]
        if values:
            print(f"{key}: median {statistics.median(values):.4f}, worst {max(values):.4f}, n = {len(values)}")
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
