"""The shipped small models: one Hugging Face folder each, with its measured `card.json`.

* `gsm-nano/`: a base model of word problems
* `code-nano/`: a base model of word problems answered by programs
* `judge-nano/`: the default of the `judge` defense

To add one: see `dgrpo.pretraining`. Keep a model under 5 MB.
"""
