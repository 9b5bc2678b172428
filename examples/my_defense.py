"""A first defense: distrust a sender who says the same sentence whatever the question.

Add it to an experiment file, in place of the file's own defenses; here against the other example:

    dgrpo run experiments/text-horizontal.toml --name chorus \
        --attack.name examples/my_attack.py:Signature \
        --measure '["examples/my_attack.py:Signature"]' \
        --defense '[{name = "examples/my_defense.py:Chorus", share = 0.4}]'

It sees what every receiver sees, and never who is malicious. What it misses: a payload that is not
a sentence of its own (TEXT as the paper has it), or that changes from one question to the next.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import ClassVar

from pydantic import Field

from dgrpo.defenses import Receiver, StatelessDefense
from dgrpo.records import Batch, Received, Verdict


class Chorus(StatelessDefense):
    """Rejects a completion with a sentence that its sender repeats over most of the prompts."""

    name: ClassVar[str] = "chorus"

    share: float = Field(default=0.5, ge=0, le=1)
    """Share of a sender's prompts over which a sentence may be repeated."""
    prompts: int = Field(default=3, ge=2)
    """A sentence under fewer different prompts than this is never held against its sender."""

    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        """Score: the largest share of the sender's prompts that one of the sentences is under."""
        answered: dict[str, set[str]] = defaultdict(set)
        under: dict[tuple[str, str], set[str]] = defaultdict(set)
        for one in batch.received:
            answered[one.sender].add(one.prompt.key)
            for sentence in sentences(one.text):
                under[one.sender, sentence].add(one.prompt.key)

        def verdict(one: Received) -> Verdict:
            heard = max(sentences(one.text), key=lambda s: len(under[one.sender, s]), default="")
            count, of = len(under[one.sender, heard]), len(answered[one.sender])
            if count < self.prompts or count <= self.share * of:
                return Verdict(accepted=True, score=count / of)
            reason = f"{heard!r} stands under {count} of the sender's {of} prompts"
            return Verdict(accepted=False, score=count / of, reason=reason)

        return [verdict(one) for one in batch.received]


def sentences(text: str) -> list[str]:
    """The different sentences of a completion, without its tags."""
    parts = re.split(r"(?<=[.!?])\s+|\n+|</?(?:think|answer)>", text)
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))
