//! The client against a cluster in this process, which loses answers, cuts connections and stalls on demand.
#![allow(
    clippy::result_large_err,
    reason = "an error of the API is as large as its message"
)]

mod elections;
mod fake;
mod kv;
mod leases;
mod locks;
mod retries;
mod watches;
