"""What a recipe over fields names, opened: datasets, codecs, the tokenizer with every field's tokens, documents.

Rows of another dataset are joined by a key: the stem of a row's file, so that `stamps/cat.png` goes with
`speech/cat.wav`. A row without a partner, without a text or without a label lacks that field, and is left out where
no task can do without it; each kind is counted. The text's tokenizer is learnt from the training rows alone; the tokens
of the fields are appended to it in one go, and `fields.json` beside it says what they mean.

Shape legend: N rows of a split of the main dataset, S rows of a field's own dataset (training, then held out).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode import registry, storage
from motherlode import tokenizer as tokenizers
from motherlode.data.compositions import Compositions, Part
from motherlode.data.dataset import Dataset
from motherlode.data.loader import cache_home
from motherlode.data.tokens import TRAINED_ON_BYTES, open_texts, train_once
from motherlode.errors import DatasetError, RecipeError
from motherlode.fields import FILE, Field, Kind, Layout, Task
from motherlode.modality import SampleSpec
from motherlode.randomness import numpy_generator
from motherlode.recipe import DataOptions, FieldOptions
from motherlode.tokenizer import LEAST_VOCABULARY, Tokenizer
from motherlode.tokenizer_files import tokenizer_files
from motherlode.training.codes import SPLITS, Codec, open_codes

CODECS = "codecs"
"""Folder of a run that holds a copy of the codec of each field."""
_END = "<|end|>"


@dataclass(frozen=True)
class Corpus:
    """The documents of a recipe over fields.

    Args:
        dataset: whose rows and split decide the documents.
        data: the recipe's section.
        sources: the dataset of each field.
        codecs: of the fields that have one.
        kept: a run's tokenizer with its fields; None makes it of the data.
    """

    dataset: Dataset
    data: DataOptions
    sources: Mapping[str, Dataset]
    codecs: Mapping[str, Codec]
    kept: Tokenizer | None = None

    @classmethod
    def open(cls, dataset: Dataset, data: DataOptions, run: Path, *, trained: bool = False) -> Corpus:
        """Open what the recipe names.

        Args:
            dataset: the main one.
            data: the recipe's section.
            run: folder of the run, whose copies of the codecs serve where those of the recipe are gone.
            trained: take the run's copies and its tokenizer, and nothing else.

        Raises:
            RecipeError: a codec is no codec, or does not fit the media of its dataset.
            DatasetError: a dataset, a column or labels are missing.
        """
        sources, codecs = {}, {}
        for name, options in data.fields.items():
            sources[name] = Dataset.open(options.path) if options.path else dataset
            if options.codec:
                copy = run / CODECS / name
                there = trained or not (Path(options.codec) / "run.json").is_file()
                codecs[name] = Codec.open(copy if there and copy.is_dir() else options.codec, name)
                _check_codec(name, codecs[name], sources[name])
            else:
                _check_column(name, options, sources[name])
        kept = tokenizers.load(run / "tokenizer") if trained else None
        return cls(dataset, data, sources, codecs, kept)

    # ------------------------------------------------------------------------------------------------------------- rows

    @cached_property
    def _rows(self) -> dict[tuple[str, str], NDArray[np.int64]]:
        return {(name, split): self._source_rows(name, split) for name in self.sources for split in SPLITS}

    def _source_rows(self, name: str, split: str) -> NDArray[np.int64]:
        """Of each row of a split the row of the field's own dataset, int64 (N,); -1 where it has none.

        Raises:
            DatasetError: several rows of that dataset have one key, or no training row has a partner.
        """
        source = self.sources[name]
        if not self.data.fields[name].path:
            before = 0 if split == SPLITS[0] else len(self.dataset.split(SPLITS[0]))
            return before + np.arange(len(self.dataset.split(split)))
        places: dict[str, int] = {}
        keys, mine = keys_of(source, SPLITS), keys_of(self.dataset, [split]).tolist()
        for row, key in enumerate(keys.tolist()):
            if places.setdefault(key, row) != row and key:
                raise DatasetError(
                    "rows are joined by the stem of their files, so a stem must name one row of a joined dataset",
                    f"{source.path}: {key!r} names more than one",
                    "give its files names of their own, the same as their partners'",
                )
        found_N = np.array([places.get(key, -1) if key else -1 for key in mine], np.int64)
        if split == SPLITS[0] and not (found_N >= 0).any():
            raise DatasetError(
                "rows of two datasets belong together whose files share a stem (`a/cat.png` and `b/cat.wav`: cat)",
                f"{name}: none of {len(found_N):,} training rows of {self.dataset.path} (the first: {mine[0]!r}) has a "
                f"partner in {source.path} (the first: {keys[0] if len(keys) else ''!r})",
                "name the files alike, and prepare both datasets again",
            )
        return found_N

    def texts(self) -> Iterator[str]:
        """Texts of the training rows, field after field: all, or a random share of about `TRAINED_ON_BYTES`."""
        names = [name for name, kind in self.kinds.items() if kind == "text"]
        total_bytes = sum(len(text.encode()) for name in names for text in self._training_texts(name))
        share = min(1.0, TRAINED_ON_BYTES / max(total_bytes, 1))
        for name in names:
            rng = numpy_generator(0, f"tokenizer documents {name}")
            yield from (text for text in self._training_texts(name) if rng.random() < share)

    def _training_texts(self, name: str) -> Iterator[str]:
        source, column = self.sources[name], self.data.fields[name].column or name
        rows_N = self._rows[name, SPLITS[0]]
        wanted = np.zeros(len(source), bool)
        wanted[rows_N[rows_N >= 0]] = True
        first = 0
        for split in SPLITS:
            for batch in source.split(split).batches([column]) if len(source.split(split)) else ():
                here = wanted[first : first + batch.num_rows].tolist()
                first += batch.num_rows
                yield from (text for text, use in zip(batch.column(0).to_pylist(), here) if use and text)

    # ----------------------------------------------------------------------------------------------------------- tokens

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each field is."""
        found: dict[str, Kind] = {}
        for name, options in self.data.fields.items():
            found[name] = "codes" if options.codec else "label" if options.is_label(name) else "text"
        return found

    @cached_property
    def _text_tokenizer(self) -> Tokenizer:
        """Text's own tokens, without those of fields."""
        if self.kept is not None:
            return self.kept
        if self.data.tokenizer != "auto":
            return text_only(tokenizers.load(self.data.tokenizer), cache_home(self.dataset))
        columns = [
            [self.sources[name].id, self.data.fields[name].column or name]
            for name, kind in self.kinds.items()
            if kind == "text"
        ]
        vocabulary = self.data.vocabulary if columns else LEAST_VOCABULARY
        key = storage.hash_bytes(json.dumps([self.dataset.id, vocabulary, tokenizers.SPECIAL, columns]).encode())[:12]
        return train_once(cache_home(self.dataset) / f"tokenizer-{vocabulary}-{key}", vocabulary, self.texts)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Text's tokens and every field's, in a folder with `fields.json`."""
        return self.kept or extended(self._text_tokenizer, self._fields(), self._tasks(), cache_home(self.dataset))

    @cached_property
    def layout(self) -> Layout:
        """The one token space.

        Raises:
            CorruptError: the folder's `fields.json` cannot be understood.
        """
        found = Layout.load(self.tokenizer.folder)
        assert found is not None
        return found

    def spec(self) -> SampleSpec:
        """Windows of tokens."""
        return SampleSpec("text", (self.data.length,), tokens=self.tokenizer.space())

    def _tasks(self) -> list[Task]:
        return [Task(name, options.given, options.make, options.weight) for name, options in self.data.tasks.items()]

    def _fields(self) -> list[Field]:
        """The fields, before they have their ids."""
        found = []
        for name, kind in self.kinds.items():
            counts_N = self._stretches[name][2][self._used(name, SPLITS[0])]
            most = int(max(counts_N.max(initial=1), 1))
            if kind == "codes":
                codec = self.codecs[name]
                grid = (*codec.space.grid[:-1], 0) if codec.is_ragged else codec.space.grid
                field = Field(name, kind, 0, 0, codec.space.sizes, grid, codec.run.spec.modality, max_tokens=most)
            elif kind == "label":
                labels = tuple(self.sources[name].labels)
                field = Field(name, kind, 0, 0, (len(labels),), labels=labels)
            else:
                field = Field(name, kind, 0, 0, (len(self._text_tokenizer),), max_tokens=most)
            found.append(field)
        return found

    def _used(self, name: str, split: str) -> NDArray[np.int64]:
        rows_N = self._rows[name, split]
        return rows_N[rows_N >= 0]

    # -------------------------------------------------------------------------------------------------------- documents

    @cached_property
    def _stretches(self) -> dict[str, tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]]:
        return {name: self._open(name) for name in self.sources}

    def _open(self, name: str) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
        """A field of every row of its own dataset: values (T,), mapped; where each row's begin and how many, (S,)."""
        kind, source = self.kinds[name], self.sources[name]
        if kind == "codes":
            values_T, counts_S = open_codes(source, self.codecs[name])
            return values_T, np.cumsum(counts_S) - counts_S, counts_S
        if kind == "label":
            labels_S = np.concatenate([_column(source, split, "label") for split in SPLITS]).astype(np.int64)
            return labels_S, np.arange(len(labels_S)), (labels_S >= 0).astype(np.int64)
        packed = open_texts(source, SPLITS, self._text_tokenizer, self.data.fields[name].column or name)
        return packed.tokens_T, packed.starts_N1[:-1] + 1, np.diff(packed.starts_N1) - 1

    def parts(self, split: str) -> list[Part]:
        """Every field of the rows of a split."""
        found = []
        for field in self.layout.fields:
            values_T, starts_S, counts_S = self._stretches[field.name]
            rows_N = self._rows[field.name, split]
            counts_N = np.where(rows_N >= 0, counts_S[rows_N], 0) if len(counts_S) else np.zeros(len(rows_N), np.int64)
            starts_N = starts_S[rows_N] if len(starts_S) else np.zeros(len(rows_N), np.int64)
            found.append(Part(field, values_T, starts_N, np.where(counts_N > 0, counts_N, -1)))
        return found

    def loader(self, split: str, *, seed: int, batch: int, **options: Any) -> Compositions:
        """Windows of documents of a split; see `Compositions`."""
        return Compositions(self.parts(split), self.layout, self.spec(), seed=seed, batch=batch, **options)

    # ------------------------------------------------------------------------------------------------------------ facts

    @property
    def identity(self) -> dict[str, Any]:
        """What the fields are made of, wherever it lies."""
        return {
            name: {
                "column": options.column,
                "codec": self.codecs[name].digest if options.codec else "",
                "dataset": self.sources[name].id if options.path else "",
            }
            for name, options in self.data.fields.items()
        }

    def copy_codecs(self, run: Path) -> None:
        """Put a copy of every codec into a run's folder, which so can be moved and makes samples alone."""
        for name, codec in self.codecs.items():
            target = run / CODECS / name
            if codec.run.path.resolve() == target.resolve() or (
                (target / storage.MANIFEST).is_file() and Codec.open(target, name).digest == codec.digest
            ):
                continue
            best = codec.run.checkpoint("best")
            target.parent.mkdir(parents=True, exist_ok=True)
            with storage.atomic_folder(target) as temporary:
                for file in ("run.json", "recipe.yaml"):
                    shutil.copyfile(codec.run.path / file, temporary / file)
                shutil.copytree(best, temporary / best.parent.name / best.name)


def text_only(tokenizer: Tokenizer, home: Path) -> Tokenizer:
    """A tokenizer without the tokens of fields that `extended` appended; any other as it is.

    So one run over fields can take the tokenizer of another, whose weights it starts from.

    Args:
        tokenizer: of a text, or of a run over fields.
        home: the folder without them goes into it.
    """
    layout = Layout.load(tokenizer.folder)
    if layout is None:
        return tokenizer
    folder = home / f"tokenizer-text-{tokenizer.digest[:12]}"
    if not (folder / tokenizers.FILE).is_file():
        content, theirs = json.loads(tokenizer.backend.to_str()), {*layout.names}
        content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in theirs]
        storage.write_text(folder / tokenizers.FILE, json.dumps(content, ensure_ascii=False))
    return tokenizers.load(folder)


def extended(tokenizer: Tokenizer, fields: Sequence[Field], tasks: Sequence[Task], home: Path) -> Tokenizer:
    """A tokenizer with the tokens of fields appended, in a folder that also holds `fields.json`.

    Args:
        tokenizer: of the text.
        fields: in order.
        tasks: of them.
        home: the folder goes into it, under a name that its content decides.

    Raises:
        DatasetError: its ids have holes, so that none can be appended.
    """
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend

    backend = Backend.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens([AddedToken(_END, special=True)])
    end, num_text_tokens = int(backend.token_to_id(_END) or 0), backend.get_vocab_size(with_added_tokens=True)
    layout = Layout.build(fields, tasks, end=end, num_text_tokens=num_text_tokens)
    key = storage.hash_bytes(f"{tokenizer.digest} {layout.to_json()}".encode())[:12]
    folder = home / f"tokenizer-fields-{key}"
    if not (folder / tokenizers.FILE).is_file():
        backend.add_special_tokens([AddedToken(name, special=True) for name in layout.names])
        first, last = backend.token_to_id(layout.names[0]), backend.token_to_id(layout.names[-1])
        if (first, last) != (num_text_tokens, layout.num_tokens - 1):
            raise DatasetError(
                "a tokenizer's ids must run from 0 on without holes, so that tokens can be appended",
                f"{tokenizer.folder}: {num_text_tokens} tokens, and the next one gets id {first}",
                "use data.tokenizer: auto",
            )
        for name, content in tokenizer_files(tokenizer.folder).items():
            if name != tokenizers.FILE and (tokenizer.folder / name).is_file():
                storage.write_text(folder / name, content.decode())
        storage.write_text(folder / FILE, layout.to_json())
        storage.write_text(folder / tokenizers.FILE, backend.to_str(pretty=False))
    return tokenizers.load(folder)


def keys_of(dataset: Dataset, splits: Sequence[str]) -> NDArray[Any]:
    """The stem of each row's file, object (N,); "" where a row came from no file."""
    found: list[str] = []
    stored = registry.find("modality", dataset.modality).stored
    for split in splits:
        if not len(dataset.split(split)):
            continue
        for batch in dataset.split(split).batches(["path"] if stored == "text" else [f"{dataset.column}.path"]):
            column = batch.column(0) if stored == "text" else batch.column(0).field("path")
            found += [PurePosixPath(uri or "").stem for uri in column.to_pylist()]
    keys = np.empty(len(found), object)
    keys[:] = found
    return keys


def _column(dataset: Dataset, split: str, name: str) -> NDArray[Any]:
    return dataset.split(split).column(name) if len(dataset.split(split)) else np.zeros(0, np.int64)


def _check_codec(name: str, codec: Codec, source: Dataset) -> None:
    if codec.run.spec.modality != source.modality:
        raise RecipeError(
            f"data.fields.{name}.codec must be one of {source.modality}, which its dataset holds",
            f"{codec.run.path}: a codec of {codec.run.spec.modality}",
            f"name a codec of {source.modality}, or `path:` of a dataset of {codec.run.spec.modality}",
        )


def _check_column(name: str, options: FieldOptions, source: Dataset) -> None:
    if options.is_label(name):
        if not source.labels:
            raise DatasetError(
                f"data.fields.{name} needs labels", f"{source.path} has none", "prepare it with labels, or leave it out"
            )
        return
    column, known = options.column or name, source.split("train").columns
    if column not in known:
        raise DatasetError(
            f"data.fields.{name} must name a column of its dataset, or a codec",
            f"{source.path}: no column {column!r}",
            registry.did_you_mean(column, known),
        )
    kind = str(source.split("train").schema.field(column).type)
    if kind not in ("string", "large_string"):
        raise DatasetError(
            f"data.fields.{name} must name a column of texts", f"{source.path}: {column!r} holds {kind}", "name another"
        )
