"""Loading a model: what it knows about itself, and what is said when it cannot be used."""

from __future__ import annotations

import copy
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForCausalLM

from dgrpo.errors import DgrpoError
from dgrpo.experiment import experiment_from
from dgrpo.policy.model import LanguageModel, digest_of, load_model
from dgrpo.policy.sampling import SampleRequest, sample
from dgrpo.policy.scoring import ScoreItem, forward_pass
from dgrpo.policy.settings import SHIPPED, ModelSettings, Sampling


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model(ModelSettings())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped model, to be damaged."""
    return Path(shutil.copytree(SHIPPED / "gsm-nano", tmp_path / "copy"))


def refusal(**settings: str) -> tuple[str, str]:
    """(problem, remedy) with which `load_model` refuses."""
    with pytest.raises(DgrpoError) as caught:
        load_model(ModelSettings(**settings))
    assert caught.value.remedy, "an error names the way out"
    assert caught.value.remedy in str(caught.value)
    return caught.value.problem, caught.value.remedy


def test_a_folder_loads_as_the_shipped_model_does(model: LanguageModel, folder: Path) -> None:
    loaded = load_model(ModelSettings(name=str(folder)))
    assert loaded.weights_digest() == model.weights_digest()
    assert loaded.tokenizer_digest == model.tokenizer_digest
    assert digest_of(str(folder)) == digest_of("gsm-nano")


def test_models_are_ready_to_train_without_dropout(model: LanguageModel) -> None:
    assert not model.network.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.network.parameters())
    assert model.vocabulary == 1024
    assert model.end_id == 0


def test_dtype_is_what_was_asked_for() -> None:
    network = load_model(ModelSettings(dtype="bfloat16")).network
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}


def test_a_model_to_be_trained_keeps_its_weights_in_float32() -> None:
    mixed = load_model(ModelSettings(dtype="bfloat16"), trained=True)
    assert {p.dtype for p in mixed.network.parameters()} == {torch.float32}
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad(), mixed.precision():
        assert mixed.network(input_ids=ids).logits.dtype == torch.bfloat16
    assert mixed.clone().autocast
    assert not load_model(ModelSettings(), trained=True).autocast


def test_float16_is_refused_in_training_and_taken_for_judging() -> None:
    with pytest.raises(DgrpoError, match=r'model\.dtype = "float16"') as caught:
        load_model(ModelSettings(dtype="float16"), trained=True)
    assert '"bfloat16"' in caught.value.remedy
    network = load_model(ModelSettings(dtype="float16")).network
    assert {p.dtype for p in network.parameters()} == {torch.float16}


@pytest.mark.parametrize(
    ("family", "settings", "named"),
    [
        ("mamba", {"state_size": 4}, "linear_attention"),
        ("rwkv", {"attention_hidden_size": 16}, "recurrent"),
        ("lfm2", {"layer_types": ["conv", "full_attention"], "num_key_value_heads": 2}, "conv"),
    ],
)
def test_layers_that_are_not_attention_are_refused(
    folder: Path, family: str, settings: dict[str, Any], named: str
) -> None:
    config = AutoConfig.for_model(
        family,
        vocab_size=1024,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        **settings,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    problem, remedy = refusal(name=str(folder))
    assert f"model.name = {str(folder)!r}: it has {named} layers" in problem
    assert "attention" in remedy


@pytest.fixture(scope="module")
def opening(model: LanguageModel) -> LanguageModel:
    """A tiny model whose tokenizer puts <s> before a text and </s> behind it, as Llama's may."""
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.add_special_tokens({"bos_token": "<s>", "additional_special_tokens": ["</s>"]})
    first, last = tokenizer.convert_tokens_to_ids(["<s>", "</s>"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", first), ("</s>", last)]
    )
    config = copy.deepcopy(model.network.config)
    config.vocab_size = last + 1
    torch.manual_seed(3)
    return LanguageModel(type(model.network)(config).eval(), tokenizer)


def test_a_prompt_opens_as_its_tokenizer_wants_and_never_closes(opening: LanguageModel) -> None:
    first = opening.tokenizer.bos_token_id
    assert opening.encode_prompt("3 cows") == [first, *opening.encode("3 cows")]
    assert first not in opening.encode_completion("3 cows")


def test_a_prompt_does_not_open_twice(model: LanguageModel, opening: LanguageModel) -> None:
    chat = "<s>3 cows"  # as a chat template renders it
    assert opening.encode_prompt(chat) == opening.encode(chat)
    assert opening.encode(chat).count(opening.tokenizer.bos_token_id) == 1
    assert model.encode_prompt("3 cows") == model.encode("3 cows")  # shipped ones have none


def test_what_is_sampled_and_scored_follows_the_opening(opening: LanguageModel) -> None:
    whole = [*opening.encode_prompt("3 cows"), 7, 9]
    greedy = Sampling(max_tokens=1, temperature=0)
    with torch.no_grad():
        logits = opening.network(input_ids=torch.tensor([whole])).logits[0]
        scored = forward_pass(opening, [ScoreItem("3 cows", (7, 9))]).logprobs[0]
    assert sample(opening, [SampleRequest("3 cows", (1, 2))], greedy) == [
        (int(logits[-3].argmax()),)
    ]
    wanted = logits.log_softmax(dim=-1)[[-3, -2], [7, 9]]
    torch.testing.assert_close(scored, wanted, atol=1e-4, rtol=1e-4)


def test_completions_survive_encoding_and_decoding(model: LanguageModel) -> None:
    text = "<think> 3 cows x 4 = 12, and €5 \n\n left </think> <answer> 12 </answer>"
    ids = model.encode_completion(text)
    assert ids[-1] == model.end_id
    assert ids.count(model.end_id) == 1
    assert model.decode(ids) == text
    assert model.decode(list(ids[:-1])) == text  # cut at the limit: no end token to leave out
    assert model.decode(()) == ""


def test_clone_has_weights_of_its_own() -> None:
    original = load_model(ModelSettings())
    before = original.weights_digest()
    twin = original.clone()
    assert twin.weights_digest() == before
    with torch.no_grad():
        next(twin.network.parameters()).add_(1.0)
    assert twin.weights_digest() != before
    assert original.weights_digest() == before


def test_digest_of_a_folder_notices_other_weights_and_other_settings(folder: Path) -> None:
    before = digest_of(str(folder))
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(weights))
    changed = digest_of(str(folder))
    edit(folder / "config.json", rms_norm_eps=1e-5)
    assert len({before, changed, digest_of(str(folder))}) == 3


def test_digest_of_a_folder_notices_weights_and_words_in_other_files(folder: Path) -> None:
    digests = {digest_of(str(folder))}
    for name in ("pytorch_model.bin", "tokenizer.model", "merges.txt"):
        (folder / name).write_bytes(b"one")
        digests.add(digest_of(str(folder)))
        (folder / name).write_bytes(b"other")
        digests.add(digest_of(str(folder)))
    assert len(digests) == 7


def test_tokenizer_digest_notices_another_merge(model: LanguageModel, folder: Path) -> None:
    table = json.loads((folder / "tokenizer.json").read_text())
    table["model"]["merges"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(table))
    other = load_model(ModelSettings(name=str(folder)))
    assert other.tokenizer_digest != model.tokenizer_digest


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./not-here", "~/not-here-either"])
def test_missing_folder_is_refused_by_name(name: str) -> None:
    problem, remedy = refusal(name=name)
    assert f"model.name = {name!r}" in problem
    assert "no folder of that name" in problem
    assert "folder in Hugging Face format" in remedy


def test_misspelt_shipped_model_suggests_the_nearest() -> None:
    problem, remedy = refusal(name="gsm-nani")
    assert "model.name = 'gsm-nani'" in problem
    assert "did you mean 'gsm-nano'" in remedy


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    problem, remedy = refusal(name=str(tmp_path))
    assert f"model.name = {str(tmp_path)!r} is a folder without config.json" in problem
    assert "save_pretrained" in remedy


def test_tokenizer_without_an_end_token_is_refused(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", eos_token=None)
    problem, remedy = refusal(name=str(folder))
    assert f"model.name = {str(folder)!r}" in problem
    assert "no end-of-sequence token" in problem
    assert "eos_token in tokenizer_config.json" in remedy


def test_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    problem, remedy = refusal(name=str(folder))
    assert f"model.name = {str(folder)!r}" in problem
    assert "tokenizer" in problem
    assert "tokenizer.json" in remedy


def test_weights_that_lack_a_layer_are_refused_instead_of_drawn_at_random(folder: Path) -> None:
    edit(folder / "config.json", num_hidden_layers=4, layer_types=["full_attention"] * 4)
    problem, remedy = refusal(name=str(folder))
    assert f"model.name = {str(folder)!r}" in problem
    assert "model.layers.3." in problem
    assert "config.json" in remedy


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    network = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        network.model.layers[1].mlp.up_proj.weight[3, 5] = value
    network.save_pretrained(folder)
    problem, remedy = refusal(name=str(folder))
    assert f"model.name = {str(folder)!r}: its weights hold NaN or infinity" in problem
    assert "model.layers.1.mlp.up_proj.weight" in problem
    assert "checkpoint" in remedy


def test_weights_beyond_the_range_of_their_dtype_are_refused(folder: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        network.model.norm.weight[0] = 1e5
    network.save_pretrained(folder)
    problem, remedy = refusal(name=str(folder), dtype="float16")
    assert "in float16, first in model.norm.weight" in problem
    assert "65504" in remedy


@pytest.mark.parametrize("beside", ["nothing", "a config", "a whole model"])
def test_an_adapters_folder_is_refused_as_one(folder: Path, beside: str) -> None:
    """With peft installed transformers would load base and adapter, and without it the base."""
    if beside != "a whole model":
        (folder / "model.safetensors").unlink()
    if beside == "nothing":
        (folder / "config.json").unlink()
    settings = {"peft_type": "LORA", "base_model_name_or_path": "some/base", "r": 8}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    problem, remedy = refusal(name=str(folder))
    assert f"model.name = {str(folder)!r}" in problem
    assert "adapter (LoRA), not a whole model" in problem
    assert "merge_and_unload" in remedy


@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_truncated_weights_are_refused(folder: Path, kept: float) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    problem, remedy = refusal(name=str(folder))
    assert f"model.name = {str(folder)!r} has a damaged file" in problem
    assert "fetch or make it again" in remedy


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_unreadable_settings_are_refused(folder: Path, file: str) -> None:
    (folder / file).write_text('{"half": ')
    problem, _ = refusal(name=str(folder))
    assert f"model.name = {str(folder)!r}" in problem


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    problem, _ = refusal(name=str(folder))
    assert f"model.name = {str(folder)!r}" in problem
    assert "model.safetensors" in problem


@pytest.mark.parametrize("dtype", ["int8", "flaot32"])
def test_dtype_that_cannot_be_trained_is_refused_before_anything_is_loaded(dtype: str) -> None:
    with pytest.raises(DgrpoError, match="dtype") as caught:
        experiment_from({"name": "x", "model": {"dtype": dtype}})
    assert repr(dtype) in caught.value.problem
    assert "'float32'" in caught.value.problem


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_device_that_is_not_there_is_refused(device: str) -> None:
    problem, remedy = refusal(device=device)
    assert f"model.device = {device!r}" in problem
    assert '"cpu" always works' in remedy


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
