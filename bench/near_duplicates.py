"""How many near-duplicates are found, and how many of those found are none, against the truth.

    python bench/near_duplicates.py check                   the truth's own search against all pairs, on 600 texts
    python bench/near_duplicates.py score DOCS.jsonl        Motherlode's recall and precision (bench/text_corpus.py)
    python bench/near_duplicates.py peers DOCS.jsonl        the same of rensa, datasketch and datatrove, where installed

The truth: texts whose sets of word 5-grams have a Jaccard index of .75 or more are joined, sets of joined texts are
clusters, and all of a cluster but its first text should go. It is found by an exact search (a prefix filter: Bayardo,
Ma and Srikant 2007) over sets made by Python's `re`, which shares no code with what it judges.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np

THRESHOLD = 0.75
_ALONE = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
TOKEN = re.compile(rf"[{_ALONE}]|(?:(?![{_ALONE}])[^\W_])+")
"""An ideograph or kana alone, or a run of letters and digits."""


def texts_of(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def sets_of(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct word 5-grams of each text as numbers, most rare first, one after another; where each begins."""
    random = np.random.default_rng(0)
    known: dict[str, int] = {}
    words = random.integers(1, 1 << 63, 1 << 22, np.uint64)
    weights = random.integers(1, 1 << 63, 5, np.uint64) | np.uint64(1)
    grams, sizes = [], []
    for text in texts:
        ids = np.array([known.setdefault(token, len(known)) for token in TOKEN.findall(text.lower())], np.int64)
        hashes = words[ids]
        num = max(len(ids) - 4, min(len(ids), 1))
        total = np.zeros(num, np.uint64)
        for place, weight in enumerate(weights):
            piece = hashes[place : place + num]
            total[: len(piece)] += piece * weight
        found = np.unique(total ^ (total >> np.uint64(31)))
        grams.append(found)
        sizes.append(len(found))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    _, numbers, counts = np.unique(np.concatenate(grams), return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    ranks = rank[numbers]
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist()):
        ranks[start:stop].sort()
    return ranks, starts


@numba.njit(cache=True)
def overlap(ranks, start_a, end_a, start_b, end_b):
    i, j, num = start_a, start_b, 0
    while i < end_a and j < end_b:
        a, b = ranks[i], ranks[j]
        num += a == b
        i += a <= b
        j += b <= a
    return num


@numba.njit(cache=True)
def exact_pairs(ranks, starts, order, lists, ends, threshold, pairs):
    """All pairs at or above the threshold. `lists[r] : ends` are the posting lists of prefixes, filled here."""
    num = 0
    seen = np.full(order.shape[0], -1, np.int64)
    fill = lists[:-1].copy()
    for x in order:
        size = starts[x + 1] - starts[x]
        prefix = size - int(np.ceil(threshold * size - 1e-9)) + 1 if size else 0
        for k in range(starts[x], starts[x] + prefix):
            for p in range(lists[ranks[k]], fill[ranks[k]]):
                y = ends[p]
                other = starts[y + 1] - starts[y]
                if seen[y] == x or other < threshold * size - 1e-9:
                    continue
                seen[y] = x
                both = overlap(ranks, starts[x], starts[x + 1], starts[y], starts[y + 1])
                if both >= threshold * (size + other - both) - 1e-9:
                    if num < pairs.shape[0]:
                        pairs[num, 0], pairs[num, 1] = min(x, y), max(x, y)
                    num += 1
            ends[fill[ranks[k]]] = x
            fill[ranks[k]] += 1
    return num


def true_pairs(ranks: np.ndarray, starts: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    sizes = np.diff(starts)
    order = np.argsort(sizes, kind="stable")
    prefixes = np.where(sizes > 0, sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1, 0)
    held = np.concatenate([ranks[s : s + p] for s, p in zip(starts[:-1].tolist(), prefixes.tolist())])
    lists = np.concatenate([[0], np.cumsum(np.bincount(held, minlength=int(ranks.max()) + 1))])
    pairs = np.empty((1 << 24, 2), np.int64)
    num = exact_pairs(ranks, starts, order, lists, np.empty(len(held), np.int64), threshold, pairs)
    if num > len(pairs):
        raise SystemExit(f"{num} pairs are more than {len(pairs)}")
    return pairs[:num]


def clusters_of(num: int, pairs: np.ndarray) -> np.ndarray:
    """The first text of each text's connected component, by SciPy."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (num, num))
    labels = connected_components(graph, directed=False)[1]
    return np.unique(labels, return_index=True)[1][labels]


def score(found: np.ndarray, truth: np.ndarray) -> str:
    """Of the texts to be removed, those removed; of those removed, those to be removed."""
    is_out, should = found != np.arange(len(found)), truth != np.arange(len(truth))
    both = int((is_out & should).sum())
    return (
        f"{int(is_out.sum()):,} removed of {int(should.sum()):,}: recall {both / max(should.sum(), 1):.4f}, "
        f"precision {both / max(is_out.sum(), 1):.4f}"
    )


def motherlode(texts: list[str]) -> np.ndarray:
    from motherlode.data.minhash import near_duplicates
    from motherlode.modality.text import shingles

    start, used = time.perf_counter(), time.process_time()
    encoded = [text.encode() for text in texts]
    buffer = np.frombuffer(b"".join(encoded), np.uint8)
    offsets = np.concatenate([[0], np.cumsum([len(item) for item in encoded])])
    bands = shingles.band_hashes(buffer, offsets)
    hashed, used_hashed = time.perf_counter(), time.process_time()

    def grams(rows: Any) -> Any:
        sizes = offsets[rows + 1] - offsets[rows]
        block = np.concatenate([buffer[offsets[row] : offsets[row + 1]] for row in rows.tolist()])
        return shingles.gram_hashes(block, np.concatenate([[0], np.cumsum(sizes)]), 5)

    with tempfile.TemporaryDirectory() as folder:
        found = near_duplicates(
            bands, np.arange(len(texts)), np.diff(offsets), grams, Path(folder) / "bands.bin", threshold=THRESHOLD
        )
    stop, used_stop = time.perf_counter(), time.process_time()
    print(
        f"bands, one thread: {hashed - start:.2f} s ({used_hashed - used:.2f} s of processor); "
        f"search: {stop - hashed:.2f} s ({used_stop - used_hashed:.2f} s of processor); "
        f"{found.num_candidates:,} pairs compared, {found.num_verified:,} alike, "
        f"{found.num_exhausted:,} rows not compared with all of their buckets"
    )
    return found.cluster_N


def shingles_of(text: str) -> list[str]:
    tokens = TOKEN.findall(text.lower())
    return [" ".join(tokens[i : i + 5]) for i in range(max(len(tokens) - 4, min(len(tokens), 1)))]


def of_candidates(num: int, found: Any) -> np.ndarray:
    """Clusters of pairs (i, j), each text named by the first of its cluster."""
    pairs = np.array(sorted({(min(i, j), max(i, j)) for i, j in found if i != j}), np.int64).reshape(-1, 2)
    return clusters_of(num, pairs)


def verified(texts: list[str], found: Any) -> Any:
    """The pairs whose Jaccard index reaches the threshold."""
    sets: dict[int, set[str]] = {}
    for i, j in found:
        for row in (i, j):
            if row not in sets:
                sets[row] = set(shingles_of(texts[row]))
        either = len(sets[i] | sets[j])
        if either and len(sets[i] & sets[j]) >= THRESHOLD * either:
            yield i, j


def datasketch_pairs(texts: list[str]) -> Any:
    import datasketch

    index = datasketch.MinHashLSH(threshold=THRESHOLD, num_perm=128)
    for row, text in enumerate(texts):
        hashes = datasketch.MinHash(num_perm=128)
        hashes.update_batch([item.encode() for item in shingles_of(text)])
        yield from ((row, other) for other in index.query(hashes))
        index.insert(row, hashes)


def rensa_pairs(texts: list[str]) -> Any:
    import rensa

    index = rensa.RMinHashLSH(THRESHOLD, 128, 16)
    for row, text in enumerate(texts):
        hashes = rensa.RMinHash(128, 42)
        hashes.update(shingles_of(text))
        yield from ((row, other) for other in index.query(hashes))
        index.insert(row, hashes)


def datatrove_pairs(texts: list[str]) -> Any:
    """Its four stages, 14 bands of 8, in as many processes as there are cores; duplicates within clusters as pairs."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader

    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        cores = len(os.sched_getaffinity(0))
        size = -(-len(texts) // cores)
        for part in range(cores):
            with (folder / "in" / f"{part}.jsonl").open("w", encoding="utf-8") as file:
                for row in range(part * size, min((part + 1) * size, len(texts))):
                    file.write(json.dumps({"text": texts[row], "id": str(row)}) + "\n")

        def run(steps: list[PipelineStep], tasks: int) -> None:
            LocalPipelineExecutor(
                steps, tasks=tasks, workers=cores, logging_dir=f"{folder}/log-{len(steps)}-{tasks}"
            ).run()

        reader = JsonlReader(f"{folder}/in", id_key="id")
        run([reader, MinhashDedupSignature(f"{folder}/signatures", config=config, language="eng")], cores)
        run([MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)], config.num_buckets)
        cluster = MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config=config, save_cluster_id=True)
        run([cluster], 1)
        yield from datatrove_removed(folder / "remove", size)


def datatrove_removed(folder: Path, size: int) -> Any:
    """(row, its cluster's first row) from its files of removed rows: numbers within each part."""
    import struct

    members: dict[int, list[int]] = {}
    for path in sorted(folder.glob("*.clusters")):
        data = path.read_bytes()
        for row, cluster in struct.iter_unpack("<II", data):
            members.setdefault(cluster, []).append(int(path.name.split(".")[0]) * size + row)
    for rows in members.values():
        yield from ((min(rows), row) for row in rows)


def peers(texts: list[str], truth: np.ndarray) -> None:
    """Wall and processor seconds, children included, of what is installed here."""
    runs = {"rensa": rensa_pairs, "datasketch": datasketch_pairs, "datatrove": datatrove_pairs}
    for name, find in runs.items():
        start, used = time.perf_counter(), sum(os.times()[:4])
        try:
            pairs = list(find(texts))
        except ImportError as error:
            print(f"{name}: {error}")
            continue
        middle, used_middle = time.perf_counter(), sum(os.times()[:4])
        print(
            f"{name}: {middle - start:.1f} s ({used_middle - used:.1f} s of processor), "
            f"{score(of_candidates(len(texts), pairs), truth)}"
        )
        if name == "datatrove":
            continue  # It gives clusters, not the pairs they are made of.
        checked = list(verified(texts, pairs))
        stop, used_stop = time.perf_counter(), sum(os.times()[:4])
        print(
            f"{name} + verify: {stop - start:.1f} s ({used_stop - used:.1f} s of processor), "
            f"{score(of_candidates(len(texts), checked), truth)}"
        )


def check() -> None:
    """The exact search against every pair, on small vocabularies, where much overlaps."""
    random = np.random.default_rng(0)
    for trial in range(20):
        base = [random.integers(0, 9, random.integers(0, 60)) for _ in range(30)]
        texts = []
        for _ in range(60):
            words = base[random.integers(30)].copy()
            for place in random.integers(0, max(len(words), 1), random.integers(0, 4)):
                words[place : place + 1] = random.integers(9)
            texts.append(" ".join(map(str, words)))
        ranks, starts = sets_of(texts)
        sets = [set(ranks[s:e].tolist()) for s, e in itertools.pairwise(starts)]
        brute = {
            (i, j)
            for j in range(60)
            for i in range(j)
            if sets[i] | sets[j] and len(sets[i] & sets[j]) >= THRESHOLD * len(sets[i] | sets[j])
        }
        assert set(map(tuple, true_pairs(ranks, starts).tolist())) == brute, trial
    print("20 x 60 texts: the exact search finds just the pairs that comparing all pairs finds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["check", "score", "peers"])
    parser.add_argument("docs", type=Path, nargs="?")
    chosen = parser.parse_args()
    if chosen.what == "check":
        check()
        return
    texts = texts_of(chosen.docs)
    truth_path = chosen.docs.with_suffix(".truth.npy")
    if truth_path.exists():
        truth = np.load(truth_path)
    else:
        start = time.perf_counter()
        truth = clusters_of(len(texts), true_pairs(*sets_of(texts)))
        np.save(truth_path, truth)
        print(f"truth found in {time.perf_counter() - start:.0f} s")
    print(f"{len(texts):,} texts, {sum(len(text.encode()) for text in texts) / 1e6:.0f} MB")
    if chosen.what == "peers":
        peers(texts, truth)
    else:
        print("motherlode:", score(motherlode(texts), truth))


if __name__ == "__main__":
    main()
