"""A causal language model with its tokenizer: what the rest of the package asks of the two.

Leaves out: where the model comes from and whether it can be used (`model.py`).
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dgrpo.policy.vocabulary import declared_ends


@dataclass(frozen=True)
class LanguageModel:
    """A model and its tokenizer; the weights change in place as it is trained."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    autocast: bool = False
    """Whether forward passes are computed in bfloat16 although the weights are float32."""

    @cached_property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.device

    @cached_property
    def end_id(self) -> int:
        """Id of the tokenizer's end token, which ends a text that was written, not drawn."""
        return int(self.tokenizer.eos_token_id)

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Ids of all tokens that end a completion, `end_id` first.

        Chat models declare further ones in their generation settings, such as `<end_of_turn>`.
        """
        return declared_ends(self.network, self.tokenizer)

    @cached_property
    def _ends_in_text(self) -> frozenset[int]:
        """Ends that are text as well: someone's `</answer>`, which no tokenizer hides."""
        known, special = self.tokenizer.added_tokens_decoder, self.tokenizer.all_special_ids
        return frozenset(
            i for i in self.end_ids if i in known and not known[i].special and i not in special
        )

    @cached_property
    def vocabulary(self) -> int:
        """Entries of the output distribution."""
        return int(self.network.config.get_text_config().vocab_size)

    @cached_property
    def text_ids(self) -> frozenset[int]:
        """Ids that stand for text; the output distribution may have more entries."""
        known = self.tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True).values()
        return frozenset(i for i in known if i < self.vocabulary)

    @cached_property
    def tokenizer_digest(self) -> str:
        """Digest of vocabulary, merges and ends: equal digests tokenise and end equally."""
        backend = self.tokenizer.backend_tokenizer.to_str()
        ends = ",".join(map(str, self.end_ids))
        return hashlib.sha256(f"{backend}\x1f{ends}".encode()).hexdigest()[:16]

    @cached_property
    def opening_ids(self) -> list[int]:
        """What the tokenizer puts before a text: as a rule a beginning-of-sequence token."""
        marked = self.tokenizer("a", return_special_tokens_mask=True)
        pairs = zip(marked["input_ids"], marked["special_tokens_mask"], strict=True)
        return [token for token, _ in takewhile(lambda pair: pair[1], pairs)]

    def precision(self) -> AbstractContextManager[None]:
        """What forward passes are to be computed within."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)

    def weights_digest(self) -> str:
        """Digest of the weights' bytes as they are now."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, nothing added."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of a prompt as the model expects it: `opening_ids` first, but never twice."""
        ids, opening = self.encode(text), self.opening_ids
        return ids if ids[: len(opening)] == opening else [*opening, *ids]

    def encode_completion(self, text: str, *, ended: bool = True) -> tuple[int, ...]:
        """Token ids of a completion: with the tokenizer's end token, unless it was cut off.

        A cut text without tokens gets the end too, since there is no completion without a token.
        """
        ids = self.encode(text)
        whole = ids and (not ended or ids[-1] in self._ends_in_text)
        return tuple(ids) if whole else (*ids, self.end_id)

    def ended(self, ids: Sequence[int]) -> bool:
        """Whether completion ids end by themselves, not at a limit."""
        return bool(ids) and ids[-1] in self.end_ids

    def decode(self, ids: tuple[int, ...] | list[int]) -> str:
        """Text of completion ids, without the token that ends them."""
        ended = self.ended(ids) and ids[-1] not in self._ends_in_text
        kept = ids[:-1] if ended else ids
        return str(self.tokenizer.decode(list(kept), clean_up_tokenization_spaces=False))

    def clone(self) -> LanguageModel:
        """The same tokenizer with a copy of the weights."""
        return replace(self, network=copy.deepcopy(self.network))
