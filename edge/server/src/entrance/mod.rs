//! The doors of a member: where it listens, and connections whatever they run over.
//!
//! ```text
//!   Listen (config) ── Entrance::bind ──► Entrance::accept ──► Visitor { socket, from, certificate }
//!                        │
//!      http, unix        ├─ a listener of the member's thread
//!      https, unixs      └─ porter.rs: a thread accepts, does the handshakes, and hands over what is done
//!
//!   socket.rs    Socket: TCP or a unix socket, in the clear or under TLS
//!   listener.rs  binding: ports, files of unix sockets
//!   porter.rs    handshakes: bounded in number, time and memory, off the member's thread
//!   way.rs       the way out: a connection to another member
//! ```
//!
//! Who serves a door sees no difference between them. What may be shown and who is let in is `crate::tls`'s business.

mod listener;
mod porter;
mod socket;
mod way;

pub(crate) use listener::name;
pub use listener::{Entrance, Visitor};
pub(crate) use porter::Porter;
pub(crate) use socket::Blocking;
pub use socket::Socket;
pub(crate) use way::Way;
