"""The shipped small models, one folder each, and the recipes that made them.

* `recipe.py`: what a recipe says, and the shipped ones
* `corpus.py`, `programs.py`, `verdicts.py`: the pretraining documents
* `pretrain.py`: recipe → tokenizer, weights, measured card (`dgrpo pretrain NAME`)
* `gsm-nano/`, `code-nano/`: weights in Hugging Face format, and the card

To add one: a recipe in `recipe.py`, `dgrpo pretrain NAME --out src/dgrpo/models/NAME`, and the card
it measured. Keep a model under 5 MB.
"""
