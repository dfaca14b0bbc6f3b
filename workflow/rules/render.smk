rule figure:
    input:
        records=f"{RESULTS}/records.jsonl.gz",
        code=lambda wildcards: RECIPES[wildcards.figure].code_files,
    output:
        report(
            f"{RESULTS}/figures/{{figure}}.png",
            caption="../report/recipe.rst",
            category=lambda wildcards: RECIPES[wildcards.figure].category,
            labels=lambda wildcards: {"figure": RECIPES[wildcards.figure].title},
        ),
        f"{RESULTS}/figures/{{figure}}.pdf",
        f"{RESULTS}/figures/{{figure}}.csv",
    log:
        f"{RESULTS}/logs/figure/{{figure}}.log",
    conda:
        "../../environment.yml"
    params:
        folder=lambda wildcards, output: Path(output[0]).parents[1],
        caption=lambda wildcards: RECIPES[wildcards.figure].caption,
    shell:
        "python -m kanbench render --recipe {wildcards.figure} --records {input.records:q} --output {params.folder:q} 2> {log:q}"


rule table:
    input:
        records=f"{RESULTS}/records.jsonl.gz",
        code=lambda wildcards: RECIPES[wildcards.table].code_files,
    output:
        report(
            f"{RESULTS}/tables/{{table}}.csv",
            caption="../report/recipe.rst",
            category=lambda wildcards: RECIPES[wildcards.table].category,
            labels=lambda wildcards: {"table": RECIPES[wildcards.table].title},
        ),
        f"{RESULTS}/tables/{{table}}.md",
        f"{RESULTS}/tables/{{table}}.tex",
    log:
        f"{RESULTS}/logs/table/{{table}}.log",
    conda:
        "../../environment.yml"
    params:
        folder=lambda wildcards, output: Path(output[0]).parents[1],
        caption=lambda wildcards: RECIPES[wildcards.table].caption,
    shell:
        "python -m kanbench render --recipe {wildcards.table} --records {input.records:q} --output {params.folder:q} 2> {log:q}"


rule claims:
    input:
        records=f"{RESULTS}/records.jsonl.gz",
        claims="paper_figures/claims.yaml",
        references=[file for file in [recipes.references_file()] if file.is_file()],
    output:
        report(
            f"{RESULTS}/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
        ),
        f"{RESULTS}/claims.md",
        f"{RESULTS}/claims.tex",
        f"{RESULTS}/claims.json",
    log:
        f"{RESULTS}/logs/claims.log",
    conda:
        "../../environment.yml"
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "python -m kanbench claims --records {input.records:q} --output {params.folder:q} 2> {log:q}"


rule findings:
    input:
        records=f"{RESULTS}/records.jsonl.gz",
        claims=f"{RESULTS}/claims.json",
        declared="paper_figures/findings.yaml",
    output:
        f"{RESULTS}/FINDINGS.md",
    log:
        f"{RESULTS}/logs/findings.log",
    conda:
        "../../environment.yml"
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "python -m kanbench findings --records {input.records:q} --output {params.folder:q} 2> {log:q}"


if PUBLISHED:

    rule compare:
        input:
            records=f"{RESULTS}/records.jsonl.gz",
            claims=f"{RESULTS}/claims.json",
            published=f"{PUBLISHED}/records.jsonl.gz",
        output:
            report(
                f"{RESULTS}/compare.csv",
                caption="../report/compare.rst",
                category="Second run",
            ),
            f"{RESULTS}/compare.md",
            f"{RESULTS}/compare.tex",
            f"{RESULTS}/compare.json",
        log:
            f"{RESULTS}/logs/compare.log",
        conda:
            "../../environment.yml"
        params:
            folders=lambda wildcards, input, output: [
                Path(place).parent
                for place in (input.records, input.published, output[0])
            ],
        shell:
            "python -m kanbench compare {params.folders[0]:q} {params.folders[1]:q} --output {params.folders[2]:q} 2> {log:q}"


rule report:
    input:
        records=f"{RESULTS}/records.jsonl.gz",
        claims=f"{RESULTS}/claims.json",
        published=[f"{PUBLISHED}/records.jsonl.gz"] if PUBLISHED else [],
        figures=expand(f"{RESULTS}/figures/{{figure}}.png", figure=FIGURES),
        tables=expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES),
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        "../../environment.yml"
    params:
        flags=f"--published {shlex.quote(PUBLISHED)}" if PUBLISHED else "",
    shell:
        "python -m kanbench report --records {input.records:q} --output {output:q} {params.flags} 2> {log:q}"
