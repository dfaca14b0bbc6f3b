"""Where records and verdicts become something to read.

In comes a record set. `recipes` finds the figures and tables of `paper_figures/`, `render` makes them, `report` the
HTML page with what `embedding` puts into it and claims in the words of `plain`, `findings` the page of what holds,
`front` the blocks of a README and `bundling` all of it in one file to cite; `compare` shows whether a second run
agrees, and `repeated` what became of runs that were made again. Recipes of figures are written with `style`,
`drawing`, `palette` and `naming`; those of tables with `table`, `cells`, `floors`, `steps`, `shared_tasks`,
`published` and `answers`, written by `latex`; `claims_page` is the table of claims for a narrow screen. Out go files
below `figures/` and `tables/`, `claims.*`, `compare.*`, `FINDINGS.md` and `report.html`.

Imports `verdicts`, `statistics`, `records`, `tasks` (their labels) and `base`. Never torch.
"""
