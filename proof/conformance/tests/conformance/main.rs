//! Every public method of the public `etcd-client` crate, one test of ours for each. See the crate's own page
//! for where the server comes from, and `methods.txt` for which test covers which method.

mod auth;
mod auth_scripts;
mod connect;
mod coverage;
mod election;
mod kv;
mod kv_options;
mod lease;
mod lock;
mod maintenance;
mod members;
mod namespace;
mod pitfalls;
mod recipes;
mod recipes_crowd;
mod retries;
mod script;
mod txn;
mod watch;
