"""Pure functions of numbers: intervals, tests, power, agreement of groupings.

In come values, paired by task and seed. Out go estimates, intervals and p-values (`stats`), the number of runs that
would decide (`power`) and how alike two groupings are (`partitions`). Nothing here knows a claim or a method.

Imports `records` for the names of the columns, and `base`.
"""
