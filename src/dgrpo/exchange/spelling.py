"""Which claimed token ids a receiver believes, among all that decode to a text.

One text can be said in very many token sequences. A reward sees the text, a model learns the
tokens: a right answer in strange tokens teaches strange tokens (docs/threat-model.md). Honest
models draw few: a sender is believed while its ids as a whole lie near the receiver's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dgrpo.errors import DgrpoError


class Belief(BaseModel):
    """What a receiver believes of the token ids that come with a text."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    believe: Literal["near", "claimed"] = "near"
    """`near`: ids near the receiver's own encodings of the texts; `claimed`: all ids that decode to
    the text, as they are where a defense proves them (`Defense.proves_ids`). In place of ids that
    are not believed the receiver takes its own encoding: the most foreign ones first."""
    foreign_share: float = Field(0.01, ge=0, le=1)
    """Foreign tokens that `near` allows a sender in a round, as a share of the receiver's own
    encodings of all that it sent (docs/results/spelling.md)."""
    foreign_least: int = Field(4, ge=0)
    """Foreign tokens that `near` allows a sender in a round however little it sent."""

    @model_validator(mode="after")
    def _reads_what_is_set(self) -> Belief:
        """Raise DgrpoError for a limit that nothing would read."""
        usual = type(self).model_fields
        for knob in ("foreign_share", "foreign_least"):
            if self.believe == "claimed" and getattr(self, knob) != usual[knob].default:
                raise DgrpoError(
                    f'admission.{knob} is set, and admission.believe = "claimed" believes all ids',
                    remedy=f'leave {knob} out, or set admission.believe = "near"',
                )
        return self

    def allowed(self, own: int) -> int:
        """Foreign tokens that `near` allows a sender of `own` tokens, by the receiver's count."""
        return max(self.foreign_least, int(self.foreign_share * own))


USUAL = Belief()
"""What is believed unless an experiment says otherwise."""


def foreign_tokens(claimed: Sequence[int], own: Sequence[int]) -> int:
    """How many of `claimed` are not in its longest common subsequence with `own`.

    Bit-parallel (Hyyrö 2004): an addition of len(claimed) bits for each of `own`, so that no claim
    is expensive to look at.

    >>> foreign_tokens([7, 1, 2, 9], [7, 3, 9])
    2
    """
    if tuple(claimed) == tuple(own):
        return 0
    places: dict[int, int] = {}
    for place, token in enumerate(claimed):
        places[token] = places.get(token, 0) | 1 << place
    foreign = everything = (1 << len(claimed)) - 1
    for token in own:
        here = foreign & places.get(token, 0)
        foreign = ((foreign + here) | (foreign - here)) & everything
    return foreign.bit_count()
