"""What everything else stands on: errors, paths, files, YAML, schemas, specs, seeds.

In comes what any program needs: a path, a text to write, a YAML file to check. Out goes the suite's own way of doing
it: `errors` says what was found, what was expected and what to do next; `paths` knows where the suite's files are;
`atomic` leaves no half file; `plain_yaml` reads YAML within bounds and `schema` checks it; `spec` writes a spec in
one canonical way and names its run; `budget` names how long runs train; `seeds` derives one generator for each
purpose; `spreadsheet` writes CSV files that nothing runs.

Imports nothing of the harness; every room may import it.
"""
