rule data:
    output:
        "results/data/{dataset}.txt",
    log:
        "results/data/{dataset}.log",
    conda:
        "../../environment.yml"
    params:
        flags=STUDY.data_flags,
    shell:
        "python -m kanbench data {wildcards.dataset:q} {params.flags} --stamp {output:q} 2> {log:q}"


rule environment:
    output:
        "results/environments/{environment}.txt",
    log:
        "results/environments/{environment}.log",
    wildcard_constraints:
        environment="|".join(PLAN.environments) or "(?!)",
    conda:
        "../../environment.yml"
    params:
        baseline=lambda wildcards: PLAN.environments[wildcards.environment],
    shell:
        "python -m kanbench environment {params.baseline} --stamp {output:q} 2> {log:q}"


rule profile:
    input:
        lambda wildcards: PLAN.inputs(wildcards.run),
        ancient(lambda wildcards: PLAN.settled(wildcards.run)),
    output:
        f"{RESULTS}/runs/{{run}}.json",
    log:
        f"{RESULTS}/logs/profile/{{run}}.log",
    wildcard_constraints:
        run=PLAN.profiled,
    conda:
        "../../environment.yml"
    threads: cores() or 1
    resources:
        gpu_slots=lambda wildcards: PLAN.gpu_slots(wildcards.run),
        # What a cluster is asked for; on one machine gpu_slots decides how many runs share a GPU.
        gpu=lambda wildcards: min(1, PLAN.gpu_slots(wildcards.run)),
    params:
        spec=lambda wildcards: PLAN.runs[wildcards.run].text,
        # A function of the output is no trigger: a changed limit reruns nothing.
        limits=lambda wildcards, output: PLAN.limits,
        python=lambda wildcards, output: PLAN.python(wildcards.run),
    shell:
        "{params.python} -m kanbench profile --spec {params.spec:q} --output {output:q} --threads {threads} --exclusive {params.limits} 2> {log:q}"


rule train:
    input:
        lambda wildcards: PLAN.inputs(wildcards.run),
        ancient(lambda wildcards: PLAN.settled(wildcards.run)),
    output:
        record=f"{RESULTS}/runs/{{run}}.json",
    log:
        f"{RESULTS}/logs/train/{{run}}.log",
    wildcard_constraints:
        # Those of cells are not left out: Snakemake prefers a rule without wildcards, and a pattern of them is long.
        run=f"(?!{PLAN.profiled}|(?:{PLAN.kept})\\.json).+",
    conda:
        "../../environment.yml"
    threads: lambda wildcards: PLAN.threads(wildcards.run, cores())
    resources:
        gpu_slots=lambda wildcards: PLAN.gpu_slots(wildcards.run),
        # What a cluster is asked for; on one machine gpu_slots decides how many runs share a GPU.
        gpu=lambda wildcards: min(1, PLAN.gpu_slots(wildcards.run)),
    params:
        spec=lambda wildcards: PLAN.runs[wildcards.run].text,
        flags=lambda wildcards: PLAN.flags(wildcards.run),
        # A function of the output is no trigger: a changed limit reruns nothing.
        limits=lambda wildcards, output: PLAN.limits,
        python=lambda wildcards, output: PLAN.python(wildcards.run),
    shell:
        "{params.python} -m kanbench train --spec {params.spec:q} --output {output.record:q} --threads {threads} {params.flags} {params.limits} 2> {log:q}"


use rule train as train_and_keep with:
    output:
        record=f"{RESULTS}/runs/{{run}}.json",
        weights=f"{RESULTS}/runs/{{run}}.safetensors",
    log:
        f"{RESULTS}/logs/train_and_keep/{{run}}.log",
    wildcard_constraints:
        run=PLAN.kept,


for CELL, NAMES in PLAN.cells.items():

    rule:
        name:
            f"train_together_{CELL}"
        input:
            PLAN.inputs(NAMES[0]),
            ancient(PLAN.settled(NAMES[0])),
        output:
            [PLAN.record(name) for name in NAMES],
        log:
            f"{RESULTS}/logs/train_together/{CELL}.log",
        conda:
            "../../environment.yml"
        resources:
            gpu_slots=PLAN.gpu_slots(NAMES[0]),
            gpu=min(1, PLAN.gpu_slots(NAMES[0])),
        params:
            # A function of the output is no trigger: the names stand for the specs, whatever the company.
            runs=lambda wildcards, output: PLAN.arguments(output),
            flags=PLAN.flags(NAMES[0]),
            python=lambda wildcards, output, name=NAMES[0]: PLAN.python(name),
            limits=lambda wildcards, output: PLAN.limits,
        shell:
            "{params.python} -m kanbench train {params.runs} --threads {threads} {params.flags} {params.limits} 2> {log:q}"

    # What a job prints is filled in from a copy of everything that is defined here, with a function a rule.
    globals().pop(f"__train_together_{CELL}", None)


rule collect:
    input:
        PLAN.alone,
        # By rule, for which Snakemake need not search: most runs are in cells.
        [getattr(rules, f"train_together_{CELL}").output for CELL in PLAN.cells],
        PLAN.due.counting(PLAN.due.collected),
        ancient(PLAN.due.settled(PLAN.due.collected)),
    output:
        f"{RESULTS}/records.jsonl.gz",
        f"{RESULTS}/records.csv",
    log:
        f"{RESULTS}/logs/collect.log",
    conda:
        "../../environment.yml"
    params:
        file=f"{RESULTS}/plan.json",
        plan=PLAN.digest,
    shell:
        "python -m kanbench collect --plan {params.file:q} 2> {log:q}"
