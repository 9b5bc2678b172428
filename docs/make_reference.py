"""Write docs/reference.md: every setting of every part, from the code's own documentation."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dgrpo import plugins
from dgrpo.exchange.spelling import Belief
from dgrpo.experiment import Evaluation, Experiment, Recording
from dgrpo.learning.settings import LearnerSettings
from dgrpo.policy.settings import ModelSettings, Sampling
from dgrpo.pretraining.recipe import Recipe
from dgrpo.sandbox.settings import SandboxSettings

PARTS: dict[str, type[BaseModel]] = {
    "Experiment": Experiment,
    "[model]": ModelSettings,
    "[sampling]": Sampling,
    "[admission]": Belief,
    "[learner]": LearnerSettings,
    "[evaluation]": Evaluation,
    "[recording]": Recording,
    "[task.sandbox]": SandboxSettings,
    "Recipe (dgrpo pretrain)": Recipe,
}


def main() -> None:
    """Write the page beside this file."""
    pieces = ["# Reference\n\nMade by `make docs` from the code; change it there.\n"]
    pieces += [section(title, model) for title, model in PARTS.items()]
    for kind in plugins.KINDS:
        pieces.append(f"\n# {kind}\n")
        pieces += [section(f"`{name}`", cls) for name, cls in plugins.available(kind).items()]
    Path(__file__).with_name("reference.md").write_text("\n".join(pieces), encoding="utf-8")


def section(title: str, model: type[BaseModel]) -> str:
    """One heading, the docstring and a table of fields."""
    lines = [f"\n## {title}\n", inspect.getdoc(model) or "", ""]
    if model.model_fields:
        lines += ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        default = (
            "required"
            if field.is_required()
            else f"`{shown(field.get_default(call_default_factory=True))}`"
        )
        meaning = (field.description or "").replace("\n", " ").replace("|", "\\|")
        lines.append(f"| `{name}` | {default} | {meaning} |")
    return "\n".join(lines)


def shown(value: Any) -> str:
    """A default as a reader expects it; whole tables point to their own section."""
    return "its own section" if isinstance(value, BaseModel) else repr(value).replace("|", "\\|")


if __name__ == "__main__":
    main()
