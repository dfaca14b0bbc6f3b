"""The container recipes: accepted by linters, and both of the same suite."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CONTAINERS = Path(__file__).resolve().parents[1] / "containers"
DOCKER, APPTAINER = CONTAINERS / "Dockerfile", CONTAINERS / "suite.def"
SECTIONS = {"arguments", "files", "post", "environment", "runscript", "test"}


def lint(name: str, *arguments: str, text: str) -> subprocess.CompletedProcess:
    tool = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if tool is None:
        pytest.skip(f"{name} is not installed")
    return subprocess.run([tool, *arguments, "-"], input=text, capture_output=True, text=True, timeout=60)


def hadolint(text: str) -> subprocess.CompletedProcess:
    return lint("hadolint", "--no-color", text=text)


def shellcheck(text: str) -> subprocess.CompletedProcess:
    return lint("shellcheck", "--shell=sh", "--format=gcc", text=text)


def sections(text: str) -> dict[str, str]:
    """Return what is below every heading of a recipe, by the heading."""
    parts = re.split(r"^%(\w+).*\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def parsed(path: Path):
    """Return spython's reading of an Apptainer recipe."""
    parsers = pytest.importorskip("spython.main.parse.parsers")
    (recipe,) = parsers.get_parser("singularity")(str(path)).recipe.values()
    return recipe


def installation(text: str) -> str:
    """Return the arguments of pip, without what names the index."""
    (found,) = re.findall(r"pip install (.*?)(?: \\)?$", text, flags=re.MULTILINE)
    return re.sub(r'"(\$\{INDEX\}|\{\{ INDEX \}\})"', "INDEX", found)


def test_hadolint_accepts_the_dockerfile_and_would_not_accept_anything():
    text = DOCKER.read_text(encoding="utf-8")
    accepted = hadolint(text)
    assert accepted.returncode == 0, accepted.stdout
    refused = hadolint(
        text.replace("WORKDIR /suite", "WORKDIR suite").replace("&& apt-get purge", "&& sudo apt-get purge")
    )
    assert refused.returncode != 0
    assert set(re.findall(r"DL\d{4}", refused.stdout)) == {"DL3000", "DL3004"}, refused.stdout


def test_the_apptainer_recipe_is_read_whole_and_builds_on_what_the_dockerfile_builds_on():
    recipe = parsed(APPTAINER)
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKER.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert recipe.fromHeader == base
    assert recipe.files == [". /suite"]
    assert recipe.cmd == 'cd /suite && exec snakemake --cores all "$@"'
    assert len([line for line in recipe.install if line.startswith("pip install")]) == 1


def test_every_section_of_the_apptainer_recipe_has_a_name_that_apptainer_knows():
    assert set(sections(APPTAINER.read_text(encoding="utf-8"))) == SECTIONS


@pytest.mark.parametrize("section", ["post", "environment", "runscript", "test"])
def test_the_scripts_of_the_apptainer_recipe_are_shell(section):
    script = sections(APPTAINER.read_text(encoding="utf-8"))[section]
    accepted = shellcheck(script.replace("{{ INDEX }}", "https://index.invalid"))
    assert accepted.returncode == 0, accepted.stdout
    assert shellcheck(script + "\n    if true; then\n").returncode != 0


def test_both_recipes_install_alike():
    docker, apptainer = (path.read_text(encoding="utf-8") for path in (DOCKER, APPTAINER))
    assert installation(docker) == installation(apptainer)
    packages = [
        re.findall(r"--no-install-recommends (.*?)(?: \\)?$", text, re.MULTILINE) for text in (docker, apptainer)
    ]
    assert packages[0] == packages[1] == ["gcc git libc6-dev make"]


def test_what_snakemake_writes_in_a_read_only_image_has_a_folder_to_bind_to():
    assert "mkdir -p results .snakemake" in sections(APPTAINER.read_text(encoding="utf-8"))["post"]
    for text in (APPTAINER.read_text(encoding="utf-8"), (CONTAINERS.parent / "docs/howto/cluster.md").read_text()):
        (bound,) = re.findall(r"apptainer run .*--bind \"(\S+)\"", text)
        assert {each.partition(":")[2] for each in bound.split(",")} == {"/suite/results", "/suite/.snakemake"}


def test_the_kubernetes_job_keeps_results_and_loses_locks():
    claim, job = yaml.safe_load_all((CONTAINERS / "kubernetes.yaml").read_text(encoding="utf-8"))
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (CONTAINERS.parent / container["args"][container["args"].index("--configfile") + 1]).is_file()
    volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    kept = {"persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
    assert mounted == {"/suite/results": kept, "/suite/.snakemake": {"emptyDir": {}}}
    user = re.search(r"^USER (\d+)$", DOCKER.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert pod["securityContext"] == {"runAsUser": int(user[1]), "fsGroup": int(user[1])}
