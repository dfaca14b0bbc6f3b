import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from kanbench.baselines import discovery
from kanbench.study import config as studies
from kanbench.pages import recipes
from kanbench.process import server
from kanbench.study import early, failures, lacking, plan, resume, surroundings

LEADING = getattr(workflow, "is_main_process", True)
if LEADING:
    surroundings.refuse_braces(workflow.basedir)
    resume.begin(Path.cwd())
STUDY = studies.from_snakemake(config, [str(f) for f in workflow.overwrite_configfiles])
if LEADING:
    surroundings.set_future_times_to_now(
        [Path(STUDY.folder), *surroundings.rendered_from()]
    )
PLAN = plan.expand(STUDY)
PLAN.leading = LEADING
if PLAN.leading:
    discovery.warn(PLAN.refused)
    print(
        *lacking.lines(PLAN),
        sep="\n",
        end="\n" * bool(PLAN.due.lacking),
        file=sys.stderr,
    )
    # A bad claim, or one that no study supplies, is refused now, not after the last run.
    early.refuse_bad_claims(recipes.claims_file(), PLAN)
RESULTS = STUDY.folder
RECIPES = recipes.discover()
# The published set that the records of this study are compared with, where there is one.
PUBLISHED = STUDY.compared_with
FIGURES = [name for name, recipe in RECIPES.items() if recipe.kind == "figure"]
TABLES = [name for name, recipe in RECIPES.items() if recipe.kind == "table"]


def cores():
    """Return how many cores the workflow has on this machine; None where its jobs run on a cluster."""
    try:
        return workflow.cores
    except WorkflowError:
        return None


wildcard_constraints:
    run=".+",
    figure="|".join(FIGURES),
    table="|".join(TABLES),


onstart:
    if PLAN.leading and not STUDY.rendering_only:
        PLAN.due.begin()
    server.start(
        STUDY.content.get("preload", True) and getattr(workflow, "local_exec", True)
    )


def say_failures():
    """Print which runs failed, why, and where their logs are."""
    if PLAN.leading and not STUDY.rendering_only:
        print(failures.text(PLAN), file=sys.stderr, flush=True)


onsuccess:
    say_failures()


onerror:
    # Jobs failed, as against a user who stopped the workflow, and the whole study was asked for.
    asked = getattr(workflow, "dag_settings", None)
    partly = bool(getattr(asked, "targets", None) or getattr(asked, "until", None))
    if PLAN.leading and getattr(workflow.scheduler, "failed", True) and not partly:
        shell("python -m kanbench conclude {RESULTS:q} || true")
    say_failures()
