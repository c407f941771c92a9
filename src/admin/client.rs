//! How the client verbs ask the running lb.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use lb_core::config;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::messages::Failure;
use crate::cli;
use crate::environment::Variables;

/// A reload that loads thousands of certificates may take its time; anything slower is stuck.
const PATIENCE: Duration = Duration::from_secs(120);
const DEFAULT_SOCKET: &str = "/run/lb/admin.sock";

/// The admin socket of one running lb.
pub struct Client {
    socket: PathBuf,
}

/// lb answered, and the answer is no.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Client {
    /// At `--socket` or LB_SOCKET, else at what the configuration file names, else at the usual place.
    pub fn find(server: &cli::Server) -> Result<Self> {
        let socket = server.socket.clone().map_or_else(|| socket_of(&server.config), Ok)?;
        Ok(Self { socket })
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.ask(Method::GET, path, &()).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.ask(Method::POST, path, body).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: &impl Serialize) -> Result<T> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "lb")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?;
        let exchange = tokio::time::timeout(PATIENCE, self.exchange(request));
        let (status, answer) =
            exchange.await.map_err(|_| anyhow!("lb does not answer on {}", self.socket.display()))??;
        match status {
            StatusCode::OK => serde_json::from_slice(&answer).context("lb answered something else: another version?"),
            _ => Err(refusal(status, &answer).into()),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| explain(&self.socket, &error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.context("lb closed the admin connection")?;
        let status = response.status();
        let body = response.into_body().collect().await.context("lb closed the admin connection")?.to_bytes();
        connection.abort();
        Ok((status, body))
    }
}

/// The file need not be valid: the running lb is the one to say why it refuses it, and how it fares meanwhile.
fn socket_of(path: &Path) -> Result<PathBuf> {
    let is_default = path == Path::new(cli::DEFAULT_CONFIG);
    let variables = Variables::of(path);
    let text = std::fs::read(path).ok();
    let named = text.as_ref().and_then(|text| config::admin_socket(text, &|name| variables.get(name)));
    match named {
        Some(socket) => Ok(socket),
        None if is_default || !path.exists() => Ok(PathBuf::from(DEFAULT_SOCKET)),
        None => bail!(
            "{path} does not say where lb listens: name --socket (`lb check {path}` says what is wrong with it)",
            path = path.display()
        ),
    }
}

fn refusal(status: StatusCode, answer: &[u8]) -> Refused {
    match serde_json::from_slice::<Failure>(answer) {
        Ok(failure) => Refused(failure.error),
        Err(_) => Refused(format!("lb answered {status}")),
    }
}

/// One line that says what to do about it.
fn explain(socket: &Path, error: &io::Error) -> anyhow::Error {
    let path = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => anyhow!("there is no socket {path}: is lb running? (--socket names another one)"),
        io::ErrorKind::ConnectionRefused => anyhow!("nobody listens on {path}: lb is not running"),
        io::ErrorKind::PermissionDenied => {
            anyhow!("no permission for {path}: only root, lb's own user and members of its group may steer it")
        }
        _ => anyhow!("cannot connect to {path}: {error}"),
    }
}
