"""Builds the text corpus of the benchmarks from Debian's documentation packages: dirty, technical, naturally doubled.

    bench/fetch_data.sh $(python bench/text_corpus.py packages)
    python bench/text_corpus.py build FOLDER        docs.jsonl (208 MB), subset.jsonl (99 MB), large.jsonl (2 GB)

Several versions of one manual lie in different packages, so look-alikes come about as they do in the wild. The large
file holds ten versions of `docs.jsonl`: in each, three words in ten are replaced by others, always the same by the
same, so that texts alike in one version stay alike, and no text is like its counterpart in another version.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

_NAMES = """
apache2-doc clang-13-doc clang-14-doc clang-15-doc clang-16-doc clang-19-doc clang-22-doc cmake-doc
debian-reference-zh-cn git-doc libboost1.74-doc libboost1.81-doc libglib2.0-doc libglibmm-2.4-doc libglibmm-2.68-doc
libgtk2.0-doc libgtk-3-doc libgtk-4-doc libgtkmm-2.4-doc libgtkmm-3.0-doc libgtkmm-4.0-doc libreoffice-help-en-gb
libreoffice-help-en-us libreoffice-help-zh-cn linux-doc-6.1 linux-doc-6.12 llvm-13-doc llvm-14-doc llvm-15-doc
llvm-16-doc llvm-19-doc llvm-22-doc manpages-zh openjdk-17-doc postgresql-doc-15 python-django-doc python3.11-doc
ruby3.1-doc sqlite3-doc
"""
PACKAGES = _NAMES.split()
DOCS_BYTES, SUBSET_BYTES = 208_000_000, 99_000_000
LEAST_CHARACTERS = 200
COPIES = 10
ALTERED = 0.3
RAW = Path(__file__).resolve().parents[1] / "datasets" / "raw"


def text_of(path: Path) -> str:
    """The text of a file of a documentation package; "" where it has none."""
    name = path.name.removesuffix(".gz")
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if name.endswith((".html", ".htm", ".xhtml")):
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.html import HTMLTree

        return str(extract_plain_text(HTMLTree.parse_from_bytes(data, "utf-8"), main_content=True))
    if name.endswith((".txt", ".rst", ".md")) or re.search(r"\.[1-8]$", name):
        return data.decode("utf-8", errors="replace")
    return ""


def package_texts(package: str) -> list[dict[str, str]]:
    folder = RAW / package
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            text = text_of(path).strip()
            if len(text) >= LEAST_CHARACTERS:
                found.append({"text": text, "source": package, "path": str(path.relative_to(folder))})
    return found


def family(row: dict[str, str]) -> str:
    """Equal for the versions of a page: decides which rows are taken, so that versions are taken together."""
    name = re.sub(r"[0-9.]+", "", "/".join(row["path"].split("/")[-2:]))
    return hashlib.sha256(name.encode()).hexdigest()


def line(row: dict[str, str]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def at_most(rows: list[dict[str, str]], num_bytes: int) -> Iterator[dict[str, str]]:
    total = 0
    for row in rows:
        total += len(row["text"].encode())
        if total > num_bytes:
            return
        yield row


def altered(copy: int, words: list[str]) -> Callable[[re.Match[str]], str]:
    """Replaces the same words by the same others throughout one copy."""
    known: dict[str, str] = {}

    def change(match: re.Match[str]) -> str:
        word = match.group()
        if word not in known:
            draw = int.from_bytes(hashlib.sha256(f"{copy} {word}".encode()).digest()[:8], "little")
            known[word] = words[(draw >> 20) % len(words)] if draw % 1000 < 1000 * ALTERED else word
        return known[word]

    return change


def write(path: Path, rows: Any) -> None:
    num = size = 0
    with path.open("wb") as file:
        for row in rows:
            num, size = num + 1, size + len(row["text"].encode())
            file.write(line(row))
    print(f"{path}: {num:,} texts, {size / 1e6:.0f} MB of text")


def build(folder: Path, workers: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        rows = [row for found in pool.map(package_texts, PACKAGES) for row in found]
    print(f"all: {len(rows):,} texts, {sum(len(row['text'].encode()) for row in rows) / 1e6:.0f} MB of text")
    rows.sort(key=lambda row: (family(row), row["source"], row["path"]))
    docs = list(at_most(rows, DOCS_BYTES))
    # The order of files on a disk, in which versions lie far apart.
    in_order = sorted(docs, key=lambda row: (row["source"], row["path"]))
    write(folder / "docs.jsonl", in_order)
    subset = list(at_most(docs, SUBSET_BYTES))
    write(folder / "subset.jsonl", sorted(subset, key=lambda row: (row["source"], row["path"])))
    words = sorted({word for row in docs[::40] for word in re.findall(r"\w+", row["text"])})
    write(folder / "large.jsonl", copies(in_order, words))


def copies(rows: list[dict[str, str]], words: list[str]) -> Iterator[dict[str, str]]:
    for copy in range(COPIES):
        change = altered(copy, words)
        for row in rows:
            yield row | {"text": re.sub(r"\w+", change, row["text"]), "path": f"{copy}/{row['path']}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["packages", "build"])
    parser.add_argument("folder", type=Path, nargs="?", default=RAW.parent / "debian-docs")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    if chosen.what == "packages":
        print(*PACKAGES)
    else:
        build(chosen.folder, chosen.workers)


if __name__ == "__main__":
    main()
