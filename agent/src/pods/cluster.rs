//! Finds the cluster, and the way to its API server: service account, kubeconfig, proxies. EDGE.

use crate::pods::trouble;
use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::Config;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::net::IpAddr;
use std::path::Path;

/// Where pods may be asked for.
#[derive(Debug)]
pub enum Cluster {
    /// There is none, or no way to it; the agent runs without pod names.
    Absent(String),
    /// In-cluster files or a kubeconfig.
    Found(Box<Config>),
}

/// Finds the cluster: by this kubeconfig, or else by the service account of the pod this runs in, or else by the
/// kubeconfig that kubectl would use.
pub async fn find_cluster(kubeconfig: Option<&Path>) -> Cluster {
    if let Some(path) = kubeconfig {
        return match by_kubeconfig(Kubeconfig::read_from(path)).await {
            Ok(config) => Cluster::Found(Box::new(config)),
            Err(error) => Cluster::Absent(format!("no usable kubeconfig: {}", trouble::chain(&error))),
        };
    }
    let in_cluster = match Config::incluster() {
        Ok(config) => return Cluster::Found(Box::new(config)),
        Err(error) => error,
    };
    match by_kubeconfig(Kubeconfig::read()).await {
        Ok(config) => Cluster::Found(Box::new(config)),
        Err(kubeconfig) => Cluster::Absent(why_absent(&in_cluster, &kubeconfig)),
    }
}

async fn by_kubeconfig(kubeconfig: Result<Kubeconfig, KubeconfigError>) -> Result<Config, KubeconfigError> {
    let kubeconfig = kubeconfig?;
    let named = named_proxy(&kubeconfig);
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let proxy = match named {
        // A proxy that the kubeconfig names is meant for this server.
        Some(proxy) => Some(proxy),
        None if goes_direct(&config.cluster_url, &Matcher::from_env()) => None,
        None => proxy_of_environment(&config.cluster_url, |name| std::env::var(name).ok()),
    };
    // kube looks whether `NO_PROXY` has the proxy's own address.
    config.proxy_url = match proxy {
        Some(proxy) => Some(proxy.parse().map_err(KubeconfigError::ParseProxyUrl)?),
        None => None,
    };
    Ok(config)
}

/// The proxy that a kubeconfig names for the cluster of its current context.
fn named_proxy(kubeconfig: &Kubeconfig) -> Option<String> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == *current)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|proxy| !proxy.is_empty())
}

/// The proxy for servers of this scheme; HTTP where it names none, as kubectl has it.
fn proxy_of_environment(server: &Uri, lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
    let names =
        if server.scheme_str() == Some("http") { ["HTTP_PROXY", "http_proxy"] } else { ["HTTPS_PROXY", "https_proxy"] };
    let proxy = names.into_iter().find_map(|name| lookup(name).filter(|proxy| !proxy.is_empty()))?;
    Some(if proxy.contains("://") { proxy } else { format!("http://{proxy}") })
}

/// Whether the environment's proxies are not for this server, as kubectl has it.
fn goes_direct(server: &Uri, proxies: &Matcher) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || proxies.intercept(server).is_none()
}

fn why_absent(in_cluster: &InClusterError, kubeconfig: &KubeconfigError) -> String {
    let no_kubeconfig = match kubeconfig {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(error, _) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    };
    let no_pod = matches!(in_cluster, InClusterError::ReadEnvironmentVariable(_));
    match (no_kubeconfig, no_pod) {
        (true, true) => "neither a service account nor a kubeconfig".into(),
        (_, false) => format!("no usable service account: {}", trouble::chain(in_cluster)),
        (false, true) => format!("no usable kubeconfig: {}", trouble::chain(kubeconfig)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(server: &str, no_proxy: &str, expected: bool) {
        let proxies = Matcher::builder().https("http://proxy.example:3128").no(no_proxy).build();
        assert_eq!(goes_direct(&server.parse().unwrap(), &proxies), expected, "{server}, NO_PROXY={no_proxy}");
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme() {
        let of = |server: &'static str, set: &[(&str, &str)]| {
            let value = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            proxy_of_environment(&Uri::from_static(server), value)
        };
        let both = [("HTTP_PROXY", "http://a:1"), ("https_proxy", "socks5://b:2"), ("HTTPS_PROXY", "")];
        assert_eq!(of("https://api.example", &both).as_deref(), Some("socks5://b:2"));
        assert_eq!(of("http://api.example", &both).as_deref(), Some("http://a:1"));
        assert_eq!(of("https://api.example", &both[..1]), None);
        assert_eq!(of("https://api.example", &[("HTTPS_PROXY", "c:3")]).as_deref(), Some("http://c:3"));
    }

    #[test]
    fn what_goes_past_a_proxy() {
        check("https://api.example:6443", "", false);
        check("https://api.example:6443", "other.example", false);
        // Not the proxy's own name counts, but the server's.
        check("https://api.example:6443", "proxy.example", false);
        check("https://api.example:6443", "api.example", true);
        check("https://api.example:6443", ".example", true);
        check("https://api.example:6443", "a,*", true);
        check("https://10.1.2.3:6443", "10.0.0.0/8", true);
        check("https://10.1.2.3:6443", "10.1.2.3", true);
        check("https://[fd00::1]:6443", "fd00::/8", true);
        // Another scheme has a variable of its own.
        check("http://api.example:8080", "", true);
        check("https://127.0.0.1:6443", "", true);
        check("https://[::1]:6443", "", true);
        check("https://localhost:6443", "", true);
    }
}
