rule data:
    output:
        "results/data/{dataset}.txt",
    log:
        "results/data/{dataset}.log",
    params:
        flags=STUDY.data_flags,
    conda:
        "../../environment.yml"
    shell:
        "python -m kanbench data {wildcards.dataset:q} {params.flags} --stamp {output:q} 2> {log:q}"


rule profile:
    input:
        lambda wildcards: PLAN.inputs(wildcards.run),
    output:
        STUDY.folder + "/runs/{run}.json",
    wildcard_constraints:
        run=PLAN.profiled,
    log:
        STUDY.folder + "/logs/profile/{run}.log",
    params:
        spec=lambda wildcards: PLAN.runs[wildcards.run].text,
    threads: workflow.cores
    resources:
        gpu_slots=lambda wildcards: PLAN.gpu_slots(wildcards.run),
    conda:
        "../../environment.yml"
    shell:
        "python -m kanbench profile --spec {params.spec:q} --output {output:q} --threads {threads} --exclusive 2> {log:q}"


rule train:
    input:
        lambda wildcards: PLAN.inputs(wildcards.run),
    output:
        STUDY.folder + "/runs/{run}.json",
    wildcard_constraints:
        run="(?!" + PLAN.profiled + ").+",
    log:
        STUDY.folder + "/logs/train/{run}.log",
    params:
        spec=lambda wildcards: PLAN.runs[wildcards.run].text,
        flags=lambda wildcards: PLAN.flags(wildcards.run),
    threads: lambda wildcards: PLAN.threads(wildcards.run, workflow.cores)
    resources:
        gpu_slots=lambda wildcards: PLAN.gpu_slots(wildcards.run),
    conda:
        "../../environment.yml"
    shell:
        "python -m kanbench train --spec {params.spec:q} --output {output:q} --threads {threads} {params.flags} 2> {log:q}"


rule collect:
    input:
        PLAN.records(),
        plan=ancient(STUDY.folder + "/plan.json"),
    output:
        STUDY.folder + "/records.jsonl.gz",
        STUDY.folder + "/records.csv",
    log:
        STUDY.folder + "/logs/collect.log",
    params:
        plan=PLAN.digest,
    conda:
        "../../environment.yml"
    shell:
        "python -m kanbench collect --plan {input.plan:q} 2> {log:q}"
