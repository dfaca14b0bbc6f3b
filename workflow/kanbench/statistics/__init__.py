"""Pure functions of numbers: intervals, tests, looks, power, agreement of groupings.

In come values, paired by task and seed. Out go estimates and intervals (`stats`), p-values and what a family asks of
them (`hypotheses`), when a claim may be decided (`looks`), the number of runs that would decide (`power`), where a
further median will lie (`prediction`) and how alike two groupings are (`partitions`). Nothing here knows a claim or a
method.

Imports `records` for the names of the columns, and `base`.
"""
