"""The manifests in the documentation are what Kubernetes takes, and what they start is what this version has."""

from __future__ import annotations

import re

import pytest
from rigs.places import DOCS

from echobench.bench.blast.command import blast

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="the extra test is not installed whole")
yaml = pytest.importorskip("yaml", reason="the extra cluster is not installed")

MANIFESTS = list(yaml.safe_load_all((DOCS / "examples/cluster.yaml").read_text()))
VERSIONS = ("1.28", "1.34")


def named(manifest):
    return f"{manifest['kind']} {manifest['metadata']['name']}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=named)
def test_a_manifest_has_the_schema_of_its_kind(manifest, version):
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_would_be_found():
    import copy

    wrong = copy.deepcopy(MANIFESTS[0])
    wrong["spec"]["portz"] = wrong["spec"].pop("ports")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_the_parts_fit_each_other():
    by_kind = {each["kind"]: each for each in MANIFESTS}
    for kind in ("Deployment", "DaemonSet"):
        template = by_kind[kind]["spec"]["template"]["metadata"]["labels"]
        assert by_kind[kind]["spec"]["selector"]["matchLabels"].items() <= template.items()
        assert by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= template.items()
    assert by_kind["Service"]["spec"]["selector"].items() <= (
        by_kind["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    )
    assert any(
        each["podSelector"]["matchLabels"] == {"job-name": by_kind["Job"]["metadata"]["name"]}
        for each in by_kind["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    )


def test_the_job_gives_options_that_there_are():
    job = next(each for each in MANIFESTS if each["kind"] == "Job")
    [container] = job["spec"]["template"]["spec"]["containers"]
    options = {name for option in blast.params for name in option.opts}
    for each in container["args"]:
        assert re.match(r"--[a-z-]+", each)[0] in options
