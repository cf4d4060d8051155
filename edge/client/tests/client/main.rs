//! The client against a cluster in this process, which loses answers, cuts connections and stalls on demand.

mod elections;
mod fake;
mod kv;
mod leases;
mod locks;
mod retries;
mod watches;
