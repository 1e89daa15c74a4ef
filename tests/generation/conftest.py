from __future__ import annotations

from collections.abc import Iterator

import pytest

from motherlode import registry, tokenizer
from motherlode.tokenizer import Tokenizer, TokenSpace
from motherlode.training.run import Run

from .fielded import Blocks
from .runs import CORPUS, text_run


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A byte-level tokenizer of 400 tokens."""
    return tokenizer.train(CORPUS * 3, 400, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def space(words: Tokenizer) -> TokenSpace:
    return words.space()


@pytest.fixture(scope="session")
def gpt_run(space: TokenSpace, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A GPT run; copy it before writing to it."""
    return text_run(tmp_path_factory.mktemp("runs") / "stories", space)


@pytest.fixture(scope="session")
def bert_run(space: TokenSpace, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A BERT run that writes by filling masks; copy it before writing to it."""
    return text_run(tmp_path_factory.mktemp("runs") / "gaps", space, family="bert", mask_rate="uniform")


@pytest.fixture(scope="module")
def known_blocks() -> Iterator[None]:
    """`blocks` is a family as long as these tests run."""
    found = registry.find
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            registry, "find", lambda kind, name: Blocks if (kind, name) == ("family", "blocks") else found(kind, name)
        )
        yield
