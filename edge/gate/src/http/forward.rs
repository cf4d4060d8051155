//! To the upstream and back: one connection for each request.
//!
//! A connection of one's own costs a round trip on a near network, and buys the certainty that the gate needs: no
//! pool that tries a request twice, and a request is over when its connection is.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Response, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Limits;
use super::answer::{Answer, Body, full};
use super::request::{Outgoing, remove_hop_by_hop};

#[derive(Debug)]
pub(super) struct Upstream {
    address: SocketAddr,
    answer_bytes_max: usize,
    time_max: Duration,
}

/// The task that drives a connection; with it the connection ends.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Upstream {
    pub(super) fn new(address: SocketAddr, limits: Limits) -> Upstream {
        Upstream {
            address,
            answer_bytes_max: limits.answer_bytes_max,
            time_max: limits.upstream_time_max,
        }
    }

    /// Forwards, and returns when the answer has ended: what the request does has then been done.
    pub(super) async fn whole(&self, request: Outgoing) -> Result<Response<Body>, Answer> {
        let (bytes_max, time_max) = (self.answer_bytes_max, self.time_max);
        let whole = async {
            let (_driver, response) = self.send(request).await?;
            let (head, body) = response.into_parts();
            match Limited::new(body, bytes_max).collect().await {
                Ok(body) => Ok(Response::from_parts(head, full(body.to_bytes()))),
                Err(error) if error.is::<LengthLimitError>() => {
                    Err(Answer::ReplyTooLarge { bytes_max })
                }
                Err(_) => Err(Answer::UnknownOutcome),
            }
        };
        timeout(time_max, whole)
            .await
            .unwrap_or(Err(Answer::UnknownOutcomeInTime { time_max }))
    }

    /// Forwards a request that no gate guards, and hands its answer on as it comes.
    pub(super) async fn stream(&self, request: Outgoing) -> Result<Response<Body>, Answer> {
        let time_max = self.time_max;
        let (driver, response) = timeout(time_max, self.send(request))
            .await
            .unwrap_or(Err(Answer::UnknownOutcomeInTime { time_max }))?;
        Ok(response.map(|body| {
            body.map_frame(move |frame| {
                // The connection lives as long as the body that comes over it.
                let _ = &driver;
                frame
            })
            .boxed()
        }))
    }

    async fn send(
        &self,
        mut request: Outgoing,
    ) -> Result<(Driver, Response<hyper::body::Incoming>), Answer> {
        let unreachable = |_| Answer::Unreachable;
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(unreachable)?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Answer::Unreachable)?;
        let driver = Driver(tokio::spawn(async move {
            let _ = connection.await;
        }));
        if !request.headers().contains_key(header::HOST) {
            let host = self.address.to_string().parse();
            let host = host.expect("an address is a header's value");
            request.headers_mut().insert(header::HOST, host);
        }
        let sent = sender.send_request(request).await;
        let mut response = sent.map_err(|_| Answer::UnknownOutcome)?;
        remove_hop_by_hop(response.headers_mut());
        // Which version the upstream speaks is its affair; the client speaks with us.
        *response.version_mut() = http::Version::HTTP_11;
        Ok((driver, response))
    }
}
