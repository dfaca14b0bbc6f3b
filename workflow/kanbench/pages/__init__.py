"""Where records and verdicts become something to read.

In comes a record set. `recipes` finds the figures and tables of `paper_figures/`, `render` makes them, `report` the
HTML page, `front` the blocks of a README and `bundling` all of it in one file to cite. Recipes of figures are written
with `style`, `drawing`, `palette` and `naming`; those of tables with `table`, `cells`, `floors`, `steps`,
`shared_tasks`, `published` and `answers`. Out go files below `figures/` and `tables/`, `claims.*` and `report.html`.

Imports `verdicts`, `statistics`, `records`, `tasks` (their labels) and `base`. Never torch.
"""
