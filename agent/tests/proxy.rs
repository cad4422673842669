//! The way to an API server through a real HTTP proxy, or past it, with a kubeconfig: what `check` finds, and what the
//! proxy was asked for.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

#[expect(dead_code, reason = "it knows more scenarios than are asked about here")]
mod api_server;
mod secured;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use api_server::{ApiServer, Scenario};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;

const AGENT: &str = env!("CARGO_BIN_EXE_scope-http-requests");

/// An HTTP proxy that tunnels (RFC 9110 §9.3.6), or refuses to with this status line.
struct Proxy {
    address: SocketAddr,
    /// The request line of each connection.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let noted = Arc::clone(&noted);
                tokio::spawn(async move {
                    let mut client = BufReader::new(client);
                    let mut line = String::new();
                    client.read_line(&mut line).await?;
                    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    noted.lock().unwrap().push(line.trim_end().to_owned());
                    let mut field = String::new();
                    while client.read_line(&mut field).await? > 2 {
                        field.clear();
                    }
                    client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await?;
                    if answer.starts_with("200") {
                        copy_bidirectional(&mut client, &mut TcpStream::connect(target).await?).await?;
                    }
                    std::io::Result::Ok(())
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// An API server that wants TLS, by an address that leads to this machine and is not taken for its loopback.
async fn secured_server(folder: &Path) -> Option<(ApiServer, String)> {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED: proxies: no openssl");
        return None;
    }
    let server = ApiServer::start(Scenario::Serve).await;
    server.put(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "00000001-0000-0000-0000-000000000000"},
    }));
    let tls = secured::acceptor(&folder.join("tls.crt"), &folder.join("tls.key")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("0.0.0.0:{}", listener.local_addr().unwrap().port());
    tokio::spawn(secured::serve(listener, tls, server.address));
    Some((server, target))
}

/// What `check` finds of it with these variables.
async fn check(folder: &Path, target: &str, variables: &[(&str, String)]) -> Vec<[String; 3]> {
    let cluster = json!({"server": format!("https://{target}"), "insecure-skip-tls-verify": true});
    check_cluster(folder, &cluster, variables).await
}

/// The same for what a kubeconfig says of the cluster.
async fn check_cluster(folder: &Path, cluster: &Value, variables: &[(&str, String)]) -> Vec<[String; 3]> {
    let kubeconfig = folder.join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).unwrap();
    let mut command = Command::new(AGENT);
    command.args(["check", "--json", "--node-name=node-1"]).env_clear().env("KUBECONFIG", &kubeconfig);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = document["checks"].as_array().unwrap().iter().filter(|finding| finding["check"] == "API server");
    found.map(|finding| ["verdict", "found", "to_do"].map(|part| finding[part].as_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn a_server_that_no_proxy_names_is_asked_directly() {
    let folder = tempfile::tempdir().unwrap();
    let Some((server, target)) = secured_server(folder.path()).await else { return };
    let proxy = Proxy::start("200 Tunnel").await;
    let proxied = ("HTTPS_PROXY", format!("http://{}", proxy.address));
    let found = check(folder.path(), &target, &[proxied, ("NO_PROXY", "10.0.0.0/8,0.0.0.0".to_owned())]).await;
    assert_eq!(found[1][..2], ["ok", "pods may be watched"], "{found:?}");
    assert_eq!(proxy.asked(), [""; 0]);
    assert!(!server.world().requests.is_empty());
}

#[tokio::test]
async fn any_other_is_asked_through_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let Some((server, target)) = secured_server(folder.path()).await else { return };
    let proxy = Proxy::start("200 Tunnel").await;
    for variables in [
        &[("HTTPS_PROXY", format!("http://{}", proxy.address))][..],
        &[("HTTPS_PROXY", format!("http://{}", proxy.address)), ("NO_PROXY", "127.0.0.1".to_owned())],
        &[("HTTPS_PROXY", proxy.address.to_string())],
    ] {
        let before = proxy.asked().len();
        let found = check(folder.path(), &target, variables).await;
        assert_eq!(found[1][..2], ["ok", "pods may be watched"], "{found:?}");
        let asked = proxy.asked().split_off(before);
        let tunnel = format!("CONNECT {target} HTTP/1.1");
        assert!(!asked.is_empty() && asked.iter().all(|line| *line == tunnel), "{asked:?}");
    }
    assert!(!server.world().requests.is_empty());
}

/// As kubectl has it: `NO_PROXY` is about the environment's proxies.
#[tokio::test]
async fn a_proxy_that_the_kubeconfig_names_is_used_whatever_the_environment_says() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_server, target)) = secured_server(folder.path()).await else { return };
    let proxy = Proxy::start("200 Tunnel").await;
    let cluster = json!({
        "server": format!("https://{target}"), "insecure-skip-tls-verify": true,
        "proxy-url": format!("http://{}", proxy.address),
    });
    let variables = [("HTTPS_PROXY", "http://127.0.0.1:1".to_owned()), ("NO_PROXY", "0.0.0.0,127.0.0.1".to_owned())];
    let found = check_cluster(folder.path(), &cluster, &variables).await;
    assert_eq!(found[1][..2], ["ok", "pods may be watched"], "{found:?}");
    assert!(!proxy.asked().is_empty());
}

/// A proxy that does not let this through, one that is not there, and one of another kind.
#[tokio::test]
async fn a_proxy_that_is_in_the_way_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_server, target)) = secured_server(folder.path()).await else { return };
    let refusing = Proxy::start("403 Forbidden").await;
    let rows = [
        (format!("http://{}", refusing.address), "tunnel error: unsuccessful", "proxy"),
        ("http://127.0.0.1:1".to_owned(), "Connection refused", "proxy"),
        ("socks5://127.0.0.1:1".to_owned(), "SOCKS error", "proxy"),
    ];
    for (address, cause, cure) in rows {
        let found = check(folder.path(), &target, &[("HTTPS_PROXY", address.clone())]).await;
        let [verdict, found, to_do] = &found[0];
        assert_eq!(verdict, "warning");
        assert!(found.contains(cause) && to_do.contains(cure), "{address}: {found}: {to_do}");
    }
    let cluster = json!({"server": format!("https://{target}"), "proxy-url": "ftp://127.0.0.1:1"});
    let [_, found, to_do] = &check_cluster(folder.path(), &cluster, &[]).await[0];
    assert!(found.contains("ftp://127.0.0.1:1") && to_do.contains("(http, https or socks5)"), "{found}: {to_do}");
    assert!(
        refusing.asked().iter().all(|line| *line == format!("CONNECT {target} HTTP/1.1")),
        "{:?}",
        refusing.asked()
    );
}
