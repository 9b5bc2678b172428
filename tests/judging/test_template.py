"""A judge's chat template is rendered alike on every day, and with the user's arguments."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.judging.bench import Question
from dgrpo.judging.local import LocalJudge, PromptTexts
from dgrpo.judging.template import ChatTemplate
from dgrpo.judging.verdicts import Opinion
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.settings import ModelSettings, Sampling

MESSAGES = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


@pytest.fixture
def model() -> LanguageModel:
    return load_model(ModelSettings())


def rendered(model: LanguageModel, template: str, **arguments: Any) -> str:
    model.tokenizer.chat_template = template
    return ChatTemplate(model.tokenizer, arguments).render("hello")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Today: {{ strftime_now('%d %b %Y') }}\n" + MESSAGES, "Today: 26 Jul 2024\nhello"),
        ("{%- set today = strftime_now('%Y-%m-%d') %}\n{{ today }} " + MESSAGES,
         "2024-07-26 hello"),
        ("{% if strftime_now is defined %}{{ strftime_now(format='%-d %B, %y') }}{% endif %}",
         "26 July, 24"),
        ("{% macro day() %}{{ strftime_now('%A') }}{% endmacro %}"
         "{% for m in messages %}{{ day() }}{% endfor %}", "Friday"),
        ("{{ strftime_now('%Y-%m-%d').split('-')[0] }}", "2024"),
        ("\n  {% if true %}\n{{ strftime_now('%H:%M') }}{% endif %}", "\n12:00"),
    ],
)  # fmt: skip
def test_a_template_that_prints_the_date_is_given_a_fixed_one(
    model: LanguageModel, template: str, text: str
) -> None:
    assert rendered(model, template) == text


def test_but_for_the_date_the_template_is_rendered_as_it_is(model: LanguageModel) -> None:
    template = "\n  {% if true %}\n  on {{ strftime_now('%Y') }}{% endif %}\n" + MESSAGES
    ours = rendered(model, template)
    chat = [{"role": "user", "content": "hello"}]
    theirs = model.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert ours == str(theirs).replace(str(datetime.now().year), "2024")


def test_the_prompts_of_a_judge_with_a_dated_template_hold_the_fixed_date(
    model: LanguageModel,
) -> None:
    model.tokenizer.chat_template = "Today: {{ strftime_now('%d %b %Y') }}\n" + MESSAGES
    texts = PromptTexts(model, "full", True)
    texts.context = 4096
    told = texts.ask(Question("k", "1+1?", "2"))
    assert not isinstance(told, Opinion)
    assert told[0].startswith("Today: 26 Jul 2024\nYou check one solution")


def test_the_template_gets_the_users_arguments(model: LanguageModel) -> None:
    template = MESSAGES + "{% if not (enable_thinking | default(true)) %}<think></think>{% endif %}"
    assert rendered(model, template) == "hello"
    assert rendered(model, template, enable_thinking=False) == "hello<think></think>"
    texts = PromptTexts(model, "full", True, {"enable_thinking": False})
    texts.context = 4096
    told = texts.ask(Question("k", "1+1?", "2"))
    assert not isinstance(told, Opinion)
    assert told[0].endswith("<think></think>")


@pytest.mark.parametrize(
    ("template", "arguments", "said"),
    [
        ("{{ raise_exception('no users here') }}", {}, "no users here"),
        ("{{ 1 + 'a' }}", {}, "TypeError"),
        ("{% for %}", {}, "TemplateSyntaxError"),
        ("", {"enable_thinking": False}, "no chat template"),
    ],
)
def test_a_template_that_cannot_be_used_is_named_with_a_remedy(
    model: LanguageModel, template: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(DgrpoError, match=said) as caught:
        rendered(model, template, **arguments)
    assert "template" in caught.value.remedy


def test_a_template_that_fails_on_one_completion_leaves_the_others_judged(
    model: LanguageModel,
) -> None:
    model.network.config.max_position_embeddings = 4096
    model.tokenizer.chat_template = (
        "{% if 'forbidden' in messages[0].content %}{{ raise_exception('not that') }}{% endif %}"
        + MESSAGES
    )
    judge = LocalJudge(model, "full", True, Sampling(max_tokens=16))
    asked = [Question("k", "1+1?", text) for text in ("2", "forbidden", "3")]
    details = [opinion.detail for opinion in asyncio.run(judge.ask(asked))]
    assert ["not that" in detail for detail in details] == [False, True, False]


@pytest.mark.parametrize(("opens", "inside"), [("<think>\n", True), ("", False)])
def test_a_reply_is_read_as_reasoning_where_the_template_opened_one(
    model: LanguageModel, opens: str, inside: bool
) -> None:
    model.tokenizer.chat_template = MESSAGES + opens
    assert PromptTexts(model, "full", True).opening == ("<think>" if inside else "")
