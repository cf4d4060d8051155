//! The native door: JSON over one kept-alive HTTP connection.

use crate::{Refused, Seen};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A client of one member.
pub struct Native {
    address: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Native {
    /// A client of the member at this address; it connects when it is used.
    pub fn new(host: &str, port: u16) -> Native {
        Native {
            address: format!("{host}:{port}"),
            connection: None,
        }
    }

    /// Reads a key at a level, said as through etcd's door: `bounded:100ms`, `session:TOKEN`.
    ///
    /// # Errors
    /// The server's words.
    pub async fn get(&mut self, key: &str, level: &str) -> Result<Seen, Refused> {
        let read = json!({"consistency": consistency(level)});
        self.read(key, read).await
    }

    /// Reads a key with a `read` as the API has it.
    ///
    /// # Errors
    /// The server's words.
    pub async fn read(&mut self, key: &str, read: Value) -> Result<Seen, Refused> {
        let answer = self
            .ask("/v1/kv/get", json!({"key": key, "read": read}))
            .await?;
        let mut seen = seen(&answer);
        seen.value = answer["kv"]["value"].as_str().map(str::to_owned);
        Ok(seen)
    }

    /// Writes a key.
    ///
    /// # Errors
    /// The server's words.
    pub async fn put(&mut self, key: &str, value: &str) -> Result<Seen, Refused> {
        let request = json!({"key": key, "value": value});
        Ok(seen(&self.ask("/v1/kv/put", request).await?))
    }

    /// Whether the member says that it leads.
    pub async fn leads(&mut self) -> bool {
        let status = self.ask("/v1/cluster/status", json!({})).await;
        status.is_ok_and(|status| status["isLeader"] == true)
    }

    /// One call.
    ///
    /// # Errors
    /// The server's words, or those of the connection without a code.
    pub async fn ask(&mut self, path: &str, body: Value) -> Result<Value, Refused> {
        let answer = match self.exchange(path, body.to_string()).await {
            Ok(answer) => answer,
            Err(error) => {
                self.connection = None;
                return Err(Refused {
                    code: String::new(),
                    message: error.to_string(),
                });
            }
        };
        match &answer["error"] {
            Value::Null => Ok(answer),
            error => Err(Refused {
                code: error["code"].as_str().unwrap_or_default().to_owned(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }

    async fn exchange(&mut self, path: &str, body: String) -> Result<Value, Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                none.insert(sender)
            }
        };
        connection.ready().await?;
        let request = hyper::Request::post(path)
            .header("host", &self.address)
            .body(Full::new(Bytes::from(body)))?;
        let answer = connection.send_request(request).await?;
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }
}

fn consistency(level: &str) -> Value {
    match level.split_once(':') {
        None => json!({"level": level}),
        Some(("bounded", bound)) => {
            let ms = bound.strip_suffix("ms").and_then(|ms| ms.parse().ok());
            let ms: u64 = ms.expect("bounded:…ms");
            json!({"level": "bounded", "boundMs": ms})
        }
        Some((name, token)) => json!({"level": name, "session": token}),
    }
}

fn seen(answer: &Value) -> Seen {
    let header = &answer["header"];
    let text = |name: &str| header[name].as_str().unwrap_or_default().to_owned();
    Seen {
        value: None,
        revision: text("revision").parse().unwrap_or_default(),
        time: text("time"),
        level: text("level"),
        how: text("how"),
        staleness_ms: text("stalenessMs").parse().ok(),
        token: text("session"),
    }
}
