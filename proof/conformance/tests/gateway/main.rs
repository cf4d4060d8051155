//! etcd's API as JSON over HTTP, with curl as the client.
//!
//! `script.txt` is a story of requests and their whole answers, as a real etcd gives them: with
//! `QUORATE_TEST_SERVER` set to one, the same tests judge it. What is ours alone (limits, streams that end with a
//! word) is asked of ours alone.

mod curl;
mod guide;
mod limits;
mod script;
mod streams;
