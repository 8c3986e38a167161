"""The Helm chart: rendered by Helm's engine, validated strictly by Kubernetes' schemas and the operator's resources."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from streameval.config import load
from tests.deploy.built import CHART, MISSING, ROOT, Rendered, custom_resources, go, render

CASES = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted((Path(__file__).parent / "values").glob("*.yaml"))
}
OLDEST, NEWEST = "1.28", "1.37"
CORE = {"ConfigMap", "Service", "StatefulSet"}
KINDS = {
    "minimal": CORE | {"NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"},
    "sharded": CORE | {"NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"},
    "secured": CORE | {"NetworkPolicy", "PodDisruptionBudget"},
    "monitored": CORE | {"NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", "PodMonitor", "PrometheusRule"},
    "embedded": CORE | {"ServiceAccount"},
}
Manifest = dict[str, Any]

pytestmark = [
    pytest.mark.skipif(go() is None, reason=MISSING),
    # The first build of the renderer takes minutes on a small machine.
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def rendered() -> dict[str, Rendered]:
    return render(CASES)


@pytest.fixture(scope="module")
def crds() -> dict[str, Manifest]:
    return {kind: closed(schema) for kind, schema in custom_resources().items()}


def closed(schema: Any) -> Any:
    """A custom resource's schema under which an unknown field is an error, as the API server's strict check has it."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def manifests(one: Rendered) -> list[Manifest]:
    assert not one.error
    texts = [text for name, text in sorted(one.files.items()) if name.endswith(".yaml")]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]


def only(one: Rendered, kind: str, name: str = "") -> Manifest:
    found = [m for m in manifests(one) if m["kind"] == kind and m["metadata"]["name"].endswith(name)]
    assert found, f"no {kind} {name}"
    return found[0]


def container(one: Rendered) -> Manifest:
    found: Manifest = only(one, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    return found


def check(manifest: Manifest, version: str, crds: dict[str, Manifest]) -> None:
    """Raises where a manifest has an unknown or wrong field, or is of a kind that nobody described."""
    if manifest["kind"] in crds:
        # The API server describes `metadata` itself.
        body = {key: value for key, value in manifest.items() if key != "metadata"}
        jsonschema.Draft202012Validator(crds[manifest["kind"]]).validate(body)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_every_object_is_strictly_valid_and_of_an_expected_kind(
    case: str, rendered: dict[str, Rendered], crds: dict[str, Manifest]
) -> None:
    objects = manifests(rendered[case])
    assert {one["kind"] for one in objects} == KINDS[case]
    for manifest in objects:
        for version in (OLDEST, NEWEST):
            check(manifest, version, crds)
        assert manifest["metadata"]["namespace"] == "ml"


@pytest.mark.parametrize("kind", ["StatefulSet", "NetworkPolicy", "PodMonitor", "PrometheusRule"])
def test_the_check_itself_refuses_an_unknown_field(
    kind: str, rendered: dict[str, Rendered], crds: dict[str, Manifest]
) -> None:
    broken = copy.deepcopy(only(rendered["monitored"], kind))
    broken["spec"]["replicsa"] = 1
    with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError), match="replicsa"):
        check(broken, NEWEST, crds)


@pytest.mark.parametrize("case", CASES)
def test_lint_has_nothing_to_say(case: str, rendered: dict[str, Rendered]) -> None:
    assert [line for line in rendered[case].lint if "icon is recommended" not in line] == []


@pytest.mark.parametrize("case", CASES)
def test_the_daemon_reads_the_rendered_configuration(
    case: str, rendered: dict[str, Rendered], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_HOST", "kafka.example")
    one = rendered[case]
    path = tmp_path / "streameval.yaml"
    path.write_text(only(one, "ConfigMap", only(one, "StatefulSet")["metadata"]["name"])["data"]["streameval.yaml"])
    config = load(path)
    asked = CASES[case]["config"]
    assert [model.name for model in config.models] == [model["name"] for model in asked["models"]]
    assert config.max_rows == asked.get("max_rows", 20_000_000)
    assert config.worker == asked.get("worker", only(one, "StatefulSet")["metadata"]["name"])
    mounts = {mount["name"]: mount["mountPath"] for mount in container(one)["volumeMounts"]}
    assert str(config.state) == mounts["state"]
    assert (config.serve.host, config.serve.port) == ("0.0.0.0", container(one)["ports"][0]["containerPort"])
    if asked["transport"]["kind"] == "kafka":
        assert config.transport.create_topics is asked["transport"].get("create_topics", True)


@pytest.mark.parametrize("case", CASES)
def test_pods_are_as_restricted_as_kubernetes_can_ask(case: str, rendered: dict[str, Rendered]) -> None:
    """Pod Security Standards, profile `restricted`, and a read-only root without a token beside it."""
    pod = only(rendered[case], "StatefulSet")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for one in pod["containers"]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert one["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in one["resources"]["limits"]


@pytest.mark.parametrize("case", CASES)
def test_selectors_select_the_pods(case: str, rendered: dict[str, Rendered]) -> None:
    one = rendered[case]
    workers = only(one, "StatefulSet")
    labels = workers["spec"]["template"]["metadata"]["labels"].items()
    selectors = [workers["spec"]["selector"]["matchLabels"], only(one, "Service")["spec"]["selector"]]
    for manifest in manifests(one):
        if manifest["kind"] in {"PodDisruptionBudget", "PodMonitor"}:
            selectors.append(manifest["spec"]["selector"]["matchLabels"])
        elif manifest["kind"] == "NetworkPolicy":
            selectors.append(manifest["spec"]["podSelector"]["matchLabels"])
    for selector in selectors:
        assert selector.items() <= labels
    assert workers["spec"]["serviceName"] == only(one, "Service")["metadata"]["name"]


def test_one_worker_is_no_shard_and_three_are_shards_by_their_ordinal(rendered: dict[str, Rendered]) -> None:
    assert container(rendered["minimal"])["args"] == ["run", "--config=/etc/streameval/streameval.yaml"]
    sharded = container(rendered["sharded"])
    assert only(rendered["sharded"], "StatefulSet")["spec"]["replicas"] == 3
    assert sharded["args"][-1] == "--shard=$(SHARD)/3"
    path = "metadata.labels['apps.kubernetes.io/pod-index']"
    assert sharded["env"] == [{"name": "SHARD", "valueFrom": {"fieldRef": {"fieldPath": path}}}]


def test_another_configuration_rolls_the_pods_and_nothing_else_does() -> None:
    changed = copy.deepcopy(CASES["minimal"])
    changed["config"]["models"][0]["threshold"] = 0.6
    bigger = copy.deepcopy(CASES["minimal"]) | {"resources": {"requests": {"cpu": "2"}}}
    pods = {
        name: only(one, "StatefulSet")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for name, one in render({"as it was": CASES["minimal"], "changed": changed, "bigger": bigger}).items()
    }
    assert pods["as it was"] == pods["bigger"] != pods["changed"]


def test_secrets_are_mounted_by_name_for_the_daemon_alone(rendered: dict[str, Rendered]) -> None:
    one = rendered["secured"]
    volumes = only(one, "StatefulSet")["spec"]["template"]["spec"]["volumes"]
    secrets = {v["name"]: v["secret"] for v in volumes if "secret" in v}
    assert {s["secretName"] for s in secrets.values()} == {"kafka-credentials", "kafka.ca"}
    assert {s["defaultMode"] for s in secrets.values()} == {0o440}
    mounts = {m["name"]: m for m in container(one)["volumeMounts"]}
    assert {mounts[name]["mountPath"] for name in secrets} == {"/run/secrets/kafka", "/run/secrets/kafka-ca"}
    assert all(mounts[name]["readOnly"] for name in secrets)


def test_the_network_policy_lets_out_names_and_brokers_only(rendered: dict[str, Rendered]) -> None:
    def ports(case: str) -> list[list[int]]:
        rules = only(rendered[case], "NetworkPolicy")["spec"]["egress"]
        return [sorted({port["port"] for port in rule["ports"]}) for rule in rules]

    assert ports("minimal") == [[53], [9092]]
    assert ports("secured") == [[53], [9093, 9094], [443]]


def test_the_rules_and_the_dashboard_travel_unchanged(rendered: dict[str, Rendered]) -> None:
    one = rendered["monitored"]
    groups = yaml.safe_load((CHART / "rules" / "streameval.yaml").read_text())["groups"]
    for group in groups:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["labels"] = rule.get("labels", {}) | {"team": "risk"}
    assert only(one, "PrometheusRule")["spec"]["groups"] == groups
    board = (CHART / "dashboards" / "streameval.json").read_text()
    assert only(one, "ConfigMap", "-dashboard")["data"]["streameval.json"].rstrip() == board.rstrip()


@pytest.mark.parametrize("case", CASES)
def test_the_notes_name_the_workers(case: str, rendered: dict[str, Rendered]) -> None:
    notes = next(text for name, text in rendered[case].files.items() if name.endswith("NOTES.txt"))
    assert f"{CASES[case].get('shards', 1)} worker(s)" in notes
    assert "<no value>" not in notes


NONSENSE: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"replicas": 2}, "replicas"),
    "an unknown value inside": ({"persistence": {"class": "fast"}}, "class"),
    "a misspelt key of the configuration": ({"config": {"modles": []}}, "modles"),
    "a model without a name": ({"config": {"models": [{"threshold": 0.5}]}}, "name"),
    "a threshold above one": ({"config": {"models": [{"name": "a", "threshold": 1.5}]}}, "threshold"),
    "the state's place, which the chart sets": ({"config": {"state": "/tmp"}}, "state"),
    "the port of the configuration, which the chart sets": ({"config": {"serve": {"port": 1}}}, "port"),
    "a transport that is not there": ({"config": {"transport": {"kind": "pulsar"}}}, "transport"),
    "no shard": ({"shards": 0}, "shards"),
    "half a shard": ({"shards": 1.5}, "shards"),
    "a port below 1024, which needs a capability": ({"port": 80}, "port"),
    "a size without meaning": ({"persistence": {"size": "big"}}, "size"),
    "a tag inside the repository": ({"image": {"repository": "streameval:1"}}, "repository"),
    "a digest that is none": ({"image": {"digest": "sha256:abc"}}, "digest"),
    "a secret in place of its name": ({"secrets": [{"name": "a", "mountPath": "/a", "password": "x"}]}, "password"),
    "a grace period that cuts a commit off": ({"terminationGracePeriodSeconds": 1}, "terminationGracePeriodSeconds"),
}


def merged(base: Any, change: Any) -> Any:
    if isinstance(base, dict) and isinstance(change, dict):
        return base | {key: merged(base.get(key), value) for key, value in change.items()}
    return change


def test_nonsense_is_refused_with_the_path_of_the_value() -> None:
    found = render({name: merged(CASES["minimal"], change) for name, (change, _) in NONSENSE.items()})
    told = {name: (NONSENSE[name][1] in one.error, one.error) for name, one in found.items()}
    assert {name: error for name, (named, error) in told.items() if not named} == {}


def test_without_a_configuration_the_chart_says_what_is_missing() -> None:
    error = render({"bare": {}})["bare"].error
    assert "transport" in error
    assert "models" in error


def test_a_cluster_without_ordinals_as_labels_is_refused() -> None:
    one = render({"old": CASES["minimal"]}, kube="v1.27.0")["old"]
    assert any("kubeVersion" in line or "1.28" in line for line in [*one.lint, one.error])


def test_the_example_in_the_values_is_valid() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    start = lines.index("config: {}")
    told = []
    for line in lines[start + 1 :]:
        if not line.startswith("#"):
            break
        told.append(line.removeprefix("#"))
    values = {"config": yaml.safe_load("\n".join(told))}
    one = render({"example": values})["example"]
    assert not one.error
    assert values["config"]["models"]


def test_the_chart_and_the_package_have_one_version() -> None:
    told = yaml.safe_load((CHART / "Chart.yaml").read_text())
    from streameval import __version__

    assert told["appVersion"] == __version__
    assert f'__version__ = "{__version__}"' in (ROOT / "streameval" / "__init__.py").read_text()
