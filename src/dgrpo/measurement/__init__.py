"""What a run measures, and how sure the numbers are.

- `held_out`: accuracy, length and attack success of a model on held-out prompts.
- `choice`: which attacks' success a run measures.
- `intervals`: Wilson intervals for rates of independent items; Student's t for means over seeds
  and for paired differences between two runs that share seeds.
- `theory`: the advantage and the push of a poisoned share of a group (paper, appendix B).

To add a measurement, write one file with one pure function from records or numbers to a small
frozen record, define the quantity in its docstring, and use that function wherever the quantity
is reported: by the run, the report and the tests alike.
"""
