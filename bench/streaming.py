"""How soon sound is heard, and whether it keeps up: first piece and real-time factor of a run over fields.

    python bench/streaming.py RUN --prompt seven [--prompt …] [--task say] [--num 20] [--threads 1]

Each sample is asked for by itself, as a listener does. Reported for the first request after the run was opened, and as
median and worst of the rest; also in seconds of this process's own processor time, which other programs do not touch.
`stall_sec` above 0 would be heard as a pause.
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
    from motherlode.generation.playing import Player
    from motherlode.training.run import Run

    torch.set_num_threads(asked.threads)
    started = time.perf_counter()
    run = Run.open(asked.run)
    options = run.recipe.generate.model_copy(update={"task": asked.task})
    made_with = composer(run, options)
    openings = made_with.asked(asked.prompt or None)
    player = Player.open(made_with)
    print(f"opened in {time.perf_counter() - started:.2f} s, {torch.get_num_threads()} threads")
    codec = made_with.codec(player.name)
    stride, num_codes = codec.codec.space.stride[0], len(codec.field.sizes)
    print(f"codec of {player.name}: {stride} samples a place, {num_codes} codes, {player.reach}")
    found, used_sec, before = [], list[float](), time.process_time()
    for piece in player.play(openings, asked.num, 0):
        if len(used_sec) == len(found):
            used_sec.append(time.process_time() - before)
        if piece.finished is not None:
            found.append({**piece.finished.facts, "first_chunk_cpu_sec": round(used_sec[-1], 4)})
            before = time.process_time()
    first, *rest = found
    print(f"first request: {json.dumps(first)}")
    print(f"sound: {sum(facts['seconds'] for facts in found):.1f} s in {len(found)} samples")
    for key in ("first_chunk_sec", "first_chunk_cpu_sec", "real_time_factor", "stall_sec"):
        values = [facts[key] for facts in rest if key in facts]
        if values:
            print(f"{key}: median {statistics.median(values):.4f}, worst {max(values):.4f}, n = {len(values)}")
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
