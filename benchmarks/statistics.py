"""Whether the rules of verdicts keep what they promise, simulated:  python benchmarks/statistics.py [--draws 100000]

The simulations are in `verdict_rules.py`. Python looks for modules beside the script that it runs, so that this file
stands in the way of the standard library's `statistics`, which other benchmarks and their libraries need: imported, it
hands that one over.
"""

import importlib.util
import sys
import sysconfig
from pathlib import Path

if __name__ == "__main__":
    from verdict_rules import main

    main()
else:
    _file = Path(sysconfig.get_path("stdlib")) / "statistics.py"
    _spec = importlib.util.spec_from_file_location(__name__, _file)
    sys.modules[__name__] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[__name__])
