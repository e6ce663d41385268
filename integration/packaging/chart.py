#!/usr/bin/env python3
"""What `helm template` gives: documents that belong together, and a configuration that the node takes.

    integration/packaging/chart.py RENDERED SIZE PERIGEE FOLDER      FOLDER: where certificates and configuration are written to
"""

import base64
import json
import os
import pathlib
import subprocess
import sys

import yaml

rendered, size, perigee, folder = sys.argv[1:]
folder = pathlib.Path(folder)
folder.mkdir(exist_ok=True)
documents = [document for document in yaml.safe_load_all(open(rendered)) if document]
by = {}
for document in documents:
    assert {"apiVersion", "kind", "metadata"} <= document.keys(), document
    key = (document["kind"], document["metadata"]["name"])
    assert key not in by, f"{key} twice"
    by[key] = document


def one(kind, name="db-perigee"):
    assert (kind, name) in by, f"{size}: no {kind} {name} among {sorted(by)}"
    return by[kind, name]


replicas = {"default": 3, "small": 1, "medium": 3, "large": 3}[size]
several = replicas > 1
sts = one("StatefulSet")
spec, pod = sts["spec"], sts["spec"]["template"]["spec"]
(container,) = pod["containers"]
assert spec["replicas"] == replicas and spec["podManagementPolicy"] == "Parallel"
labels = spec["template"]["metadata"]["labels"]

# Selectors find the pods.
for kind, name in (("Service", "db-perigee"), ("Service", "db-perigee-peers")):
    service = one(kind, name)["spec"]
    assert service["selector"].items() <= labels.items()
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports
peers = one("Service", "db-perigee-peers")
assert peers["spec"]["clusterIP"] == "None" and peers["spec"]["publishNotReadyAddresses"] is True
assert spec["serviceName"] == "db-perigee-peers" and spec["selector"]["matchLabels"].items() <= labels.items()
if several:
    budget = one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1 and budget["selector"]["matchLabels"].items() <= labels.items()
else:
    assert ("PodDisruptionBudget", "db-perigee") not in by

# Probes, limits, nobody's rights.
assert container["startupProbe"]["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"] == "/health"
assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
assert container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"]
assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]} and "memory" in container["resources"]["limits"]

# Every volume is mounted, and every mount has its volume; what they name is there or a secret of the user's.
volumes = {volume["name"]: volume for volume in pod["volumes"]}
claims = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
mounts = {mount["name"] for mount in container["volumeMounts"]}
assert mounts == volumes.keys() | claims, (mounts, volumes.keys(), claims)
assert one("ConfigMap", volumes["config"]["configMap"]["name"])
env = {variable["name"]: variable for variable in container["env"]}
password = env["PERIGEE_SECURITY__SUPERUSER_PASSWORD"]["valueFrom"]["secretKeyRef"]
secret = one("Secret", password["name"])["data"]
assert len(base64.b64decode(secret[password["key"]])) >= 32

# The configuration is one that a node with these variables takes.
configuration = folder / "perigee.toml"
configuration.write_text(one("ConfigMap")["data"]["perigee.toml"])
variables = {"PERIGEE_NODE__ID": "db-perigee-0", "PERIGEE_SECURITY__SUPERUSER_PASSWORD": "secret", "PATH": os.environ["PATH"]}
check = subprocess.run([perigee, "config", "print", "--config", configuration], env=variables, capture_output=True, text=True)
assert check.returncode == 0, check.stderr
assert 'authentication = "scram-sha-256"' in check.stdout
if several:
    assert f"db-perigee-{replicas - 1}=db-perigee-{replicas - 1}.db-perigee-peers.data.svc.cluster.local:7000" in check.stdout
    members = one("Secret", volumes["cluster"]["secret"]["secretName"])["data"]
    for name, text in members.items():
        (folder / name).write_bytes(base64.b64decode(text))
    assert len(members) == 1 + 2 * replicas
    mounted = {mount.get("subPathExpr") or mount.get("subPath") for mount in container["volumeMounts"] if mount["name"] == "cluster"}
    assert mounted == {"authority.crt", "$(PERIGEE_NODE__ID).crt", "$(PERIGEE_NODE__ID).key"}, mounted

ingress = one("Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
assert ingress == {"name": "db-perigee", "port": {"name": "rest"}}
if size in ("medium", "large"):
    assert one("ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= peers["metadata"]["labels"].items()
    source = pathlib.Path(__file__).parents[2] / "helm/perigee/files"
    assert one("PrometheusRule")["spec"] == yaml.safe_load((source / "rules.yaml").read_text())
    assert json.loads(one("ConfigMap", "db-perigee-dashboard")["data"]["perigee.json"]) == json.loads((source / "dashboard.json").read_text())
if size == "large":
    assert container["envFrom"] == [{"secretRef": {"name": "perigee-s3"}}] and env["AWS_REGION"]["value"] == "eu-central-1"
    assert 'url = "s3://bucket/backups"' in check.stdout and 'tls_key = "/etc/perigee/tls/tls.key"' in check.stdout
    policy = one("NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items() and len(policy["ingress"]) == 3
print(f"{size}: {len(documents)} documents belong together")
