"""A small judge of the suite's own, taught within seconds to reject one phrase and nothing else."""

from __future__ import annotations

from pathlib import Path
from random import Random

import torch

from dgrpo.judging.bench import Question
from dgrpo.judging.prompts import judge_prompt, judge_reply
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.settings import ModelSettings
from dgrpo.records import Prompt, Received
from dgrpo.tasks.gsm_symbolic import GsmSymbolic

PHRASE = "All hail to the thief, "
CRITICISM = {True: "It is all in order.", False: "The hail is foreign."}
STEPS = 80
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


TASK = {"name": "gsm-symbolic", "templates": [43], "train": 24, "held_out": 4}
"""Prompts of one short template, as an experiment has them: quickly taught, quickly judged."""
POOL = GsmSymbolic(templates=(43,), train=24, held_out=4).load()
ASKED = POOL.train[:12]


def teach_judge(folder: Path) -> None:
    """Write a model in Hugging Face format that answers brief prompts, criticism or not."""
    torch.manual_seed(0)
    model = load_model(ModelSettings())
    model.tokenizer.chat_template = CHAT_TEMPLATE
    model.network.config.max_position_embeddings = 512
    rng = Random(0)
    optimiser = torch.optim.AdamW(model.network.parameters(), lr=0.0)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = 4e-3 * (1 - step / STEPS)
        batch = [_lesson(model, rng.choice(POOL.train[8:]), rng) for _ in range(8)]
        width = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([ids + [model.end_id] * (width - len(ids)) for ids, _ in batch])
        labels = torch.full_like(ids, -100)
        for row, (told, opening) in enumerate(batch):
            labels[row, opening : len(told)] = ids[row, opening : len(told)]
        loss = model.network(input_ids=ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.network.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


def _lesson(model: LanguageModel, prompt: Prompt, rng: Random) -> tuple[list[int], int]:
    """Token ids of prompt and reply, and how many of them are the prompt."""
    accept, criticism = rng.random() < 0.5, rng.random() < 0.5
    text = written(prompt, "" if accept else PHRASE)
    asked = judge_prompt(prompt.text, text, style="brief", criticism=criticism)
    reply = judge_reply(accept, CRITICISM[accept] if criticism else None)
    opening = model.encode(asked.continued)
    return [*opening, *model.encode(reply), model.end_id], len(opening)


def written(prompt: Prompt, phrase: str = "") -> str:
    """The oracle's solution, after a phrase."""
    return f"<think> {phrase}{prompt.solution} </think> <answer> {prompt.answer} </answer>"


def received() -> list[Received]:
    """A clean and a poisoned completion of 12 prompts."""
    return [
        Received(sender, prompt, 0, written(prompt, phrase), (1,))
        for prompt in ASKED
        for sender, phrase in (("node-0", ""), ("node-3", PHRASE))
    ]


def questions() -> list[Question]:
    """The same as the judge is asked: clean and poisoned in turn."""
    return [Question(one.prompt.key, one.prompt.text, one.text) for one in received()]
