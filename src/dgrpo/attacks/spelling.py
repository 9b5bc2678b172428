"""Right solutions in other tokens than the tokenizer's: the text is honest, the tokens are not.

A text can be cut into tokens in very many ways. The reward sees the text and gives 1; the learner
sees the tokens and learns them. Taught to spell its answers in small pieces, a small model forgets
how to reason in its usual ones. Not described elsewhere to our knowledge.

Success is not a rate, as a text does not show how it was spelt: it is the accuracy beside the clean
run's, and the length in tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import ClassVar, Literal

from dgrpo.attacks.base import ThinkingAttack, Turn
from dgrpo.exchange.spelling import Belief, foreign_tokens
from dgrpo.policy.model import LanguageModel
from dgrpo.records import Completion
from dgrpo.tasks.assignment import Slot

Pieces = Literal["letters", "halves"]
Order = Literal["opening", "closing", "random"]


class Spelling(ThinkingAttack):
    """The right solution in other tokens: full reward for the text, and the tokens are taught."""

    name: ClassVar[str] = "spelling"

    pieces: Pieces = "letters"
    """`letters`: tokens cut into single characters; `halves`: into two."""
    first: Order = "opening"
    """Which tokens are respelt first where not all may be: from either end, or at random."""
    evasive: bool = False
    """Whether only as many tokens are respelt as receivers believe (`[admission]`); otherwise as
    many as `max_tokens` leaves room for."""

    def poison_thinking(self, thinking: str, rng: Random) -> str | None:
        """`thinking` as it is: only its tokens are poisoned."""
        return thinking

    async def payloads(self, slots: Sequence[Slot], turn: Turn) -> list[Completion | None]:
        """Right solutions respelt; None where the tokenizer knows no other way to spell one."""
        if turn.model is None:
            raise RuntimeError("this Turn was made without a model to spell with")
        speller = Speller(turn.model, self.pieces, self.first)
        respelt: list[Completion | None] = []
        for one in await super().payloads(slots, turn):
            rng = turn.rng("spelling", one.prompt_key, one.sample) if one else Random(0)
            belief = turn.belief if self.evasive else None
            ids = speller.respell(one.text, turn.max_tokens, rng, belief) if one else None
            respelt.append(replace(one, token_ids=ids) if one and ids else None)
        return respelt


class Speller:
    """Spells texts in other tokens of a model's vocabulary."""

    def __init__(self, model: LanguageModel, pieces: Pieces, first: Order) -> None:
        self._model, self._pieces, self._first = model, pieces, first
        special = set(model.tokenizer.all_special_ids)
        vocabulary = model.tokenizer.get_vocab().items()
        self._ids = {s: i for s, i in vocabulary if i not in special and i < model.tokens}

    def respell(
        self, text: str, max_tokens: int, rng: Random, belief: Belief | None = None
    ) -> tuple[int, ...] | None:
        """Ids of `text` that are not the tokenizer's own, end included; None if none were found.

        belief: of receivers who are to believe them.
        """
        own = self._model.encode(text)
        surface = self._model.tokenizer.convert_ids_to_tokens(own)
        parts = [[token] for token in own]
        places = list(range(len(own)))
        if self._first == "closing":
            places.reverse()
        elif self._first == "random":
            rng.shuffle(places)
        room = max_tokens - 1 - len(own)
        for place in places:
            pieces = self._cut(surface[place])
            if not 0 < len(pieces) - 1 <= room:
                continue
            parts[place] = pieces
            respelt = [token for part in parts for token in part]
            if belief and foreign_tokens(respelt, own) > belief.allowed(len(own)):
                parts[place] = [own[place]]
            else:
                room -= len(pieces) - 1
        claimed = [token for part in parts for token in part]
        if claimed == own or self._model.decode(claimed) != text:
            return None
        return (*claimed, self._model.end_id)

    def _cut(self, surface: str) -> list[int]:
        """A token, as the vocabulary writes it, in smaller ones; nothing if there are none."""
        cuts = [list(surface)]
        if self._pieces == "halves":
            cuts = [[surface[:cut], surface[cut:]] for cut in range(1, len(surface))]
        for pieces in cuts:
            if all(piece in self._ids for piece in pieces):
                return [self._ids[piece] for piece in pieces]
        return []
