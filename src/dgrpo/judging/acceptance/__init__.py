"""What a judge accepts of honest and of poisoned completions: the paper's Table 1.

* `cases.py`: the completions, honest ones and the shipped attacks' own
* `card.py`: the shipped judge's card, in three modes; the table beside the paper's
* `command.py`: `dgrpo judge`, the same for any judge

To add a kind of completion: yield it in `cases.kinds`.
"""
