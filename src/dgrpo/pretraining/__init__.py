"""How the shipped small models were made, so that anyone can make them again.

* `recipe.py`: what a recipe says, and the shipped ones
* `corpora/`: the documents that a base model and a judge learn from
* `faults/`: what is wrong with the completions that a judge learns to reject
* `pretrain.py`: recipe → tokenizer, weights, measured card (`dgrpo pretrain NAME`)
* `card.py`: what a base model's card measures (a judge's: `judging/acceptance/card.py`)

To add a model: a recipe in `recipe.py`, then `dgrpo pretrain NAME --out src/dgrpo/shipped/NAME`.
"""
