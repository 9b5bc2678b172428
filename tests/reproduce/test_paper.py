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


def test_every_claim_of_the_paper_has_a_row() -> None:
    told = " ".join(f"{f.id} {f.where} {f.says}" for f in load_paper().figure)
    for claim in (
        "TEXT, horizontal", "every sentence", "TEXT, vertical", "MATH, vertical", "accuracy",
        "CODE", "DoS, vertical", "DoS, horizontal", "1536", "50 %", "16.6 %", "8.3 %", "12.5 %",
        "6.25 %", "majority vote", "Logit check against CODE", "Logit check against MATH",
        "Logit check against DoS", "unlearned", "Judge against DoS", "Table 1, MATH",
        "Table 1, TEXT", "Table 1, honest", "β = 0.01", "β = 0.1", "outlier", "judging itself",
        "B.1",
    ):  # fmt: skip
        assert claim in told


def test_every_attack_with_each_defense_is_a_headline() -> None:
    matrix = load_paper().matrix
    for name in ("text-horizontal", "equation-vertical-judge-zero", "dos-horizontal-logit"):
        assert matrix.is_headline(name)
    for name in ("share-50-text-horizontal", "kl-0.1-text-horizontal", "no-oracle-dos-vertical"):
        assert not matrix.is_headline(name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("agrees = [0.9, 1.0]", "agrees = [1.0, 0.9]"), "range"),
        (('metric = "attack_success"', 'metrik = "attack_success"'), "did you mean 'metric'"),
        (('experiment = "a"', 'experiment = "a"\nagainst = "a"'), "no other experiment"),
        (('experiment = "a"', 'experiment = "a"\ncard = "a"'), "either"),
        (('higher = "weaker"', 'higher = "worse"'), "higher"),
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
