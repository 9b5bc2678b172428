"""The border: each broken rule is counted under its name, and nothing that arrives raises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.normalizers import NFC

from dgrpo.exchange.admission import LONGEST_TOKEN, LOOKED_AT, STRETCH, Admission
from dgrpo.policy.model import LanguageModel, load_model
from dgrpo.policy.settings import ModelSettings
from dgrpo.records import Completion, Prompt, Received
from dgrpo.tasks.assignment import Assignment, Topology

PROMPTS = {key: Prompt(key, f"Question: {key}?\nAnswer:\n", "4", "2+2=4") for key in "abcd"}
MAX_TOKENS = 12
SAMPLES_OF_NODE_1 = (2, 3)
"""What node 1 of 2 owes of a group of 4, horizontally."""


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model(ModelSettings())


def admission(
    model: LanguageModel, topology: Topology = "horizontal", prompts: str = "ab"
) -> Admission:
    """Two nodes, groups of four; two common prompts, or the pool `prompts` in vertical."""
    assignment = Assignment(topology, 2, 2, 4, seed=0)
    return Admission(assignment, {key: PROMPTS[key] for key in prompts}, model, MAX_TOKENS)


def admit(
    model: LanguageModel, claims: Sequence[Any], *, same_tokenizer: bool = True
) -> tuple[list[Received], dict[str, int]]:
    """What node 1's claims become, horizontally."""
    received, violations = admission(model).admit("node-1", 1, claims, same_tokenizer)
    return received, dict(violations)


def owed(model: LanguageModel, text: str = "2+2=4") -> list[Completion]:
    """An honest message of node 1."""
    ids = model.encode_completion(text)
    return [Completion(key, s, text, ids) for key in "ab" for s in SAMPLES_OF_NODE_1]


def test_an_honest_message_is_received_whole(model: LanguageModel) -> None:
    received, violations = admit(model, owed(model))
    assert violations == {}
    assert [one.item for one in received] == [
        ("node-1", key, sample) for key in "ab" for sample in SAMPLES_OF_NODE_1
    ]
    assert {one.token_ids for one in received} == {model.encode_completion("2+2=4")}


def test_the_receivers_own_prompt_is_used(model: LanguageModel) -> None:
    received, _ = admit(model, owed(model))
    assert all(one.prompt is PROMPTS[one.prompt.key] for one in received)


def test_a_prompt_that_the_receiver_does_not_know_is_dropped(model: LanguageModel) -> None:
    stray = Completion("elsewhere", 2, "2+2=4")
    received, violations = admit(model, [stray, *owed(model), Completion("c", 2, "2+2=4")])
    assert (len(received), violations) == (4, {"unknown-prompt": 2})


@pytest.mark.parametrize("sample", [-1, 0, 1, 4, 10**30])
def test_a_sample_that_the_sender_does_not_owe_is_surplus(
    model: LanguageModel, sample: int
) -> None:
    received, violations = admit(model, [*owed(model), Completion("a", sample, "2+2=4")])
    assert (len(received), violations) == (4, {"surplus": 1})


def test_vertically_prompts_beyond_the_senders_share_are_surplus(model: LanguageModel) -> None:
    rules = admission(model, "vertical", "abcd")
    claims = [Completion(key, s, "2+2=4") for key in "cab" for s in range(4)]
    received, violations = rules.admit("node-1", 1, claims, True)
    assert {one.prompt.key for one in received} == {"c"}
    assert (len(received), dict(violations)) == (4, {"surplus": 8})


def test_of_two_claims_to_one_sample_the_first_counts(model: LanguageModel) -> None:
    first, *rest = owed(model)
    again = Completion(first.prompt_key, first.sample, "2+2=5")
    received, violations = admit(model, [first, again, *rest])
    assert violations == {"duplicate": 1}
    assert "2+2=5" not in {one.text for one in received}


def test_what_was_owed_and_not_sent_is_missing(model: LanguageModel) -> None:
    assert admit(model, owed(model)[1:])[1] == {"missing": 1}
    assert admit(model, []) == ([], {"missing": 4})


def test_a_dropped_completion_is_counted_once_and_not_as_missing_too(model: LanguageModel) -> None:
    first, *rest = owed(model)
    lie = Completion(first.prompt_key, first.sample, "2+2=5", first.token_ids)
    assert admit(model, [lie, *rest])[1] == {"ids-mismatch": 1}


def test_ids_that_say_something_else_than_the_text_are_dropped(model: LanguageModel) -> None:
    end, vocabulary = model.end_id, model.vocabulary
    good = model.encode_completion("2+2=4")
    cut = tuple(model.encode("7")) * MAX_TOKENS
    for text, ids, ended in (
        ("2+2=4", good, False),
        ("7" * MAX_TOKENS, cut, True),
        ("7" * (MAX_TOKENS - 1), cut[:-1], False),
        ("7" * (MAX_TOKENS - 1), (), False),
        ("", (), False),
    ):
        claim = Completion("a", 2, text, ids, ended)
        assert admit(model, [claim, *owed(model)[1:]])[1] == {"ids-mismatch": 1}, claim
    for ids in (
        model.encode_completion("2+2=5"),
        (vocabulary, *good),
        (-1, *good),
        (10**30, *good),
        (-vocabulary, *good),
        good[:-1],
        (*good, end),
        (end, *good),
        (*good[:1], end, *good[1:]),
        (end,),
        (end,) * MAX_TOKENS,
    ):
        claim = Completion("a", 2, "2+2=4", ids, model.ended(ids))
        received, violations = admit(model, [claim, *owed(model)[1:]])
        assert (len(received), violations) == (3, {"ids-mismatch": 1}), ids


def test_another_split_into_tokens_is_believed_if_it_is_near_the_tokenizers_own(
    model: LanguageModel,
) -> None:
    """What was sampled token by token need not be how the tokenizer would split the text."""
    text = "the"
    by_letter = (*(i for letter in text for i in model.encode(letter)), model.end_id)
    assert by_letter != model.encode_completion(text)
    received, _ = admit(model, [Completion("a", 2, text, by_letter)])
    assert received[0].token_ids == by_letter


def test_ids_of_another_tokenizer_are_ignored_and_the_text_is_encoded(model: LanguageModel) -> None:
    claims = [Completion("a", 2, "2+2=4", (999_999, -3)), Completion("a", 3, "2+2=4")]
    received, violations = admit(model, claims, same_tokenizer=False)
    assert [one.token_ids for one in received] == [model.encode_completion("2+2=4")] * 2
    assert violations == {"missing": 2}


def test_a_completion_without_ids_is_encoded_with_an_end(model: LanguageModel) -> None:
    received, _ = admit(model, [Completion("a", 2, "2+2=4"), Completion("a", 3, "")])
    assert received[0].token_ids == model.encode_completion("2+2=4")
    assert received[1].token_ids == (model.end_id,)


def test_only_a_full_length_completion_may_lack_an_end(model: LanguageModel) -> None:
    (digit,) = model.encode("7")
    full, long = "7" * MAX_TOKENS, "7" * (MAX_TOKENS + 1)
    ended = "7" * (MAX_TOKENS - 1)
    claims = [
        Completion("a", 2, full, (digit,) * MAX_TOKENS, ended=False),
        Completion("a", 3, ended, (*(digit,) * (MAX_TOKENS - 1), model.end_id)),
        Completion("b", 2, long, (*(digit,) * (MAX_TOKENS + 1), model.end_id)),
        Completion("b", 3, full),  # encoded, its end token is one too many
    ]
    received, violations = admit(model, claims)
    assert [one.text for one in received] == [full, ended]
    assert violations == {"too-long": 2}
    assert received[0].token_ids == (digit,) * MAX_TOKENS
    without_ids, _ = admit(model, [Completion("a", 2, full, ended=False)])
    assert without_ids == received[:1]


def test_what_another_tokenizer_cut_off_is_learned_without_an_end(model: LanguageModel) -> None:
    """With one the receiver would learn to stop in mid-sentence."""
    text, unknown = "There are 3 cows", (999_999,) * MAX_TOKENS
    claims = [
        Completion("a", 2, text, unknown, ended=False),
        Completion("a", 3, text, unknown),
        Completion("b", 2, text, unknown[1:], ended=False),  # cut off before its limit
        Completion("b", 3, "", unknown, ended=False),  # nothing but an end stands for it
    ]
    received, violations = admit(model, claims, same_tokenizer=False)
    assert violations == {"ids-mismatch": 1}
    body = tuple(model.encode(text))
    end = (model.end_id,)
    assert [one.token_ids for one in received] == [body, (*body, *end), end]
    assert [one.text for one in received] == [text, text, ""]


def test_another_tokenizers_completion_is_as_long_as_its_sender_counts(
    model: LanguageModel,
) -> None:
    """What is short for the sender may be long for the receiver; memory bounds it."""
    most = STRETCH * MAX_TOKENS
    claims = [
        Completion("a", 2, "7" * (most - 1), (1,) * MAX_TOKENS),
        Completion("a", 3, "7" * most, (1,) * MAX_TOKENS, ended=False),
        Completion("b", 2, "7" * most, (1,) * MAX_TOKENS),  # its end is one too many
        Completion("b", 3, "7", (1,) * (MAX_TOKENS + 1)),
    ]
    received, violations = admit(model, claims, same_tokenizer=False)
    assert [(len(one.text), len(one.token_ids)) for one in received] == [
        (most - 1, most),
        (most, most),
    ]
    assert violations == {"too-long": 2}
    assert admit(model, claims)[1]["too-long"] == 1  # the rest are not the text's ids
    (digit,) = model.encode("7")
    same = [replace(one, token_ids=(digit,) * len(one.text)) for one in claims[:3]]
    assert admit(model, same)[1] == {"too-long": 3, "missing": 1}


def test_another_tokenizers_text_of_very_many_characters_is_not_encoded(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: LanguageModel, text: str, *, ended: bool = True) -> tuple[int, ...]:
        raise AssertionError("encoded")

    monkeypatch.setattr(LanguageModel, "encode_completion", never)
    claim = Completion("a", 2, "7" * (LONGEST_TOKEN * MAX_TOKENS + 1), (1,))
    assert admit(model, [claim], same_tokenizer=False)[1]["too-long"] == 1


@pytest.mark.parametrize(("room", "longest"), [(40, 40), (7, MAX_TOKENS), (10**6, 48)])
def test_another_tokenizers_completion_stays_within_the_models_positions(
    model: LanguageModel, room: int, longest: int
) -> None:
    """But for what the receiver's own completions may take: the run was told of them."""
    prompt = len(model.encode_prompt(PROMPTS["a"].text))
    rules = replace(admission(model), positions=prompt + room)
    for length, kind in ((longest, None), (longest + 1, "too-long")):
        claim = Completion("a", 2, "7" * length, (1,) * MAX_TOKENS, ended=False)
        received, violations = rules.admit("node-1", 1, [claim], same_tokenizer=False)
        assert [len(one.token_ids) for one in received] == ([] if kind else [length])
        assert violations["too-long"] == (kind is not None)


def test_a_text_that_spells_out_the_end_token_does_not_end_twice(model: LanguageModel) -> None:
    end = model.decode((model.end_id, model.end_id))
    assert model.encode(end) == [model.end_id]
    texts = (f"2+2=4{end}5", f"2+2=4{end}")
    for claims in (
        [Completion("a", s, text) for s, text in enumerate(texts, 2)],
        [Completion("a", s, t, model.encode_completion(t)) for s, t in enumerate(texts, 2)],
    ):
        received, violations = admit(model, claims)
        assert (received, violations) == ([], {"ids-mismatch": 2, "missing": 2})


def test_a_very_long_text_is_only_too_long(model: LanguageModel) -> None:
    received, violations = admit(model, [Completion("a", 2, "hail to the thief " * 10_000)])
    assert (received, violations) == ([], {"missing": 3, "too-long": 1})


CLAIMS = st.lists(
    st.builds(
        Completion,
        st.one_of(st.sampled_from("abcd"), st.text()),
        st.one_of(st.integers(-1, 5), st.integers()),
        st.one_of(st.text(), st.sampled_from(["2+2=4", "<think>", "<|endoftext|>", "7" * 12])),
        st.one_of(
            st.just(()),
            st.lists(st.integers(), max_size=20).map(tuple),
            st.lists(st.integers(0, 767), max_size=20).map(tuple),
        ),
        st.booleans(),
    ),
    max_size=20,
)


@settings(max_examples=300)
@given(CLAIMS, st.sampled_from(["horizontal", "vertical"]), st.booleans())
def test_whatever_arrives_only_owed_completions_with_honest_ids_come_through(
    model: LanguageModel, claims: list[Completion], topology: Topology, same_tokenizer: bool
) -> None:
    rules = admission(model, topology, "ab" if topology == "horizontal" else "abcd")
    received, violations = rules.admit("node-1", 1, claims, same_tokenizer)
    items = [one.item for one in received]
    claimed = {(c.prompt_key, c.sample, c.text) for c in claims}
    assert len(set(items)) == len(items)
    assert len({one.prompt.key for one in received}) <= rules.assignment.prompts_per_node
    for one in received:
        assert one.sample in rules.assignment.samples(1)
        assert one.prompt is PROMPTS[one.prompt.key]
        assert violations["spelling"] or (one.prompt.key, one.sample, one.text) in claimed
        assert model.decode(one.token_ids) == one.text
        assert 1 <= len(one.token_ids) <= (1 if same_tokenizer else STRETCH) * MAX_TOKENS
        assert model.end_id not in one.token_ids[:-1]
    assert all(count > 0 for count in violations.values())
    if not violations:
        assert len(received) == rules.assignment.prompts_per_node * len(rules.assignment.samples(1))
    dropped = sum(violations.values()) - violations["missing"] - violations["spelling"]
    assert len(received) + dropped == len(claims)


@pytest.mark.parametrize(
    "claim",
    [
        Completion("a", 2, "lone \ud800 surrogate"),
        Completion("a", 0, None),  # type: ignore[arg-type]
        Completion(["a"], 0, "text"),  # type: ignore[arg-type]
        Completion("a", True, "text"),
        Completion("a", 2, "text", (1.5, 0)),  # type: ignore[arg-type]
        Completion("a", 2, "2+2=4", (), 1),  # type: ignore[arg-type]
        Completion("a", 2, "2+2=4", (), None),  # type: ignore[arg-type]
        Completion("a", 0, "text", [1, 0]),  # type: ignore[arg-type]
        None,
        7,
        "a completion",
        ("a", 2, "2+2=4", ()),
        {"prompt_key": "a", "sample": 2, "text": "2+2=4"},
        [],
    ],
)
def test_a_malformed_claim_is_counted_and_raises_nothing(model: LanguageModel, claim: Any) -> None:
    good = owed(model)[1:]
    received, violations = admit(model, [claim, *good])
    assert len(received) == len(good)
    assert violations == {"malformed": 1}


@pytest.mark.parametrize("claims", [None, 7, "ab", b"ab", {"a": 1}, {1}, object(), iter([])])
def test_a_message_that_holds_no_list_of_claims_is_malformed(
    model: LanguageModel, claims: Any
) -> None:
    received, violations = admission(model).admit("node-1", 1, claims, True)
    assert (received, violations) == ([], {"malformed": 1, "missing": 3})


def test_of_very_many_claims_only_a_few_times_what_is_owed_is_looked_at(
    model: LanguageModel,
) -> None:
    looked: list[object] = []

    class Watched(list[object]):
        def __iter__(self) -> Iterator[object]:
            for one in super().__iter__():
                looked.append(one)
                yield one

    claims = Watched([*owed(model), *(object() for _ in range(100_000))])
    received, violations = admission(model).admit("node-1", 1, claims, True)
    assert len(received) == 4
    assert len(looked) <= 4 * LOOKED_AT
    assert violations == {"malformed": 4 * LOOKED_AT - 4, "surplus": 100_004 - 4 * LOOKED_AT}


def test_ids_beyond_the_limit_are_counted_and_not_walked(model: LanguageModel) -> None:
    class Unwalked(tuple[Any, ...]):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("walked")

    claim = Completion("a", 2, "2+2=4", Unwalked([1.5] * (MAX_TOKENS + 1)))
    assert admit(model, [claim, *owed(model)[1:]])[1] == {"too-long": 1}


def padded(model: LanguageModel) -> LanguageModel:
    """The same model with rows in its embeddings that no token has, as Qwen2.5's."""
    twin = model.clone()
    twin.network.resize_token_embeddings(model.vocabulary + 64)
    return twin


def test_ids_that_no_text_has_are_refused(model: LanguageModel) -> None:
    """They decode to nothing, so the text would not show them, and they would be trained on."""
    wider = padded(model)
    ids = wider.encode_completion("2+2=4")
    phantom = (ids[0], len(wider.tokenizer) + 3, *ids[1:])
    assert wider.decode(phantom) == "2+2=4"  # what makes it dangerous
    claims = [Completion("a", 2, "2+2=4", phantom), Completion("a", 3, "2+2=4", ids)]
    received, violations = admit(wider, claims)
    assert [one.sample for one in received] == [3]
    assert violations["ids-mismatch"] == 1


def test_a_claim_of_too_many_ids_is_not_decoded(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: LanguageModel, ids: object) -> str:
        raise AssertionError("decoded")

    monkeypatch.setattr(LanguageModel, "decode", never)
    claim = Completion("a", 2, "2+2=4", (5,) * (MAX_TOKENS + 1))
    assert admit(model, [claim])[1]["too-long"] == 1


@pytest.mark.parametrize("text", ["5 \u212a", "x\u037e", "a\u0338=\u0338b"])
def test_text_that_the_tokenizer_would_change_is_refused_with_ids_and_without(text: str) -> None:
    """Rewards would see one text, and the learner train on another."""
    model = load_model(ModelSettings())
    model.tokenizer.backend_tokenizer.normalizer = NFC()  # as newer releases of transformers do
    ids = model.encode_completion(text)
    assert model.decode(ids) != text
    for claimed in ((), ids):
        received, violations = admit(model, [Completion("a", 2, text, claimed)])
        assert received == []
        assert violations == {"ids-mismatch": 1, "missing": 3}


def test_a_refused_claim_cannot_be_repeated(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode = LanguageModel.encode_completion

    def counting(self: LanguageModel, text: str, *, ended: bool = True) -> tuple[int, ...]:
        encoded.append(text)
        return encode(self, text, ended=ended)

    monkeypatch.setattr(LanguageModel, "encode_completion", counting)
    claim = Completion("a", 2, "a " * 40)
    received, violations = admit(model, [claim] * 100)
    assert received == []
    looked_at = LOOKED_AT * 4
    expected = {"too-long": 1, "duplicate": looked_at - 1, "surplus": 100 - looked_at, "missing": 3}
    assert violations == expected
    assert len(encoded) == 1
