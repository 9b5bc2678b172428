"""Pretraining documents, one file per corpus; a recipe names the corpus.

* `answers.py`: word problems answered in words, for `gsm-nano`
* `programs.py`: word problems answered by Python programs, for `code-nano`
* `verdicts.py`: completions with a critic's verdict, for `judge-nano`

To add one: a function that yields (prompt, completion) pairs, its name in `recipe.Recipe.corpus`,
and its branch in `pretrain.corpus`.
"""
