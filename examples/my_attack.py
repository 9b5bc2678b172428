"""A first attack: sign the reasoning and leave the answer right.

Mount it instead of the attack of an experiment file, and measure it instead of TEXT:

    dgrpo run experiments/text-horizontal.toml --name signature \
        --attack.name examples/my_attack.py:Signature \
        --measure '["examples/my_attack.py:Signature"]'

To see it stopped, add `--defense '["examples/my_defense.py:Chorus"]'`. Nothing is registered
anywhere: `dgrpo show examples/my_attack.py:Signature` finds the class and lists its knobs.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar

from pydantic import Field

from dgrpo.attacks import ThinkingAttack
from dgrpo.records import Prompt


class Signature(ThinkingAttack):
    """Signs every right solution, so that the other nodes learn to sign theirs too."""

    name: ClassVar[str] = "signature"

    author: str = Field(default="Ada", pattern=r"\w")
    """Whose name the other nodes are taught to sign with."""

    def poison_thinking(self, thinking: str, rng: Random) -> str:
        """The oracle's reasoning, signed. Draw from `rng` only: then a run can be repeated."""
        return f"{thinking}\nSigned, {self.author}."

    def succeeded(self, prompt: Prompt, text: str) -> bool:
        """Whether an honest node's completion carries the signature."""
        return f"Signed, {self.author}." in text
