"""Where records and verdicts become something to read.

In comes a record set. `recipes` finds the figures and tables of `paper_figures/`, `render` makes them, `report` the
HTML page; `style`, `table`, `published` and `answers` are what recipes are written with. Out go files below
`figures/` and `tables/`, `claims.*` and `report.html`.

Imports `verdicts`, `statistics`, `records`, `tasks` (their labels) and `base`. Never torch.
"""
