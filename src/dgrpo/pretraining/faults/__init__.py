"""The faults in a judge's documents. None is made for one attack.

* `reasoning.py`: faults of words, digits and steps
* `programs.py`: faults of programs
* `foreign_words.py`: words that no question is about
* `statements.py`: the arithmetic that a text states

To add a fault: a function beside those of `reasoning.py` or `programs.py`, in their table.
"""
