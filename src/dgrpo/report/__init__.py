"""Turn run folders into something to look at: a table, three charts, one page.

- `groups`: runs of one experiment, averaged over seeds; what "start" and "end" mean
- `tables`: one row per experiment, for the terminal and for the page
- `charts`: attack success, accuracy and completion length over rounds
- `settings`: an experiment's settings as TOML, for people to read
- `page`: the self-contained page and the picture; `page.html.jinja`, `page.css` and `page.js`
  are its parts

A report only reads: every number comes from `dgrpo.runs.reader`, every interval from
`dgrpo.measurement.intervals`.

To add a chart, add a `Panel` to `PANELS` in `charts.py`: the page and the picture draw them all. To
add a column, add it to `COLUMNS` in `tables.py`.
"""
