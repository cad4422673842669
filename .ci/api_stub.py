"""An API server on loopback that keeps what it is given: enough for Helm to install, upgrade and test against."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# plural: (group version, kind, namespaced)
KINDS = {
    "namespaces": ("v1", "Namespace", False),
    "pods": ("v1", "Pod", True),
    "resourcequotas": ("v1", "ResourceQuota", True),
    "secrets": ("v1", "Secret", True),
    "serviceaccounts": ("v1", "ServiceAccount", True),
    "services": ("v1", "Service", True),
    "daemonsets": ("apps/v1", "DaemonSet", True),
    "networkpolicies": ("networking.k8s.io/v1", "NetworkPolicy", True),
    "podmonitors": ("monitoring.coreos.com/v1", "PodMonitor", True),
    "clusterroles": ("rbac.authorization.k8s.io/v1", "ClusterRole", False),
    "clusterrolebindings": ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", False),
}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def status(code, reason, message):
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}


def resource_list(version):
    resources = [
        {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": namespaced, "verbs": VERBS}
        for plural, (group_version, kind, namespaced) in KINDS.items()
        if group_version == version
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def groups():
    versions = sorted({version for version, _, _ in KINDS.values() if "/" in version})
    entries = []
    for version in versions:
        pair = {"groupVersion": version, "version": version.split("/")[1]}
        entries.append({"name": version.split("/")[0], "versions": [pair], "preferredVersion": pair})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": entries}


class Stub:
    """The server, what it holds, and what it was asked."""

    def __init__(self, version):
        self.version = version
        self.objects = {}
        self.requests = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def kubeconfig(self):
        address = f"http://127.0.0.1:{self.server.server_port}"
        config = {
            "clusters": [{"name": "stub", "cluster": {"server": address}}],
            "users": [{"name": "stub", "user": {}}],
            "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
            "current-context": "stub",
        }
        # Helm's binding takes text that starts like this for a configuration, and other text for a path.
        lines = [f"{key}: {json.dumps(value)}" for key, value in config.items()]
        return "\n".join(["apiVersion: v1", "kind: Config", *lines, ""])

    def of_kind(self, *kinds):
        return [value for value in self.objects.values() if value["kind"] in kinds]

    def answer(self, method, path, query, body):
        if path == "/version":
            major, minor = self.version.split(".")[:2]
            return 200, {"major": major, "minor": minor, "gitVersion": f"v{self.version}"}
        parts = path.strip("/").split("/")
        if parts == ["api"]:
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        if parts == ["apis"]:
            return 200, groups()
        if parts[0] == "api" and len(parts) == 2 or parts[0] == "apis" and len(parts) == 3:
            return 200, resource_list("/".join(parts[1:]))
        return self.store(method, path, query, body, parts)

    def store(self, method, path, query, body, parts):
        plural = next((part for part in reversed(parts) if part in KINDS), None)
        if plural is None:
            return status(404, "NotFound", f"{path} is not scripted")
        version, kind, _ = KINDS[plural]
        if parts[-1] == plural:
            if method == "POST":
                name = body["metadata"]["name"]
                if f"{path}/{name}" in self.objects:
                    return status(409, "AlreadyExists", f"{name} exists")
                self.objects[f"{path}/{name}"] = body
                return 201, body
            items = [value for key, value in self.objects.items() if key.rsplit("/", 1)[0] == path and matches(value, query)]
            return 200, {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}
        if path not in self.objects:
            return status(404, "NotFound", f"{plural} {parts[-1]} not found")
        if method == "DELETE":
            self.objects.pop(path)
            return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        if method == "PUT":
            self.objects[path] = body
        if method == "PATCH":
            merge(self.objects[path], body)
        return 200, self.objects[path]

    def handler(stub):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                length = int(self.headers.get("content-length") or 0)
                text = self.rfile.read(length)
                body = read_object(text) if self.command in ("POST", "PUT", "PATCH") else None
                path, _, query = self.path.partition("?")
                stub.requests.append((self.command, path))
                code, answer = stub.answer(self.command, path, query, body)
                text = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

            def log_message(self, *_):
                pass

        return Handler


def matches(value, query):
    """Whether an object has the labels of a labelSelector=a=b,c=d."""
    from urllib.parse import parse_qs

    selector = parse_qs(query).get("labelSelector", [""])[0]
    labels = value["metadata"].get("labels", {})
    pairs = [pair.split("=") for pair in selector.replace("==", "=").split(",") if pair.count("=") == 1]
    return all(labels.get(key) == wanted for key, wanted in pairs)


def merge(into, patch):
    """A JSON merge patch (RFC 7396); lists are replaced, which suffices for what is upgraded here."""
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def read_object(text):
    """An object in JSON, or a Secret in Kubernetes' protobuf, which Helm uses for its releases."""
    if not text.startswith(b"k8s\0"):
        return json.loads(text)
    secret = fields(dict(fields(text[4:]))[2])  # k8s.io/apimachinery runtime.Unknown.raw
    meta = fields(dict(secret)[1])
    pairs = lambda message, number: {entry[1]: entry.get(2, b"") for entry in (dict(fields(v)) for n, v in message if n == number)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": dict(meta)[1].decode(),
            "labels": {key.decode(): value.decode() for key, value in pairs(meta, 11).items()},
        },
        "data": {key.decode(): base64.b64encode(value).decode() for key, value in pairs(secret, 2).items()},
        "type": dict(secret)[3].decode(),
    }


def fields(message):
    """The fields of a protobuf message that have a length or a number, as (number, value)."""
    found, at = [], 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        value = varint()
        if key & 7 == 2:
            value, at = message[at : at + value], at + value
        found.append((key >> 3, value))
    return found
