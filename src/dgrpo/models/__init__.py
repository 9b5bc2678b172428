"""The shipped small models, one folder each, and the recipes that made them.

* `recipe.py`: what a recipe says, and the shipped ones
* `corpus.py`, `programs.py`, `verdicts.py`: the pretraining documents
* `foreign.py`, `corruptions.py`, `program_corruptions.py`, `statements.py`: the faults in a judge's
  documents, and the arithmetic that a text states
* `pretrain.py`: recipe → tokenizer, weights, measured card (`dgrpo pretrain NAME`)
* `card.py`, `judge_card.py`, `judged.py`: what a base model's and a judge's card measure, and on
  which completions
* `gsm-nano/`, `code-nano/`, `judge-nano/`: weights in Hugging Face format, and the card

To add one: a recipe in `recipe.py`, `dgrpo pretrain NAME --out src/dgrpo/models/NAME`, and the card
it measured. Keep a model under 5 MB.
"""
