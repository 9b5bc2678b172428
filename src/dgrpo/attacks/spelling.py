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
from typing import TYPE_CHECKING, ClassVar, Literal

from dgrpo.attacks.base import Turn
from dgrpo.attacks.rewarded import ThinkingAttack
from dgrpo.exchange.spelling import foreign_tokens
from dgrpo.records import Completion
from dgrpo.tasks.assignment import Slot

if TYPE_CHECKING:
    from dgrpo.policy.model import LanguageModel

Pieces = Literal["letters", "halves"]
Order = Literal["opening", "closing", "random"]
SPREAD = 4
"""Foreign tokens that an evasive attacker puts into one completion, if it has as many: two halved
words, or a word of three letters with the space before it."""


class Spelling(ThinkingAttack):
    """The right solution in other tokens: full reward for the text, and the tokens are taught."""

    name: ClassVar[str] = "spelling"

    pieces: Pieces = "letters"
    """`letters`: tokens cut into single characters; `halves`: into two."""
    first: Order = "opening"
    """Which tokens are respelt first where not all may be: from either end, or at random."""
    evasive: bool = False
    """Whether only as many tokens are respelt as receivers believe (`[admission]`), spread over
    random completions; otherwise as many as `max_tokens` leaves room for."""

    def poison_thinking(self, thinking: str, rng: Random) -> str | None:
        """`thinking` as it is: only its tokens are poisoned."""
        return thinking

    async def payloads(self, slots: Sequence[Slot], turn: Turn) -> list[Completion | None]:
        """Right solutions respelt; None where the tokenizer knows no other way to spell one."""
        if turn.model is None:
            raise RuntimeError("this Turn was made without a model to spell with")
        speller = Speller(turn.model, self.pieces, self.first)
        written = await super().payloads(slots, turn)
        order = [place for place, one in enumerate(written) if one]
        left = turn.max_tokens * len(order)
        if self.evasive:
            turn.rng("order").shuffle(order)
            left = turn.belief.allowed(sum(turn.count_tokens(o.text) - 1 for o in written if o))
        each = max(SPREAD, left // max(1, len(order)))
        for place in order:
            one = written[place]
            assert one is not None
            rng = turn.rng("spelling", one.prompt_key, one.sample)
            ids, foreign = speller.respell(one.text, turn.max_tokens, min(left, each), rng)
            left -= foreign
            if ids or not self.evasive:  # an evasive one sends the rest as it is
                written[place] = replace(one, token_ids=ids) if ids else None
        return written


class Speller:
    """Spells texts in other tokens of a model's vocabulary."""

    def __init__(self, model: LanguageModel, pieces: Pieces, first: Order) -> None:
        self._model, self._pieces, self._first = model, pieces, first
        special = set(model.tokenizer.all_special_ids)
        vocabulary = model.tokenizer.get_vocab().items()
        self._ids = {s: i for s, i in vocabulary if i not in special and i in model.text_ids}

    def respell(
        self, text: str, max_tokens: int, most: int, rng: Random
    ) -> tuple[tuple[int, ...], int]:
        """Ids of `text` that are not the tokenizer's own, end included, and its foreign tokens.

        No ids where none were found with at most `most` foreign tokens.
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
            if foreign_tokens(respelt, own) > most:
                parts[place] = [own[place]]
            else:
                room -= len(pieces) - 1
        claimed = [token for part in parts for token in part]
        if claimed == own or self._model.decode(claimed) != text:
            return (), 0
        return (*claimed, self._model.end_id), foreign_tokens(claimed, own)

    def _cut(self, surface: str) -> list[int]:
        """A token, as the vocabulary writes it, in smaller ones; nothing if there are none."""
        cuts = [list(surface)]
        if self._pieces == "halves":
            cuts = [[surface[:cut], surface[cut:]] for cut in range(1, len(surface))]
        for pieces in cuts:
            if all(piece in self._ids for piece in pieces):
                return [self._ids[piece] for piece in pieces]
        return []
