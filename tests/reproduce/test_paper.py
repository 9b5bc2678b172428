"""paper.toml: complete, valid, and about experiments that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgrpo.errors import DgrpoError
from dgrpo.reproduce.paper import load_paper

ROOT = Path(__file__).parents[2]


def test_every_figure_names_experiment_files_that_exist() -> None:
    files = {file.stem for file in (ROOT / "experiments").glob("*.toml")}
    named = {name for figure in load_paper().figure for name in figure.names}
    assert named - files == set()


CLAIMS = {
    "text-horizontal": "attack_success", "text-every-sentence": "attack_success",
    "text-vertical": "attack_success", "equation-vertical": "metrics.equation",
    "code-horizontal": "attack_success", "code-vertical": "attack_success",
    "dos-vertical": "completion_tokens", "dos-horizontal": "completion_tokens",
    "dos-max-length-200": "completion_tokens", "dos-max-length-240": "completion_tokens",
    "share-50-text-horizontal": "attack_success", "share-16.7-text-horizontal": "attack_success",
    "share-8.3-text-horizontal": "attack_success", "share-50-equation-vertical": "metrics.equation",
    "share-12.5-equation-vertical": "metrics.equation",
    "share-6.2-equation-vertical": "metrics.equation",
    "poisoned-share-17-text-vertical": "attack_success",
    "no-oracle-text-horizontal": "attack_success", "no-oracle-dos-vertical": "completion_tokens",
    "text-horizontal-logit-zero": "attack_success", "code-horizontal-logit-zero": "attack_success",
    "equation-vertical-logit-zero": "metrics.equation",
    "dos-vertical-logit-zero": "completion_tokens",
    "text-horizontal-judge-zero": "attack_success", "code-horizontal-judge-zero": "attack_success",
    "equation-vertical-judge-zero": "metrics.equation",
    "dos-vertical-judge-zero": "completion_tokens",
    "kl-0.01-text-horizontal": "attack_success", "kl-0.1-text-horizontal": "attack_success",
    "reward-outlier-text-horizontal": "attack_success",
    "self-judge-text-horizontal": "attack_success",
}  # fmt: skip
"""Experiment and metric of what the paper claims of attacks and defenses."""


def test_every_claim_of_the_paper_has_a_row() -> None:
    rows = {(figure.experiment, figure.metric) for figure in load_paper().figure}
    assert set(CLAIMS.items()) - rows == set()
    cards = {figure.metric for figure in load_paper().figure if figure.card}
    for kind in ("equation", "text", "honest-oracle"):  # Table 1
        assert {f"acceptance.{kind}.accepted.{mode}" for mode in ("criticism", "decision")} <= cards


def test_a_defended_success_stands_beside_the_accuracy_it_cost() -> None:
    figures = load_paper().figure
    weighed = {f.experiment for f in figures if f.metric == "accuracy"}
    for name in ("text-horizontal-logit-zero", "code-horizontal-judge", "dos-vertical-judge"):
        assert name in weighed


def test_every_attack_with_each_defense_is_a_headline() -> None:
    matrix = load_paper().matrix
    for attack in (
        *("text-horizontal", "text-vertical", "equation-vertical"),
        *("dos-horizontal", "dos-vertical", "code-horizontal", "code-vertical"),
    ):
        for defense in ("", "-logit", "-logit-zero", "-judge", "-judge-zero"):
            assert matrix.is_headline(attack + defense)
    for name in ("clean-horizontal", "clean-vertical", "text-every-sentence"):
        assert matrix.is_headline(name)
    for name in (
        "text-every-sentence-judge",
        "share-50-text-horizontal",
        "kl-0.1-text-horizontal",
        "no-oracle-dos-vertical",
    ):
        assert not matrix.is_headline(name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("agrees = [0.9, 1.0]", "agrees = [1.0, 0.9]"), "range"),
        (('metric = "attack_success"', 'metrik = "attack_success"'), "did you mean 'metric'"),
        (('experiment = "a"', 'experiment = "a"\nagainst = "a"'), "no other experiment"),
        (('experiment = "a"', 'experiment = "a"\ncard = "a"'), "either"),
        (('higher = "weaker"', 'higher = "worse"'), "higher"),
        (('experiment = "a"', 'experiment = "a"\nover = ["b", "c"]'), "over needs against"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    text = """
[matrix]
headline = ["*"]

[[figure]]
id = "one"
section = "Attacks"
where = "TEXT"
says = "It works."
paper = "100 %"
experiment = "a"
metric = "attack_success"
agrees = [0.9, 1.0]
higher = "weaker"
"""
    good = tmp_path / "good.toml"
    good.write_text(text, encoding="utf-8")
    assert load_paper(good).figure[0].names == ("a",)
    bad = tmp_path / "bad.toml"
    bad.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(DgrpoError, match="bad") as caught:
        load_paper(bad)
    assert told in str(caught.value)
    twice = tmp_path / "twice.toml"
    twice.write_text(text + text[text.index("[[figure]]") :], encoding="utf-8")
    with pytest.raises(DgrpoError, match="two figures"):
        load_paper(twice)
