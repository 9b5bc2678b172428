"""The border: what a peer claims becomes `Received` records, or is counted and dropped.

Nothing a peer sends raises here. Prompts are looked up in the receiver's own pool by key; token ids
are believed only if they decode to the text they come with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgrpo.records import Completion, Prompt, Received
from dgrpo.tasks.assignment import Assignment

if TYPE_CHECKING:
    from dgrpo.policy.model import LanguageModel


@dataclass(frozen=True)
class Admission:
    """A receiver's rules for one round."""

    assignment: Assignment
    prompts: dict[str, Prompt]
    """Prompts that may be answered: the round's common ones, or the whole pool in vertical."""
    model: LanguageModel
    max_tokens: int

    def admit(
        self, sender: str, sender_index: int, claims: Sequence[Completion], same_tokenizer: bool
    ) -> tuple[list[Received], Counter[str]]:
        """The completions of one sender that hold to the rules, and the violations by kind.

        Kinds: malformed (wrong types, or not Unicode), unknown-prompt, surplus (a
        sample index or prompt beyond what it owes), duplicate,
        ids-mismatch (ids that do not decode to the text), too-long, missing.
        """
        violations: Counter[str] = Counter()
        accepted: dict[tuple[str, int], Received] = {}
        owed = self.assignment.samples(sender_index)
        answered: set[str] = set()
        looked_at: set[tuple[str, int]] = set()
        for claim in claims:
            if not _well_formed(claim):
                violations["malformed"] += 1
                continue
            prompt = self.prompts.get(claim.prompt_key)
            if prompt is None:
                violations["unknown-prompt"] += 1
                continue
            fresh = claim.prompt_key not in answered
            if claim.sample not in owed or (
                fresh and len(answered) == self.assignment.prompts_per_node
            ):
                violations["surplus"] += 1
                continue
            answered.add(claim.prompt_key)
            if (claim.prompt_key, claim.sample) in looked_at:
                violations["duplicate"] += 1
                continue
            looked_at.add((claim.prompt_key, claim.sample))  # refused ones too: each costs encoding
            if len(claim.text) > LONGEST_TOKEN * self.max_tokens:
                violations["too-long"] += 1  # before anything is spent on encoding it
                continue
            ids = self._ids(claim, same_tokenizer)
            if ids is None:
                violations["ids-mismatch"] += 1
            elif len(ids) > self.max_tokens:
                violations["too-long"] += 1
            else:
                received = Received(sender, prompt, claim.sample, claim.text, ids)
                accepted[claim.prompt_key, claim.sample] = received
        missing = self.assignment.prompts_per_node * len(owed) - len(accepted)
        dropped = sum(violations[kind] for kind in ("ids-mismatch", "too-long", "malformed"))
        if missing > dropped:
            violations["missing"] += missing - dropped
        return list(accepted.values()), violations

    def _ids(self, claim: Completion, same_tokenizer: bool) -> tuple[int, ...] | None:
        """The ids to check and train on; None when they are not the text's, claimed or our own."""
        if not (claim.token_ids and same_tokenizer):
            ids = self.model.encode_completion(claim.text)
            # an end's name may be spelt out in the text, and a tokenizer that normalises may
            # make other text of it: rewards and defenses would see one thing, the learner another
            early = set(self.model.end_ids).intersection(ids[:-1])
            faithful = not early and self.model.decode(ids) == claim.text
            return ids if faithful else None
        if len(claim.token_ids) > self.max_tokens:
            return claim.token_ids  # refused as too long, before anything is spent on decoding it
        # ids that no text has: embeddings are often padded beyond the tokenizer's own entries
        if not self.model.text_ids.issuperset(claim.token_ids):
            return None
        # only the last token may end the text, and only a full-length completion may lack an end
        ended = claim.token_ids[-1] in self.model.end_ids
        if set(self.model.end_ids).intersection(claim.token_ids[:-1]):
            return None
        if not ended and len(claim.token_ids) != self.max_tokens:
            return None
        return claim.token_ids if self.model.decode(claim.token_ids) == claim.text else None


LONGEST_TOKEN = 64
"""Characters a token may stand for on average: longer texts are refused before they are encoded."""


def _well_formed(claim: Completion) -> bool:
    """Whether a claim has the types it should have and a text that can be encoded."""
    if not (isinstance(claim.prompt_key, str) and isinstance(claim.text, str)):
        return False
    if type(claim.sample) is not int or not isinstance(claim.token_ids, tuple):
        return False
    if any(type(i) is not int for i in claim.token_ids):
        return False
    try:
        claim.text.encode()
    except UnicodeEncodeError:  # lone surrogates
        return False
    return True
