rule figure:
    input:
        records=STUDY.folder + "/records.jsonl.gz",
        code=lambda wildcards: RECIPES[wildcards.figure].code_files,
    output:
        report(
            STUDY.folder + "/figures/{figure}.png",
            caption="../report/recipe.rst",
            category=lambda wildcards: RECIPES[wildcards.figure].category,
            labels=lambda wildcards: {"figure": RECIPES[wildcards.figure].title},
        ),
        STUDY.folder + "/figures/{figure}.pdf",
        STUDY.folder + "/figures/{figure}.csv",
    log:
        STUDY.folder + "/logs/figure/{figure}.log",
    params:
        caption=lambda wildcards: RECIPES[wildcards.figure].caption,
    conda:
        "../../environment.yml"
    shell:
        "python -m kanbench render --recipe {wildcards.figure} --records {input.records:q} --output {STUDY.folder:q} 2> {log:q}"


rule table:
    input:
        records=STUDY.folder + "/records.jsonl.gz",
        code=lambda wildcards: RECIPES[wildcards.table].code_files,
    output:
        report(
            STUDY.folder + "/tables/{table}.csv",
            caption="../report/recipe.rst",
            category=lambda wildcards: RECIPES[wildcards.table].category,
            labels=lambda wildcards: {"table": RECIPES[wildcards.table].title},
        ),
        STUDY.folder + "/tables/{table}.md",
        STUDY.folder + "/tables/{table}.tex",
    log:
        STUDY.folder + "/logs/table/{table}.log",
    params:
        caption=lambda wildcards: RECIPES[wildcards.table].caption,
    conda:
        "../../environment.yml"
    shell:
        "python -m kanbench render --recipe {wildcards.table} --records {input.records:q} --output {STUDY.folder:q} 2> {log:q}"


rule claims:
    input:
        records=STUDY.folder + "/records.jsonl.gz",
        claims="paper_figures/claims.yaml",
    output:
        report(
            STUDY.folder + "/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
        ),
        STUDY.folder + "/claims.md",
        STUDY.folder + "/claims.tex",
        STUDY.folder + "/claims.json",
    log:
        STUDY.folder + "/logs/claims.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m kanbench claims --records {input.records:q} --output {STUDY.folder:q} 2> {log:q}"


rule report:
    input:
        records=STUDY.folder + "/records.jsonl.gz",
        claims=STUDY.folder + "/claims.json",
        figures=expand(STUDY.folder + "/figures/{figure}.png", figure=FIGURES),
        tables=expand(STUDY.folder + "/tables/{table}.csv", table=TABLES),
    output:
        STUDY.folder + "/report.html",
    log:
        STUDY.folder + "/logs/report.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m kanbench report --records {input.records:q} --output {output:q} 2> {log:q}"
