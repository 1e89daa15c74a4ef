from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from motherlode.errors import RecipeError
from motherlode.networks.language import attention, decoder
from motherlode.networks.language.sizes import SIZES, Frame, frame_of
from motherlode.randomness import torch_generator
from motherlode.tokenizer import TokenSpace

SPACE = TokenSpace(vocabulary=90, bos=0, pad=1, mask=2, folder="nowhere")
FRAME = Frame(32, 2, 2)
LENGTH = 24
ARCHITECTURES: list[decoder.Architecture] = ["nanochat", "qwen3"]


def packed(rows: int = 3) -> Tensor:
    tokens = torch.randint(3, 90, (rows, LENGTH), generator=torch_generator(0, "tokens"))
    tokens[0, 7] = tokens[1, 0] = tokens[1, 5] = tokens[1, 6] = 0
    return tokens


def stirred(architecture: decoder.Architecture) -> Any:
    """A network none of whose branches is zero."""
    network = decoder.build(architecture, FRAME, SPACE, LENGTH, 0)
    rng = torch_generator(1, "stir")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng) * 0.1)
    return network


def test_documents_begin_at_bos() -> None:
    tokens = torch.tensor([[5, 6, 0, 7, 0, 0, 8]])
    starts = attention.document_starts(tokens, 0)
    assert starts.tolist() == [[0, 0, 2, 2, 4, 5, 5]]
    allowed = attention.document_mask(starts)[0, 0]
    documents = (tokens[0] == 0).cumsum(0)
    expected = (documents[:, None] == documents[None]) & torch.ones(7, 7, dtype=torch.bool).tril()
    assert torch.equal(allowed, expected)
    both = attention.document_mask(starts, causal=False)[0, 0]
    assert torch.equal(both, documents[:, None] == documents[None])


class Layer(torch.nn.Module):
    """What transformers tells of a layer of attention."""

    def __init__(self, *, is_causal: bool) -> None:
        super().__init__()
        self.is_causal = is_causal


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("piece", [3, 4, 9, 128])
def test_explicit_attention_is_sdpa(
    dtype: torch.dtype, causal: bool, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_PIECE_TOKENS", piece)
    rng = torch_generator(0, "attention")
    tensors = [torch.randn(2, 3, 9, 8, generator=rng).to(dtype).requires_grad_() for _ in range(3)]
    # The first document ends within a piece and the last begins at one's end.
    mask = attention.document_mask(torch.tensor([[0] * 4 + [4] * 4 + [8], [0] * 9]), causal=causal)
    out, weights = attention.attend(Layer(is_causal=causal), *tensors, mask, scaling=0.3)
    expected = functional.scaled_dot_product_attention(*tensors, attn_mask=mask, scale=0.3).transpose(1, 2)
    assert weights is None
    assert out.is_contiguous()
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 3e-2, "atol": 3e-2}
    torch.testing.assert_close(out, expected, **tolerance)
    signal = torch.randn(out.shape, generator=rng).to(dtype)
    for ours, theirs in zip(torch.autograd.grad(out, tensors, signal), torch.autograd.grad(expected, tensors, signal)):
        torch.testing.assert_close(ours, theirs, **tolerance)


def test_explicit_attention_takes_autocasts_precision() -> None:
    rng = torch_generator(0, "attention")
    query, key, value = (torch.randn(2, 3, 9, 8, generator=rng).requires_grad_() for _ in range(3))
    mask = attention.document_mask(torch.zeros(2, 9, dtype=torch.int64))
    with torch.autocast("cpu", torch.bfloat16):
        # As after rotary positions: queries and keys in float32, values from a product in bf16.
        out, _ = attention.attend(Layer(is_causal=True), query, key, value.bfloat16(), mask)
    assert out.dtype == torch.bfloat16
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
    torch.testing.assert_close(out.float(), expected, rtol=3e-2, atol=3e-2)
    signal = torch.randn(out.shape, generator=rng)
    tensors = (query, key, value)
    ours, theirs = (torch.autograd.grad(end, tensors, signal.to(end.dtype)) for end in (out, expected))
    for one, other in zip(ours, theirs):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("grad", [True, False])
def test_a_packed_document_is_as_if_alone(architecture: decoder.Architecture, grad: bool) -> None:
    network = stirred(architecture)
    tokens = packed()
    with torch.set_grad_enabled(grad):
        hidden = decoder.CausalNetwork(network, SPACE).hidden(tokens)
    for row, piece in [(0, slice(0, 7)), (0, slice(7, 24)), (1, slice(0, 5)), (1, slice(6, 24)), (2, slice(0, 24))]:
        alone = network.model(input_ids=tokens[row : row + 1, piece]).last_hidden_state[0]
        torch.testing.assert_close(hidden[row, piece], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attention_agrees_with_transformers_eager(architecture: decoder.Architecture) -> None:
    network = stirred(architecture)
    tokens = packed()
    learner = decoder.CausalNetwork(network, SPACE)
    ours = learner.hidden(tokens)
    network.set_attn_implementation("eager")
    starts = attention.document_starts(tokens, SPACE.bos)
    additive = torch.zeros(()).masked_fill(~attention.document_mask(starts), torch.finfo(torch.float32).min)
    positions = torch.arange(LENGTH) - starts
    theirs = network.model(input_ids=tokens, attention_mask=additive, position_ids=positions).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_is_that_of_transformers_for_one_document(architecture: decoder.Architecture) -> None:
    network = stirred(architecture)
    tokens = packed()[2:]
    loss, nats = decoder.CausalNetwork(network, SPACE)(tokens)
    expected = network(input_ids=tokens, labels=tokens).loss
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float(nats.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    ours = torch.autograd.grad(loss, list(network.parameters()))
    theirs = torch.autograd.grad(expected, list(network.parameters()))
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_block_of_attention_is_what_one_head_reads_or_writes(architecture: decoder.Architecture) -> None:
    network = stirred(architecture)
    blocks = decoder.head_blocks(network)
    attention_weights = {name for name, _ in network.named_parameters() if name.split(".")[-2][1:] == "_proj"}
    assert set(blocks) == attention_weights
    assert len(blocks) == 4 * FRAME.depth
    for name, (rows, columns) in blocks.items():
        writes = name.split(".")[-2] == "o_proj"
        assert (rows, columns) == ((32, 16) if writes else (16, 32))


def test_padding_is_not_predicted() -> None:
    network = stirred("nanochat")
    learner = decoder.CausalNetwork(network, SPACE)
    tokens = packed()[2:]
    short = learner(tokens[:, :10])[0]
    padded = tokens.clone()
    padded[:, 10:] = SPACE.pad
    assert float(learner(padded)[0].detach()) == pytest.approx(float(short.detach()), rel=1e-5)


def test_z_loss_is_added_to_the_loss_and_not_to_the_nats() -> None:
    network = stirred("nanochat")
    tokens = packed()
    plain, nats = decoder.CausalNetwork(network, SPACE)(tokens)
    more, same = decoder.CausalNetwork(network, SPACE, z_weight=0.1)(tokens)
    assert float(more.detach()) > float(plain.detach()) + 0.1
    assert float(same.detach()) == pytest.approx(float(nats.detach()))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_initial_weights_come_from_the_seed_alone(architecture: decoder.Architecture) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = decoder.build(architecture, FRAME, SPACE, LENGTH, 7).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = decoder.build(architecture, FRAME, SPACE, LENGTH, 7).state_dict()
    other = decoder.build(architecture, FRAME, SPACE, LENGTH, 8).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])
    loss = decoder.CausalNetwork(decoder.build(architecture, FRAME, SPACE, LENGTH, 7), SPACE)(packed())[0]
    assert float(loss.detach()) == pytest.approx(
        float(torch.tensor(128.0).log()), abs=0.01
    )  # 90 tokens, rounded up to 128


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sizes_are_what_they_are_called(size: str, architecture: decoder.Architecture) -> None:
    named = float(size[:-1]) * {"M": 1e6, "B": 1e9}[size[-1]]
    frame = frame_of(size)
    assert frame.num_block_parameters == pytest.approx(named, rel=0.15)
    with torch.device("meta"):
        network = _skeleton(architecture, frame)
    blocks = sum(parameter.numel() for parameter in network.model.layers.parameters())
    assert blocks == pytest.approx(named, rel=0.15)


def _skeleton(architecture: decoder.Architecture, frame: Frame) -> Any:
    """The network of a frame without memory behind its weights."""
    from transformers import AutoModelForCausalLM

    config = decoder.configure(architecture, frame, SPACE, 8)
    return AutoModelForCausalLM.from_config(config)


def test_heads_follow_the_width() -> None:
    assert frame_of("5M") == Frame(256, 6, 4)
    assert frame_of("5M", width=384) == Frame(384, 6, 6)
    assert frame_of("5M", width=100, depth=3) == Frame(100, 3, 2)
    assert frame_of("5M", heads=8) == Frame(256, 6, 8)
    with pytest.raises(RecipeError, match="multiple of twice its heads"):
        frame_of("5M", width=100, heads=3)


def test_starts_from_a_folder(tmp_path: Path) -> None:
    network = stirred("qwen3")
    network.save_pretrained(tmp_path)
    again = decoder.read(tmp_path, SPACE, LENGTH)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    hidden = decoder.CausalNetwork(again, SPACE).hidden(packed())
    torch.testing.assert_close(hidden, decoder.CausalNetwork(network, SPACE).hidden(packed()))


def test_refuses_folders_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="must be a Hugging Face folder"):
        decoder.read(tmp_path / "none", SPACE, LENGTH)
    stirred("qwen3").save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="must not be longer"):
        decoder.read(tmp_path, SPACE, LENGTH + 1)
    with pytest.raises(RecipeError, match="vocabulary must be the data's"):
        decoder.read(tmp_path, replace(SPACE, vocabulary=300), LENGTH)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(RecipeError, match=r"lacks model\.norm\.weight"):
        decoder.read(tmp_path, SPACE, LENGTH)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(RecipeError, match="readable safetensors"):
        decoder.read(tmp_path, SPACE, LENGTH)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(RecipeError, match="readable safetensors"):
        decoder.read(tmp_path, SPACE, LENGTH)


def test_refuses_other_kinds_of_model(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=90, n_embd=16, n_layer=1, n_head=2, n_positions=64)).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="full attention"):
        decoder.read(tmp_path, SPACE, LENGTH)


def test_refuses_another_tokenizer(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    words = {f"w{index}": index for index in range(90)}
    folders = [tmp_path / "model", tmp_path / "data", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    decoder.build("nanochat", FRAME, SPACE, LENGTH, 0).save_pretrained(folders[0])
    for folder in folders[:2]:
        Tokenizer(models.WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))
    swapped = {**words, "w5": 6, "w6": 5}
    Tokenizer(models.WordLevel(swapped, unk_token="w0")).save(str(folders[2] / "tokenizer.json"))
    decoder.read(folders[0], replace(SPACE, folder=str(folders[1])), LENGTH)
    with pytest.raises(RecipeError, match="the tokenizer it was trained with"):
        decoder.read(folders[0], replace(SPACE, folder=str(folders[2])), LENGTH)
