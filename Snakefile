from snakemake.utils import min_version

min_version("7.32")


include: "workflow/rules/common.smk"
include: "workflow/rules/render.smk"


if not STUDY.rendering_only:

    include: "workflow/rules/train.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",
        f"{RESULTS}/claims.csv",
        f"{RESULTS}/FINDINGS.md",
        [f"{RESULTS}/compare.csv"] if PUBLISHED else [],
        expand(f"{RESULTS}/figures/{{figure}}.png", figure=FIGURES),
        expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES),
