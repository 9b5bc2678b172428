"""The border: what a peer claims becomes `Received` records, or is counted and dropped.

Nothing a peer sends raises here, and no claim is expensive: lengths are looked at before contents.
Prompts are looked up in the receiver's own pool by key. Token ids are believed only if they decode
to the text they come with, and a sender's lie near the receiver's own (`spelling.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from dgrpo.exchange.spelling import USUAL, Belief, foreign_tokens
from dgrpo.records import Completion, Prompt, Received
from dgrpo.tasks.assignment import Assignment

if TYPE_CHECKING:
    from dgrpo.policy.model import LanguageModel

LONGEST_TOKEN = 64
"""Characters a token may stand for on average: longer texts are refused before they are encoded."""
STRETCH = 4
"""Tokens of the receiver's for each of `max_tokens` that a text of another tokenizer may have."""
LOOKED_AT = 4
"""Claims that are looked at for each completion that a sender owes. The rest is surplus."""


@dataclass(frozen=True)
class Admission:
    """A receiver's rules for one round."""

    assignment: Assignment
    prompts: dict[str, Prompt]
    """Prompts that may be answered: the round's common ones, or the whole pool in vertical."""
    model: LanguageModel
    max_tokens: int
    """The most tokens that a completion may have, by its sender's count."""
    belief: Belief = USUAL
    """Which claimed ids are believed."""
    positions: int | None = None
    """Positions that the model was made for, prompt and completion together; None: no limit."""

    def admit(
        self, sender: str, sender_index: int, claims: object, same_tokenizer: bool
    ) -> tuple[list[Received], Counter[str]]:
        """The completions of one sender that hold to the rules, and the violations by kind.

        Kinds: malformed (wrong types, or not Unicode), unknown-prompt, surplus (a
        sample index or prompt beyond what it owes), duplicate,
        ids-mismatch (ids that do not decode to the text, or do not end as it is said to), too-long,
        missing. A completion counted under `spelling` is received, in the receiver's own tokens.
        """
        violations: Counter[str] = Counter()
        accepted: dict[tuple[str, int], Received] = {}
        owed = self.assignment.samples(sender_index)
        owes = self.assignment.prompts_per_node * len(owed)
        answered: set[str] = set()
        looked_at: set[tuple[str, int]] = set()
        if not isinstance(claims, list | tuple):
            violations["malformed"] += 1
            claims = ()
        if len(claims) > LOOKED_AT * owes:
            violations["surplus"] += len(claims) - LOOKED_AT * owes
        for claim in islice(claims, LOOKED_AT * owes):
            if not _typed(claim):
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
            ids = self._ids(claim, prompt, same_tokenizer)
            if isinstance(ids, str):
                violations[ids] += 1
                continue
            received = Received(sender, prompt, claim.sample, claim.text, ids)
            accepted[claim.prompt_key, claim.sample] = received
        if same_tokenizer and self.belief.believe == "near":
            violations["spelling"] = self._respell(accepted)
        missing = owes - len(accepted)
        dropped = sum(violations[kind] for kind in ("ids-mismatch", "too-long", "malformed"))
        if missing > dropped:
            violations["missing"] += missing - dropped
        return list(accepted.values()), +violations

    def longest(self, prompt: Prompt, same_tokenizer: bool) -> int:
        """The most tokens that a completion of `prompt` may have, by the receiver's count.

        Another tokenizer cuts a text into more or fewer. Its sender's count is only claimed, so
        memory is bounded here.
        """
        if same_tokenizer:
            return self.max_tokens
        most = STRETCH * self.max_tokens
        if self.positions is not None:
            most = min(most, self.positions - len(self.model.encode_prompt(prompt.text)))
        return max(most, self.max_tokens)

    def _ids(
        self, claim: Completion, prompt: Prompt, same_tokenizer: bool
    ) -> tuple[int, ...] | str:
        """The ids to check and train on, or the kind of violation for which there are none."""
        text, claimed = claim.text, claim.token_ids
        if len(text) > LONGEST_TOKEN * self.max_tokens or len(claimed) > self.max_tokens:
            return "too-long"  # before anything is spent on contents
        # another tokenizer's ids mean nothing here, and are only counted
        strange = same_tokenizer and any(type(i) is not int for i in claimed)
        if strange or not _is_unicode(text):
            return "malformed"
        if not same_tokenizer and not claim.ended and len(claimed) < self.max_tokens:
            return "ids-mismatch"
        if not (same_tokenizer and claimed):
            ids = self.own_ids(text, self.longest(prompt, same_tokenizer), ended=claim.ended)
            if isinstance(ids, str) or not same_tokenizer or self._ends(ids, claim.ended):
                return ids
            return "ids-mismatch"
        # ids that no text has: embeddings are often padded beyond the tokenizer's own entries
        if not self.model.text_ids.issuperset(claimed):
            return "ids-mismatch"
        early = set(self.model.end_ids).intersection(claimed[:-1])
        if early or not self._ends(claimed, claim.ended):
            return "ids-mismatch"
        return claimed if self.model.decode(claimed) == text else "ids-mismatch"

    def _ends(self, ids: tuple[int, ...], ended: bool) -> bool:
        """Whether ids end as claimed. Without an end only a full-length completion may be."""
        return self.model.ended(ids) == ended and (ended or len(ids) == self.max_tokens)

    def own_ids(self, text: str, longest: int, *, ended: bool = True) -> tuple[int, ...] | str:
        """The receiver's own encoding, or the kind of violation that it would be.

        longest: the most tokens that it may have. ended: whether it gets an end; a text that was
        cut off does not.
        """
        ids = self.model.encode_completion(text, ended=ended)
        # an end's name may be spelt out in the text, and a tokenizer that normalises may
        # make other text of it: rewards and defenses would see one thing, the learner another
        early = set(self.model.end_ids).intersection(ids[:-1])
        if early or self.model.decode(ids) != text:
            return "ids-mismatch"
        return ids if len(ids) <= longest else "too-long"

    def _respell(self, accepted: dict[tuple[str, int], Received]) -> int:
        """Replace the most foreign ids until the sender has no more foreign tokens than it may.

        Returns how many completions were changed.
        """
        own = {item: self.model.encode(one.text) for item, one in accepted.items()}
        foreign = {
            item: foreign_tokens(
                [i for i in one.token_ids if i not in self.model.end_ids], own[item]
            )
            for item, one in accepted.items()
        }
        left = self.belief.allowed(sum(map(len, own.values())))
        changed = 0
        for item in sorted(foreign, key=lambda item: (foreign[item], item)):
            left -= foreign[item]
            if left < 0:
                accepted[item] = self._in_own_tokens(accepted[item], own[item])
                changed += 1
        return changed

    def _in_own_tokens(self, one: Received, own: Sequence[int]) -> Received:
        """A completion in the receiver's encoding, and in the text that this decodes to.

        Another text where the tokenizer normalises, or takes a part of it for its end token: what
        is rewarded is then still what is learned, and nobody loses a completion. What was cut off
        gets no end.
        """
        body = tuple(takewhile(lambda token: token not in self.model.end_ids, own))
        end = tuple(own[len(body) : len(body) + 1])  # `</answer>` may be one
        if not end and (not body or self.model.ended(one.token_ids)):
            end = (self.model.end_id,)
        ids = (*body, *end)[: self.max_tokens]
        return replace(one, text=self.model.decode(ids), token_ids=ids)


def _typed(claim: object) -> bool:
    """Whether a claim has the types it should have; its ids are looked at later, if at all."""
    return (
        isinstance(claim, Completion)
        and isinstance(claim.prompt_key, str)
        and isinstance(claim.text, str)
        and type(claim.sample) is int
        and isinstance(claim.token_ids, tuple)
        and type(claim.ended) is bool
    )


def _is_unicode(text: str) -> bool:
    """Whether a text can be encoded: one with lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
