//! The few things that a member says on the members' port to somebody who speaks HTTP/1.1.
//!
//! One request, one answer, and the connection is closed: this is not a web server (`web.rs` is, for clients). The
//! head is bounded in bytes and in time.

use super::limits::HTTP1_HEAD_BYTES_MAX;
use crate::entrance::Socket;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A plain answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Page {
    /// A JSON document.
    pub fn json(status: u16, body: impl Into<String>) -> Page {
        Page {
            status,
            content_type: "application/json",
            body: body.into(),
        }
    }

    /// A text for people.
    pub fn text(status: u16, body: impl Into<String>) -> Page {
        Page {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    /// The page for a path that has none.
    pub fn not_found() -> Page {
        let text = "404 page not found\n\
                    This port speaks gRPC (the etcd v3 API and Quorate's own) over HTTP/2; as JSON the one is under \
                    /v3/ and the other under /v1/, and GET /health and GET /version are answered\n";
        Page::text(404, text)
    }

    fn render(&self, with_body: bool) -> String {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            503 => "Service Unavailable",
            _ => "Error",
        };
        format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{}",
            self.status,
            self.content_type,
            self.body.len(),
            if with_body { &self.body } else { "" },
        )
    }
}

/// The request line of a head that ends with an empty line.
fn request_line(head: &[u8]) -> Option<(String, String)> {
    let line = head.split(|&b| b == b'\r' || b == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let sane = words.next().is_none()
        && version.starts_with("HTTP/1.")
        && target.starts_with('/')
        && !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_uppercase());
    sane.then(|| (method.to_owned(), target.to_owned()))
}

fn is_complete(head: &[u8]) -> bool {
    head.windows(4).any(|w| w == b"\r\n\r\n") || head.windows(2).any(|w| w == b"\n\n")
}

/// Reads the rest of a request whose first bytes are `head`, asks `page`, answers and closes.
pub(crate) async fn answer<F: Future<Output = Page>>(
    mut socket: Socket,
    mut head: BytesMut,
    page: impl FnOnce(String, String) -> F,
) -> std::io::Result<()> {
    let mut open = true;
    while open && !is_complete(&head) && head.len() < HTTP1_HEAD_BYTES_MAX {
        open = socket.read_buf(&mut head).await? > 0;
    }
    let line = is_complete(&head).then(|| request_line(&head)).flatten();
    let (page, with_body) = match line {
        Some((method, target)) => {
            let with_body = method != "HEAD";
            (page(method, target).await, with_body)
        }
        None => {
            let text = "400: this port speaks gRPC (the etcd v3 API) over HTTP/2\n";
            (Page::text(400, text), true)
        }
    };
    socket.write_all(page.render(with_body).as_bytes()).await?;
    socket.flush().await?;
    socket.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sane_request_line_is_taken() {
        let ok = Some(("GET".to_owned(), "/health?x=1".to_owned()));
        assert_eq!(
            request_line(b"GET /health?x=1 HTTP/1.1\r\nA: b\r\n\r\n"),
            ok
        );
        for bad in [
            &b"GET /health\r\n\r\n"[..],
            b"get / HTTP/1.1\r\n\r\n",
            b"GET http://x/ HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET / a HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\xff\xfe\r\n\r\n",
            b"",
        ] {
            assert_eq!(request_line(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_page_states_its_length_and_closes() {
        let text = Page::json(200, "{}").render(true);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("Content-Length: 2\r\n") && text.ends_with("\r\n\r\n{}"));
    }
}
