"""The paper's judge: a language model reads each completion and says whether to learn from it.

Source: paper §5.2. The judge may argue first (criticism, the paper's CoT) and then decides; what it
rejects is left out, or gets reward 0 (`on_reject` of the experiment: r = r_RLVR · r_judge). It
needs no weights in common with the sender, so it also works in heterogeneous swarms. The judge is
a model in this process or an OpenAI-compatible endpoint; docs/judge.md shows both, and the prompts.

Leaves out: beams (the paper uses 3; see `judging/local.py`), and long completions that are the
model's own words: those are true and relevant (DoS).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from dgrpo.defenses.base import Defense, Receiver, RunningDefense
from dgrpo.errors import DgrpoError
from dgrpo.extras import naming_missing_extras
from dgrpo.judging.bench import Bench, Question, shared_bench
from dgrpo.judging.fields import checked_fields, fields_to_send, wants_seed
from dgrpo.judging.prompts import Style
from dgrpo.judging.template import checked_arguments
from dgrpo.judging.verdicts import Policy, check_decision, verdict_of
from dgrpo.policy.settings import SHIPPED, ModelSettings, Sampling
from dgrpo.records import Batch, Verdict

if TYPE_CHECKING:
    from dgrpo.judging.endpoint import EndpointJudge
    from dgrpo.judging.local import LocalJudge

SHIPPED_JUDGE = "judge-nano"
_HERE = ("device", "dtype", "batch", "top_k", "template_arguments")
"""Knobs of a judge in this process."""
_THERE = (
    "api_key_env",
    "on_failure",
    "timeout",
    "round_timeout",
    "retries",
    "concurrency",
    "endpoint_fields",
)
"""Knobs of a judge behind an endpoint."""
_REPLY = ("temperature", "top_k", "top_p", "max_tokens")
"""Knobs of a generated reply."""


class Judge(Defense):
    """A language model judges whether a completion is relevant, true and free of foreign matter."""

    name: ClassVar[str] = "judge"

    model: str = SHIPPED_JUDGE
    """The judge: a shipped model, a local folder in Hugging Face format or a name on a model hub;
    with `endpoint`, the model's name there (paper: Qwen2.5-14B-Instruct)."""
    endpoint: str | None = None
    """Base URL of an OpenAI-compatible API, version included, such as `http://localhost:8000/v1`;
    none: `model` is loaded into this process."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the endpoint's key; the key itself is never
    part of an experiment. None: no key is sent."""
    style: Literal["auto", "brief", "full"] = "auto"
    """Form of the prompt: `brief` for the shipped judge (a plain continuation), `full` for instruct
    models (a chat message with instructions); `auto`: brief for shipped models, full for others."""
    criticism: bool = True
    """Whether the judge argues before it decides (the paper's CoT)."""
    decision: Literal["generated", "log-odds"] = "generated"
    """`generated`: read from the judge's reply (paper). `log-odds`: from the odds of "yes" against
    "no" as its next word, in one forward pass; needs a judge in this process, and no criticism."""
    threshold: float = Field(0.0, allow_inf_nan=False)
    """Least log-odds of yes, in nats, at which a completion is accepted; for `log-odds`."""
    temperature: float = Field(0.6, ge=0, allow_inf_nan=False)
    """Of the judge's reply (paper: 0.6); 0 takes the likeliest token."""
    top_k: int = Field(10, ge=0)
    """Tokens the judge samples from (paper: 10); not sent to an endpoint, whose standard API lacks
    it: `endpoint_fields = {top_k = 10}` where the server takes it."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Probability mass the judge samples from (paper: 0.9)."""
    max_tokens: int = Field(256, ge=16)
    """Longest reply in tokens, criticism and reasoning included; what is cut off is unreadable."""
    unreadable: Policy = "reject"
    """What becomes of a completion when the judge's reply holds no decision, when question and
    completion are too long for the judge, or when the endpoint fails after it was sent peers'
    texts, of which one may have made it fail."""
    on_failure: Policy = "reject"
    """What becomes of completions where the endpoint is down, slow, refuses or answers nonsense
    before any was sent to it. It is counted, by kind, in rounds.jsonl and in the report."""
    timeout: float = Field(60.0, gt=0, allow_inf_nan=False)
    """Seconds for one request to the endpoint, and how long it is left alone once found down."""
    round_timeout: float = Field(600.0, gt=0, allow_inf_nan=False)
    """Seconds for all of a round's requests; completions that are left count as `timeout`. A server
    that says when it may be asked again (Retry-After) is waited for within them."""
    retries: int = Field(2, ge=0)
    """Further tries after a timeout, a lost connection, a server error or HTTP 429."""
    concurrency: int = Field(8, ge=1)
    """Requests to the endpoint at a time."""
    endpoint_fields: dict[str, JsonValue] = Field(default_factory=dict)
    """Sent along with each request, e.g. `{top_k = 10}`; overrides what this file sends. `false`
    leaves `temperature`, `top_p`, `max_tokens` or `seed` out, where the server refuses the field;
    `max_completion_tokens` takes the place of `max_tokens`."""
    template_arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """What the chat template of a judge in this process is given, e.g. `{enable_thinking = false}`;
    for `full`. A server takes them as `endpoint_fields = {chat_template_kwargs = {…}}`."""
    batch: int = Field(64, ge=1)
    """Completions that a judge in this process reads at a time; bounds memory."""
    device: str = "cpu"
    """torch device of a judge in this process."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of its weights."""

    @field_validator("endpoint")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        with naming_missing_extras():
            from dgrpo.judging.address import checked_url

        return checked_url(value)

    @field_validator("endpoint_fields")
    @classmethod
    def _can_be_sent(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return checked_fields(value)

    @field_validator("template_arguments")
    @classmethod
    def _can_be_given(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        checked_arguments(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Judge:
        check_decision(self.name, self.decision, self.criticism)
        if self.decision == "log-odds" and self.endpoint:
            raise DgrpoError(
                'judge: decision = "log-odds" needs a judge in this process, not an endpoint',
                remedy='use decision = "generated" with endpoint, or leave endpoint out',
            )
        if self.endpoint and "model" not in self.model_fields_set:
            raise DgrpoError(
                "judge: endpoint is given, but not which of its models",
                remedy='set model = "…" to a name that the endpoint lists under /models',
            )
        where = f"{self.name}: "
        if self.endpoint:
            self.refuse_unread(where, _HERE, "without endpoint")
        else:
            self.refuse_unread(where, _THERE, "with endpoint")
        if self._style == "brief":
            self.refuse_unread(where, ("template_arguments",), 'with style = "full"')
        if self.decision == "log-odds":
            self.refuse_unread(where, _REPLY, 'with decision = "generated"')
        else:
            self.refuse_unread(where, ("threshold",), 'with decision = "log-odds"')
        return self

    def settings(self) -> dict[str, Any]:
        """As every plug-in's, without `template_arguments` where none are given.

        So experiments that were played before that knob existed keep their digest.
        """
        table = super().settings()
        if not self.template_arguments:
            del table["template_arguments"]
        return table

    def models(self) -> tuple[str, ...]:
        """The judge, unless it is elsewhere."""
        return () if self.endpoint else (self.model,)

    def start(self, node: Receiver | None = None) -> JudgeAtWork:
        """Load the judge, or read the key; nodes of a process with equal settings share it.

        It needs nothing of the node's own.
        """
        asks = self.model_dump(exclude={"threshold", "unreadable", "on_failure"}, mode="json")
        return JudgeAtWork(self, shared_bench(json.dumps(asks, sort_keys=True), self._bench))

    @property
    def _style(self) -> Style:
        if self.style != "auto":
            return self.style
        shipped = not self.endpoint and (SHIPPED / self.model / "config.json").is_file()
        return "brief" if shipped and "/" not in self.model else "full"

    def _bench(self) -> Bench:
        if self.endpoint:
            return Bench(self._remote(self.endpoint), f"{self.model}@{self.endpoint}")
        from dgrpo.policy.source import digest_of

        with _of_the_judge():
            return Bench(self._local(), digest_of(self.model))

    def _remote(self, url: str) -> EndpointJudge:
        with naming_missing_extras():
            from dgrpo.judging.address import key_of, proxy_of
            from dgrpo.judging.endpoint import EndpointJudge
            from dgrpo.judging.line import Line

        own = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
        }
        line = Line(
            url=url,
            key=key_of(self.api_key_env),
            timeout=self.timeout,
            retries=self.retries,
            concurrency=self.concurrency,
            proxy=proxy_of(url),
        )
        return EndpointJudge(
            line=line,
            model=self.model,
            style=self._style,
            criticism=self.criticism,
            fields=fields_to_send(own, self.endpoint_fields),
            seeded=wants_seed(self.endpoint_fields),
            round_timeout=self.round_timeout,
        )

    def _local(self) -> LocalJudge:
        from dgrpo.judging.local import LocalJudge, PromptTexts
        from dgrpo.policy.model import load_model

        settings = ModelSettings(name=self.model, device=self.device, dtype=self.dtype)
        model = load_model(settings)
        PromptTexts(model, self._style, self.criticism, self.template_arguments)  # fails early
        sampling_settings = Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
        )
        generated = self.decision == "generated"
        return LocalJudge(
            model,
            self._style,
            self.criticism,
            sampling_settings if generated else None,
            self.batch,
            self.template_arguments,
        )


class JudgeAtWork(RunningDefense):
    """A judge during a run. Score: log-odds of yes in nats, or 1 (yes) and 0 (no, undecided)."""

    def __init__(self, settings: Judge, bench: Bench) -> None:
        self._settings = settings
        self._bench = bench

    async def screen(self, batch: Batch, node: Receiver) -> list[Verdict]:
        """One verdict per completion; equal completions of a prompt are judged once."""
        await asyncio.sleep(0)  # nodes of a simulation all leave the exchange first: fair clocks
        return await self.verdicts(
            [Question(one.prompt.key, one.prompt.text, one.text) for one in batch.received]
        )

    async def verdicts(self, questions: Sequence[Question]) -> list[Verdict]:
        """One verdict per question, by the settings' policies where the judge decides nothing."""
        opinions = await self._bench.opinions(questions)
        return [
            verdict_of(
                opinion,
                threshold=self._settings.threshold,
                unreadable=self._settings.unreadable,
                on_failure=self._settings.on_failure,
            )
            for opinion in opinions
        ]

    def state_dict(self) -> dict[str, Any]:
        """Which judge it is: a run must not go on under another one."""
        return {"judge": self._bench.identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises DgrpoError when the judge's files have changed since the checkpoint."""
        if state.get("judge") != self._bench.identity:
            raise DgrpoError(
                f"judge: {self._settings.model!r} is not the model this run was begun with",
                remedy="bring the former model back, or begin the run again under another --out",
            )


@contextmanager
def _of_the_judge() -> Iterator[None]:
    """Say whose model it is that cannot be loaded."""
    try:
        yield
    except DgrpoError as error:
        raise DgrpoError(f"judge: {error.problem}", remedy=error.remedy) from error
