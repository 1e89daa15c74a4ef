"""The BERT family: one network, one turn; it guesses hidden tokens, and writes, fills gaps and embeds by that.

The network is transformers' own and the family's `state_dict` is that network's, names and all: with the files of
`files` beside it, a checkpoint is a folder that `AutoModelForMaskedLM.from_pretrained` loads.

At a fixed rate of hidden tokens the held-out loss is a mean over hidden tokens, comparable with itself alone. At a
uniform rate it bounds nats a token from above (see `masking`), comparable with a GPT's on the same windows but for one
thing: a GPT also predicts where documents end, a BERT is told, and so it writes texts of a given length.

Shape legend: B batch, T tokens of a window, C width, K places where a token is guessed, P tokens of a prompt.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from motherlode.errors import RecipeError
from motherlode.families import Batch, Rule, Turn
from motherlode.families._language import LanguageFamily
from motherlode.families.bert.masking import Masked, even_ratios, hide_fixed, hide_uniform
from motherlode.families.bert.options import Options as BertOptions
from motherlode.families.bert.unmask import unmask
from motherlode.modality import SampleSpec
from motherlode.networks.blocks import evaluating
from motherlode.networks.language import modernbert
from motherlode.networks.language.loss import CHUNK_TOKENS
from motherlode.networks.language.sizes import frame_of
from motherlode.randomness import torch_generator
from motherlode.recipe import GenerateOptions, Strict
from motherlode.tokenizer import TokenSpace

_SAMPLE_BATCH = 64
_DRAWS = 4
_LEAST_LOCAL_TOKENS = 8


class Bert(LanguageFamily):
    """A masked language model.

    Args:
        network: `ModernBertForMaskedLM`.
        options: the recipe's section.
        space: the tokens.
        length: tokens of a window.
        seed: of what `inspect` hides.
    """

    Options: ClassVar[type[Strict]] = BertOptions
    fills: ClassVar[bool] = True
    loss_name: ClassVar[str] = "nats per token"
    makes_tokens: ClassVar[bool] = True
    # At higher rates a small model writes token frequencies into its residual stream first, and stays there.
    defaults: ClassVar[Mapping[str, Any]] = {
        "batch": 16,
        "optimizer": {"name": "muon", "lr": 1e-2, "betas": (0.9, 0.95)},
        "schedule": {"name": "wsd", "warmup": 0.05, "decay": 0.4},
        "clip": 1.0,
    }

    def __init__(self, network: Any, options: BertOptions, space: TokenSpace, length: int, seed: int) -> None:
        super().__init__()
        self.options = options
        self.space = space
        self.length = length
        self.seed = seed
        self.learner = modernbert.MaskedNetwork(network, space)

    @classmethod
    def build(cls, options: Any, spec: SampleSpec, seed: int) -> Bert:
        """Make the network; see `Family.build`."""
        if spec.tokens is None:
            raise RecipeError(
                "a BERT learns sequences of tokens", f"{spec.modality} of shape {spec.shape}", "train it on text"
            )
        if spec.tokens.mask < 0:
            raise RecipeError(
                "a BERT needs a tokenizer with a mask token",
                spec.tokens.folder,
                "add <|mask|> to its special tokens, or use data.tokenizer: auto",
            )
        (length,) = spec.shape
        if options.start:
            network = modernbert.read(Path(options.start), spec.tokens, length)
        else:
            frame = frame_of(options.size, options.width, options.depth, options.heads)
            # ModernBERT's own share, 128 of 1,024: a wide local window in a short one is no local window at all.
            reach = options.local_tokens or max(_LEAST_LOCAL_TOKENS, length // 8), options.global_every
            network = modernbert.build(frame, spec.tokens, length, seed, reach)
        return cls(network, options, spec.tokens, length, seed)

    @torch.no_grad()
    def begin(self, count: Callable[[], Tensor]) -> None:
        """Give the head's bias the logarithms of the tokens' frequencies, unless it starts from a folder.

        Without it a small network spends its first thousands of steps on writing frequencies into the residual stream,
        where layer norms let them drown what tells tokens apart (LAB.md, "BERT and masked diffusion").
        """
        bias_V = self.network.decoder.bias
        if not self.options.start:
            counts_V = count()
            seen_V = nn.functional.pad(counts_V.to(bias_V), (0, len(bias_V) - len(counts_V))).clamp_min(0.5)
            bias_V.copy_((seen_V / seen_V.sum()).log())

    @property
    def network(self) -> Any:
        """The masked language model of transformers."""
        return self.learner.network

    # ---------------------------------------------------------------------------------------------------- checkpoints

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The network's own, under transformers' names; a head that is the token table is left out."""
        state: dict[str, Any] = self.network.state_dict(*args, **kwargs)
        return {name: tensor for name, tensor in state.items() if not self._is_tied(name)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Put back what `state_dict` gave."""
        found = self.network.load_state_dict(state_dict, strict=False, assign=assign)
        missing = [name for name in found.missing_keys if not self._is_tied(name)]
        if strict and (missing or found.unexpected_keys):
            raise RuntimeError(f"missing: {missing}; unexpected: {found.unexpected_keys}")
        return found

    def _is_tied(self, name: str) -> bool:
        return name == "decoder.weight" and bool(self.network.config.tie_word_embeddings)

    def files(self) -> Mapping[str, bytes]:
        """`config.json`."""
        return {"config.json": self.network.config.to_json_string().encode()}

    # ------------------------------------------------------------------------------------------------------- training

    def turns(self, step: int) -> Sequence[Turn]:
        """One turn, "model"."""
        return [Turn("model", self.learner, self._loss)]

    def _loss(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        masked = self._hide(batch.samples, rng)
        shares_K = masked.weights_K / masked.num_tokens.clamp_min(1)
        loss, nats_K = self.learner(batch.samples, masked.inputs_BT, masked.places_K, shares_K)
        guessed_K = masked.weights_K > 0
        return loss, {"masked_nats": (nats_K * guessed_K).sum() / guessed_K.sum().clamp_min(1)}

    def _hide(self, tokens_BT: Tensor, rng: torch.Generator) -> Masked:
        rate = self.options.mask_rate
        if rate == "uniform":
            return hide_uniform(tokens_BT, self.space, rng)
        return hide_fixed(tokens_BT, self.space, rate, rng)

    # ------------------------------------------------------------------------------------------------------ measuring

    def heldout_loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Nats a token: the bound at a uniform rate, cross-entropy of hidden tokens at a fixed one; 0-d.

        At a uniform rate each window is looked at `_DRAWS` times, at evenly spread rates; at a fixed one once, with all
        hidden tokens behind the mask token.
        """
        return self._guess(batch.samples, rng)[0]

    @torch.no_grad()
    def masked_nats(self, inputs: Tensor, targets: Tensor, within_BT2: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """−log p(targets | inputs) where the inputs are the mask token, and whether each target is the likeliest token.

        Args:
            inputs: int64 (B, T); documents begin with `bos` and do not see each other.
            targets: int64 (B, T), what stood there.
            within_BT2: int64, the first id that each place may take, and the one behind the last; None for any.

        Returns:
            float32 and bool (B, T); 0 and False where nothing is hidden.
        """
        nats_N = torch.zeros(inputs.numel(), device=inputs.device)
        hits_N = torch.zeros_like(nats_N, dtype=torch.bool)
        places_K = (inputs == self.space.mask).flatten().nonzero().squeeze(1)
        with evaluating(self.learner) as learner:
            hidden_KC = learner.hidden(inputs, inputs).flatten(0, 1)[places_K]
            # A chunk at a time, so that the logits of all places are never there at once.
            for part_K, part_KC in zip(torch.split(places_K, CHUNK_TOKENS), torch.split(hidden_KC, CHUNK_TOKENS)):
                targets_K = targets.flatten()[part_K]
                logits_KV = learner.logits(part_KC).float()
                if within_BT2 is not None:
                    logits_KV = _within(logits_KV, within_BT2.flatten(0, 1)[part_K])
                nats_N[part_K] = nn.functional.cross_entropy(logits_KV, targets_K, reduction="none")
                hits_N[part_K] = logits_KV.argmax(1) == targets_K
        return nats_N.view_as(inputs), hits_N.view_as(inputs)

    def _guess(self, tokens_BT: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The held-out loss, and the share of hidden tokens guessed rightly."""
        rate = self.options.mask_rate
        if rate == "uniform":
            ratios_B = even_ratios(_DRAWS * len(tokens_BT), rng)
            views = [hide_uniform(tokens_BT, self.space, rng, part_B) for part_B in ratios_B.chunk(_DRAWS)]
        else:
            views = [hide_fixed(tokens_BT, self.space, rate, rng, mask_all=True)]
        losses, shares = [], []
        for view in views:
            nats_BT, hits_BT = self.masked_nats(view.inputs_BT, tokens_BT)
            losses.append((view.weights_K * nats_BT.flatten()[view.places_K]).sum() / view.num_tokens.clamp_min(1))
            shares.append(hits_BT.sum() / (view.inputs_BT == self.space.mask).sum().clamp_min(1))
        return torch.stack(losses).mean(), torch.stack(shares).mean()

    # ------------------------------------------------------------------------------------------------------- sampling

    def sample(self, num: int, *, condition: Tensor | None = None, rng: torch.Generator, variant: str = "") -> Tensor:
        """Tokens int64 (num, T): the prompts, their masks filled, and what the model goes on with to the window's end.

        Args:
            num: how many.
            condition: int64 (num, P), P ≤ T, prompts; None begins texts.
            rng: where the randomness comes from.
            variant: "raw" or "".
        """
        if condition is None:
            condition = torch.full((num, 1), self.space.bos)
        if condition.dim() != 2 or len(condition) != num or not 0 < condition.shape[1] <= self.length:
            raise RecipeError(
                f"a condition is a prompt of 1..{self.length} tokens for each of {num} samples",
                f"shape {tuple(condition.shape)}",
                "shorten the prompts, or train with a larger data.length",
            )
        tokens_BT = nn.functional.pad(condition, (0, self.length - condition.shape[1]), value=self.space.mask)
        tokens_BT = tokens_BT.to(self.network.device, torch.int64)
        for piece_BT in torch.split(tokens_BT, _SAMPLE_BATCH):
            for filled_BT in self.fill(piece_BT, GenerateOptions(), rng=rng, variant=variant):
                piece_BT.copy_(filled_BT)
        return tokens_BT

    def fill(
        self,
        tokens_BT: Tensor,
        options: GenerateOptions,
        *,
        rng: torch.Generator,
        variant: str = "",
        within_T2: Tensor | None = None,
        rule: Rule | None = None,
    ) -> Iterator[Tensor]:
        """Put a token in place of every mask, given what stands before and behind it; see `Family.fill`.

        Neither masks nor padding nor the beginning of another document is ever written. The first token of a row was
        given in training, and should be here.

        Raises:
            RecipeError: rows too long, ids the model does not know, or weights it does not have.
        """
        if variant not in ("", *self.variants):
            raise RecipeError("this model has no such weights", variant, f"choose one of: {', '.join(self.variants)}")
        tokens_BT = self._checked(tokens_BT)
        return unmask(
            self._predict if within_T2 is None else partial(self._predict_within, within_T2),
            tokens_BT,
            self.space.mask,
            block_tokens=options.block_tokens,
            steps=options.steps,
            temperature=options.temperature,
            rng=rng,
            rule=rule,
        )

    @torch.no_grad()
    def _predict(self, tokens_BT: Tensor, places_BK: Tensor) -> Tensor:
        with evaluating(self.learner) as learner:
            hidden_BTC = learner.hidden(tokens_BT, tokens_BT)
            hidden_BKC = hidden_BTC.gather(1, places_BK[:, :, None].expand(-1, -1, hidden_BTC.shape[2]))
            logits_BKV = learner.logits(hidden_BKC)[..., : self.space.vocabulary]
        never = torch.tensor([self.space.bos, self.space.pad, self.space.mask], device=logits_BKV.device)
        return logits_BKV.index_fill(2, never, -torch.inf)

    def _predict_within(self, within_T2: Tensor, tokens_BT: Tensor, places_BK: Tensor) -> Tensor:
        return _within(self._predict(tokens_BT, places_BK), within_T2[places_BK])

    def _checked(self, tokens_BT: Tensor) -> Tensor:
        """Tokens the network can read, on its device."""
        if tokens_BT.dim() != 2 or tokens_BT.shape[1] > self.length:
            raise RecipeError(
                f"tokens come in rows of at most {self.length}",
                f"shape {tuple(tokens_BT.shape)}",
                "shorten them, or train with a larger data.length",
            )
        if tokens_BT.numel() and not 0 <= int(tokens_BT.min()) <= int(tokens_BT.max()) < self.space.vocabulary:
            raise RecipeError(
                f"token ids must be in 0..{self.space.vocabulary - 1}",
                f"{int(tokens_BT.min())}..{int(tokens_BT.max())}",
                "use the tokenizer the model was trained with",
            )
        return tokens_BT.to(self.network.device, torch.int64)

    @torch.no_grad()
    def embed(self, tokens_BT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """The mean of the last hidden states of each row, float32 (B, C).

        Args:
            tokens_BT: int64, T at most the window; shorter rows end in padding.
            mask_BT: bool, which tokens count; None: those that are text. A row without any gives zeros.
        """
        tokens_BT = self._checked(tokens_BT)
        if mask_BT is None:
            mask_BT = (tokens_BT != self.space.bos) & (tokens_BT != self.space.pad)
        weights_BT = mask_BT.to(tokens_BT.device, torch.float32)
        with evaluating(self.learner) as learner:
            hidden_BTC = learner.hidden(tokens_BT, tokens_BT).float()
        return torch.einsum("btc,bt->bc", hidden_BTC, weights_BT) / weights_BT.sum(1, keepdim=True).clamp_min(1)

    def sampler(self, variant: str = "") -> nn.Module:
        """A frozen copy of the network: tokens (B, T) to logits."""
        frozen: nn.Module = copy.deepcopy(self.network).eval().requires_grad_(False)
        return frozen

    # ---------------------------------------------------------------------------------------------------- diagnostics

    def inspect(self, step: int, train: Batch, heldout: Batch) -> dict[str, float]:
        """Nats a token on a training and a held-out batch, how much worse the second is, and how often it guesses
        hidden held-out tokens rightly."""
        rng = torch_generator(self.seed, "inspect", device=self.network.device)
        seen, _ = self._guess(train.samples, rng)
        unseen, share = self._guess(heldout.samples, rng)
        nats = {"train_nats": float(seen), "heldout_nats": float(unseen), "gap": float(unseen - seen)}
        return {**nats, "masked_accuracy": float(share)}


def _within(logits_: Tensor, within_2: Tensor) -> Tensor:
    """Logits (*places, V) of ids within `within_2` (*places, 2), first and behind the last; all others impossible."""
    ids_V = torch.arange(logits_.shape[-1], device=logits_.device)
    first_1, behind_1 = within_2.unsqueeze(-2).unbind(-1)
    return logits_.masked_fill((ids_V < first_1) | (ids_V >= behind_1), -torch.inf)
