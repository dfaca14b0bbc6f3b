from pathlib import Path

from kanbench.baselines import discovery
from kanbench.study import config as studies
from kanbench.pages import recipes
from kanbench.process import server
from kanbench.study import early, plan, resume

resume.release_stale_lock(Path.cwd())
STUDY = studies.from_snakemake(config, [str(f) for f in workflow.overwrite_configfiles])
PLAN = plan.expand(STUDY)
PLAN.leading = getattr(workflow, "is_main_process", True)
if PLAN.leading:
    discovery.warn(PLAN.refused)
    # A bad claim is refused now, not after the last run.
    early.refuse_bad_claims(recipes.claims_file())
RESULTS = STUDY.folder
RECIPES = recipes.discover()
FIGURES = [name for name, recipe in RECIPES.items() if recipe.kind == "figure"]
TABLES = [name for name, recipe in RECIPES.items() if recipe.kind == "table"]


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
