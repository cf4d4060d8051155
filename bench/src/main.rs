//! Load for any server that speaks the etcd v3 API.

fn main() {}
