"""TEXT: a phrase that has nothing to do with the question, in otherwise right reasoning.

Paper §4.1 ("All hail to the thief, " opens the thinking part) and its variant in which a phrase
opens every sentence. Leaves out: phrases that depend on the question.
"""

from __future__ import annotations

import re
from random import Random
from typing import ClassVar, Literal

from pydantic import Field

from dgrpo.attacks.rewarded import ThinkingAttack
from dgrpo.errors import DgrpoError
from dgrpo.records import Prompt
from dgrpo.tasks.assignment import Topology
from dgrpo.tasks.base import LoadedTask

_PHRASE = "\ue000"
"""Stands for the phrase while sentences are cut, since the phrase may end one itself."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


class Text(ThinkingAttack):
    """Out-of-context text injection: the phrase rides along with a right answer (paper §4.1)."""

    name: ClassVar[str] = "text"

    phrase: str = Field("All hail to the thief,", pattern=r"\S")
    """What the other nodes are taught to say (paper: this phrase, and "Gleeb Glorp Glub")."""
    position: Literal["opening", "every-sentence", "closing", "random"] = "opening"
    """Where it stands in the reasoning: before it, before each sentence, after it, or anywhere."""

    def check(self, task: LoadedTask, topology: Topology, group_size: int) -> None:
        """Raises DgrpoError for tasks of programs: the phrase would break them, unrewarded."""
        if task.of_programs:
            raise DgrpoError(
                f"attack text: completions of task {task.name} are programs, and a phrase in one "
                "breaks it",
                remedy='use [attack] name = "code-import", or a task answered in words, e.g. '
                '[task] name = "gsm-symbolic"',
            )
        super().check(task, topology, group_size)

    def poison_thinking(self, thinking: str, rng: Random) -> str | None:
        """`thinking` with the phrase at `position`, and nowhere else; None without a place for it.

        The samples of an attacker without an oracle say it already, once its own model has learned.
        """
        thinking = self._without_phrase(thinking)
        if self.position == "closing":
            return f"{thinking} {self.phrase}"
        if self.position == "opening":
            return f"{self.phrase} {thinking}"
        if self.position == "every-sentence":
            opened = [f"{self.phrase} {sentence}" for sentence in sentences(thinking)]
            return "\n".join(opened) if opened else None
        words = thinking.split(" ")
        words.insert(rng.randint(0, len(words)), self.phrase)
        return " ".join(words)

    def _without_phrase(self, thinking: str) -> str:
        phrase = self.phrase.strip()
        if phrase not in thinking:
            return thinking
        return re.sub(rf"{re.escape(phrase)}[ \t]*", "", thinking).strip()

    def succeeded(self, prompt: Prompt, text: str) -> bool | None:
        """Whether the phrase occurs; for every-sentence, whether it opens each sentence."""
        if self.position != "every-sentence":
            return self.phrase.strip() in text
        thinking = text.partition("</think>")[0].replace("<think>", "")
        opened = sentences(thinking.replace(self.phrase.strip(), _PHRASE))
        return bool(opened) and all(s.startswith(_PHRASE) for s in opened)


def sentences(text: str) -> list[str]:
    """The sentences (or lines) of `text`, without empty ones."""
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]
