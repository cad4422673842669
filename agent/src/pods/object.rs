//! A pod as the API server sends it, reduced while it is read to what `pods` keeps. EDGE.
//!
//! The full type costs memory for every field of every pod at each list, and a schema that this agent does not need.

use crate::pods::cgroup::{ConfigHash, ContainerId, PodUid};
use crate::pods::index::{Container, ContainerKind, Pod};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Stands on every static pod: the hash of its file, or the UID in it, and what Scope calls it.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// Stands only on mirror pods, which the kubelet makes to show its static pods.
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// What the watch asks for and gets.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Wire")]
pub struct PodObject {
    /// Name, namespace, UID and resource version only.
    meta: ObjectMeta,
    /// The pod; `None` if its UID is no UUID, which no API server sends.
    pub pod: Option<Pod>,
}

impl kube::Resource for PodObject {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// The fields read; what is missing is empty, what is unknown is skipped.
#[derive(Deserialize)]
struct Wire {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    resource_version: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
struct ContainerStatus {
    name: String,
    #[serde(default, rename = "containerID")]
    container_id: String,
}

impl From<Wire> for PodObject {
    fn from(wire: Wire) -> Self {
        let Wire { metadata, status } = wire;
        let meta = ObjectMeta {
            name: Some(metadata.name.clone()),
            namespace: Some(metadata.namespace.clone()),
            uid: Some(metadata.uid.clone()),
            resource_version: metadata.resource_version.clone(),
            ..ObjectMeta::default()
        };
        let pod = pod(metadata, status);
        Self { meta, pod }
    }
}

fn pod(metadata: Metadata, status: Status) -> Option<Pod> {
    let uid = PodUid::parse(&metadata.uid)?;
    let annotations = metadata.annotations.unwrap_or_default();
    let hash = annotations.get(CONFIG_HASH);
    // Anyone may write the first annotation on a pod of theirs; only together they make a mirror pod.
    let mirrored = hash.filter(|_| annotations.contains_key(CONFIG_MIRROR));
    let known = mirrored.and_then(|hash| Some((ConfigHash::parse(hash)?, hash)));
    Some(Pod {
        uid,
        config_hash: known.map(|(hash, _)| hash),
        scope_uid: known.map_or(&metadata.uid, |(_, hash)| hash).as_str().into(),
        namespace: metadata.namespace.into(),
        name: metadata.name.into(),
        containers: containers(status),
    })
}

fn containers(status: Status) -> Vec<Container> {
    let lists = [
        (status.container_statuses, ContainerKind::Regular),
        (status.init_container_statuses, ContainerKind::Init),
        (status.ephemeral_container_statuses, ContainerKind::Ephemeral),
    ];
    lists
        .into_iter()
        .flat_map(|(list, kind)| list.unwrap_or_default().into_iter().map(move |status| (status, kind)))
        .filter_map(|(status, kind)| {
            // Empty until the container first starts.
            let id = ContainerId::parse_status(&status.container_id)?;
            let name = status.name.into();
            Some(Container { name, id, kind })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::Resource;
    use serde_json::{Value, json};

    const UID: &str = "44c76ce5-f953-4bd3-bc89-12621681af49";
    const HASH: &str = "7cfa1bbc65606f578b629ebf9191950a";

    fn read(metadata: &Value, status: &Value) -> PodObject {
        let mut object = json!({"metadata": {"name": "web-1", "namespace": "shop", "uid": UID, "resourceVersion": "7"}, "status": status});
        for (key, value) in metadata.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn every_status_gives_its_containers_and_those_that_never_ran_none() {
        let id = "a".repeat(64);
        let status = json!({
            "containerStatuses": [{"name": "app", "containerID": format!("containerd://{id}")}, {"name": "waiting", "containerID": ""}],
            "initContainerStatuses": [{"name": "mesh", "containerID": format!("cri-o://{id}")}, {"name": "new"}],
            "ephemeralContainerStatuses": [{"name": "debugger", "containerID": format!("docker://{id}")}],
        });
        let pod = read(&json!({}), &status).pod.unwrap();
        let shown: Vec<_> = pod.containers.iter().map(|c| (&*c.name, c.kind)).collect();
        assert_eq!(
            shown,
            [("app", ContainerKind::Regular), ("mesh", ContainerKind::Init), ("debugger", ContainerKind::Ephemeral)]
        );
    }

    #[test]
    fn only_a_mirror_pod_has_a_hash() {
        let mut annotations = json!({"annotations": {CONFIG_HASH: HASH}});
        let pod = read(&annotations, &json!({})).pod.unwrap();
        assert_eq!((pod.config_hash, &*pod.scope_uid), (None, UID));
        annotations["annotations"][CONFIG_MIRROR] = HASH.into();
        let pod = read(&annotations, &json!({})).pod.unwrap();
        assert_eq!((pod.config_hash, &*pod.scope_uid), (ConfigHash::parse(HASH), HASH));
        let pod = read(&json!({}), &json!({})).pod.unwrap();
        assert_eq!((pod.config_hash, &*pod.scope_uid), (None, UID));
    }

    #[test]
    fn nulls_unknown_fields_and_strange_uids_are_survived() {
        let object = read(
            &json!({"uid": "not-a-uuid", "annotations": null, "managedFields": [1]}),
            &json!({"containerStatuses": null, "phase": {"unheard": "of"}}),
        );
        assert_eq!(object.pod, None);
        assert_eq!(object.meta().resource_version.as_deref(), Some("7"));
    }
}
