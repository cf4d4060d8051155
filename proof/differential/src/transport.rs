//! gRPC with bytes in and bytes out, so that nothing of an answer is lost before it is compared.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use std::time::Duration;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// After this long an answer is missing: a difference like another.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Messages as they are on the wire.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wire;

impl Codec for Wire {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Wire;
    type Decoder = Wire;

    fn encoder(&mut self) -> Wire {
        Wire
    }

    fn decoder(&mut self) -> Wire {
        Wire
    }
}

impl Encoder for Wire {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Wire {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

fn client(channel: &Channel) -> tonic::client::Grpc<Channel> {
    tonic::client::Grpc::new(channel.clone())
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
}

fn request<T>(body: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(body);
    if let Some(token) = token.and_then(|token| token.parse().ok()) {
        request.metadata_mut().insert("token", token);
    }
    request
}

/// A broken connection is tried again once: what a killed server leaves behind.
fn ready(error: &impl std::fmt::Display) -> Status {
    Status::unavailable(format!("not connected: {error}"))
}

/// One request and its answer.
pub(crate) async fn unary(
    channel: &Channel,
    path: &str,
    body: Bytes,
    token: Option<&str>,
) -> Result<Bytes, Status> {
    let path = PathAndQuery::try_from(path).map_err(|error| ready(&error))?;
    let call = async {
        let mut client = client(channel);
        client.ready().await.map_err(|error| ready(&error))?;
        let answer = client.unary(request(body, token), path, Wire).await?;
        Ok(answer.into_inner())
    };
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::cancelled(format!("no answer for {PATIENCE:?}"))),
    }
}

/// A stream of requests and one of answers. Opens when the server has said its first word, which may be never
/// before the first request.
pub(crate) async fn stream(
    channel: &Channel,
    path: &str,
    bodies: impl tokio_stream::Stream<Item = Bytes> + Send + 'static,
    token: Option<&str>,
) -> Result<Streaming<Bytes>, Status> {
    let path = PathAndQuery::try_from(path).map_err(|error| ready(&error))?;
    let mut client = client(channel);
    client.ready().await.map_err(|error| ready(&error))?;
    let answers = client.streaming(request(bodies, token), path, Wire).await?;
    Ok(answers.into_inner())
}
