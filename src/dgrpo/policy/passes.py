"""Whether a model computes in batches and token by token what it computes for one text alone.

Completions are drawn from padded batches with a cache, and scored in passes that share prompts.
An honest completion must get the scores there that it was drawn with. Some families compute
something else without an error: encoders, and decoders that ignore positions.

Leaves out: windows and lengths beyond a dozen tokens, other than far positions.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from dgrpo.errors import DgrpoError, first_line
from dgrpo.policy.decoding import start_decoding
from dgrpo.policy.language_model import LanguageModel
from dgrpo.policy.padding import PaddedPrompts
from dgrpo.policy.room import positions
from dgrpo.policy.scoring import completion_logits

TOLERANCE = {torch.float32: 5e-4, torch.float16: 0.05, torch.bfloat16: 0.2}
"""Largest difference of logits that is rounding, as a share of their spread over the vocabulary.
Right families of 2 and of 32 random layers stay below 2e-6, 0.01 and 0.02; wrong ones in float32
lie above 7e-4, with trained weights above 0.01."""
_TEXTS = (
    "Question: Ann has 12 apples, and Tom has 3 cows and buys 4 more. How many has he?",
    "Is it so, or is it not so?",
)
_PROMPTS = (9, 4)
"""Tokens of the two prompts: unequal, so that the second is padded."""
_DRAWN = 4
"""Tokens of each completion."""


@torch.no_grad()  # not inference_mode: tables that a family builds at first use must be trainable
def check_passes(model: LanguageModel, name: str) -> None:
    """Raise DgrpoError with the difference if a pass that dgrpo uses differs from a plain one."""
    probe = _Probe.of(model, name)
    probe.check_batch()
    probe.check_decoding()
    probe.check_scoring()
    probe.check_far_positions()
    probe.check_every_id()


@dataclass(frozen=True)
class _Probe:
    """Two short texts, and their logits when each is computed alone."""

    model: LanguageModel
    name: str
    texts: list[list[int]]
    """Prompt and completion of each."""
    lengths: list[int]
    """Tokens of each prompt."""
    alone: list[torch.Tensor]
    """(tokens, vocabulary) each."""

    @classmethod
    def of(cls, model: LanguageModel, name: str) -> _Probe:
        opening = len(model.opening_ids)
        lengths = [opening + prompt for prompt in _PROMPTS]
        # a vocabulary of whole words may have few tokens for these texts, or none
        encoded = [model.encode_prompt(text) or sorted(model.text_ids) for text in _TEXTS]
        texts = [
            (ids * (n + _DRAWN))[: n + _DRAWN] for ids, n in zip(encoded, lengths, strict=True)
        ]
        probe = cls(model, name, texts, lengths, [])
        with probe.explained("it cannot compute a text"):
            probe.alone.extend(probe.plain(ids) for ids in texts)
        return probe

    def plain(self, ids: list[int]) -> torch.Tensor:
        """(tokens, vocabulary) of one text, with nothing but its ids given."""
        batch = torch.tensor([ids], device=self.model.device)
        logits: torch.Tensor = self.model.network(input_ids=batch, use_cache=False).logits
        return logits[0].float()

    @property
    def prompts(self) -> PaddedPrompts:
        """The prompts, the shorter one padded on the left."""
        halves = [ids[:n] for ids, n in zip(self.texts, self.lengths, strict=True)]
        return PaddedPrompts.of_ids(self.model, halves)

    def check_batch(self) -> None:
        """Prompts in a padded batch."""
        if not all(logits.isfinite().all() for logits in self.alone):
            raise self.refusal("its logits are not finite, though its weights are")
        with self.explained("it cannot compute a padded batch"):
            padded = self.model.network(**self.prompts.inputs(), use_cache=False).logits.float()
        for row, (alone, n) in enumerate(zip(self.alone, self.lengths, strict=True)):
            if not self.same(padded[row, -n + 1 :], alone[1:n]):
                prompt = self.plain(self.texts[row][:n])
                if not self.same(prompt[1:], alone[1:n]):
                    raise self.refusal(
                        "a token's scores depend on the tokens that follow it, as in an encoder"
                    )
                raise self.refusal(
                    "a text in a padded batch gets other scores than alone"
                    + self.lacking("position_ids", "its forward pass takes no positions")
                )

    def check_decoding(self) -> None:
        """Completions token by token, in other order than their prompts."""
        spread = torch.tensor([1, 0], device=self.model.device)
        fed = torch.tensor([self.texts[row][self.lengths[row] :] for row in (1, 0)])
        no_cache = self.lacking("past_key_values", "its forward pass takes no cache")
        with self.explained("it cannot compute token by token" + no_cache):
            decoder = start_decoding(self.model, self.prompts, spread)
            steps = fed[:, :-1].to(self.model.device).unbind(dim=1)
            drawn = torch.stack([decoder.step(tokens) for tokens in steps], dim=1)
        for place, row in enumerate((1, 0)):
            if not self.same(drawn[place], self.alone[row][self.lengths[row] : -1]):
                raise self.refusal(
                    f"token by token a text gets other scores than in one pass{no_cache}"
                )

    def check_scoring(self) -> None:
        """Completions that share their prompts."""
        rows = torch.tensor([1, 0], device=self.model.device)
        ids = torch.tensor([self.texts[row][self.lengths[row] :] for row in (1, 0)])
        with self.explained("it cannot go on from a prompt that several completions share"):
            scored = completion_logits(self.model, self.prompts, rows, ids.to(rows.device))
        for place, row in enumerate((1, 0)):
            alone = self.alone[row][self.lengths[row] - 1 : -1]
            if not self.same(scored[place].float(), alone):
                raise self.refusal("a completion gets other scores when its prompt is shared")

    def check_far_positions(self) -> None:
        """A short text beside one that stands at the model's last positions."""
        far, n = positions(self.model), min(self.lengths)
        if far is None or far <= 2 * n:
            return
        device = self.model.device
        ids = torch.tensor([text[:n] for text in self.texts], device=device)
        places = torch.arange(n, device=device)
        with self.explained(f"it cannot compute position {far}"):
            logits = self.model.network(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                position_ids=torch.stack([places, places + far - n]),
                use_cache=False,
            ).logits
        if not self.same(logits[0, 1:].float(), self.alone[0][1:n]):
            raise self.refusal("a text's scores depend on how long the others of its batch are")

    def check_every_id(self) -> None:
        """Ids that mean something to the model: the place of an image raises in some."""
        config = self.model.network.config
        named = {
            value
            for settings in (config, config.get_text_config(decoder=True))
            for key, value in settings.to_dict().items()
            if key.endswith(("_token_id", "_token_index")) and isinstance(value, int)
        }
        ids = sorted({*named & self.model.text_ids, max(self.model.text_ids)})
        with self.explained(f"it cannot compute a text that holds {self.model.decode(ids)!r}"):
            self.plain(ids)

    def same(self, ours: torch.Tensor, alone: torch.Tensor) -> bool:
        """Whether logits (tokens, vocabulary) agree up to rounding.

        The best token decides: a mixture of experts may choose another expert at some, by rounding.
        """
        ours, alone = ours - ours.mean(-1, keepdim=True), alone - alone.mean(-1, keepdim=True)
        share = (ours - alone).norm(dim=-1) / alone.norm(dim=-1).clamp(min=1e-12)
        tolerance = TOLERANCE.get(self.model.network.dtype, max(TOLERANCE.values()))
        return bool(share.min() <= tolerance)  # False for NaN

    def lacking(self, argument: str, told: str) -> str:
        """`told` in brackets, if the forward pass does not have the argument."""
        known = inspect.signature(self.model.network.forward).parameters
        return "" if argument in known else f" ({told})"

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Refuse with the model's own words, whatever its code raises."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise self.refusal(f"{what}: {first_line(error)}") from error

    def refusal(self, why: str) -> DgrpoError:
        return DgrpoError(
            f"model.name = {self.name!r} ({self.model.network.config.model_type}): {why}",
            remedy="honest completions would look like forged ones; take a decoder that "
            "transformers computes in batches and with a cache (Llama, Qwen2.5, Gemma, Mistral)",
        )
