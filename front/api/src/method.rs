//! Every call of the native API: its path over gRPC, its path as JSON over HTTP, and its shape.

/// How many answers a call has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One.
    Unary,
    /// A stream; as JSON, server-sent events.
    Stream,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $service:literal $method:literal $path:literal $shape:ident,)*) => {
        /// A call of the native API.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Method { $($(#[$doc])* $name,)* }

        impl Method {
            /// All of them.
            pub const ALL: &'static [Method] = &[$(Method::$name,)*];

            /// The path over gRPC.
            pub fn grpc_path(self) -> &'static str {
                match self { $(Method::$name => concat!("/quorate.v1.", $service, "/", $method),)* }
            }

            /// The path as JSON over HTTP; always `POST`.
            pub fn json_path(self) -> &'static str {
                match self { $(Method::$name => $path,)* }
            }

            /// How many answers it has.
            pub fn shape(self) -> Shape {
                match self { $(Method::$name => Shape::$shape,)* }
            }
        }
    };
}

methods! {
    /// One key.
    Get = "KV" "Get" "/v1/kv/get" Unary,
    /// Keys in a range.
    Range = "KV" "Range" "/v1/kv/range" Unary,
    /// Write a key.
    Put = "KV" "Put" "/v1/kv/put" Unary,
    /// Delete keys.
    Delete = "KV" "Delete" "/v1/kv/delete" Unary,
    /// Several at one revision.
    Txn = "KV" "Txn" "/v1/kv/txn" Unary,
    /// Forget history.
    Compact = "KV" "Compact" "/v1/kv/compact" Unary,
    /// What happens to keys.
    Watch = "KV" "Watch" "/v1/kv/watch" Stream,
    /// A new lease.
    Grant = "Lease" "Grant" "/v1/lease/grant" Unary,
    /// Its owner is alive.
    Renew = "Lease" "Renew" "/v1/lease/renew" Unary,
    /// End it.
    Revoke = "Lease" "Revoke" "/v1/lease/revoke" Unary,
    /// How long it has left.
    LookLease = "Lease" "Look" "/v1/lease/look" Unary,
    /// All leases.
    ListLeases = "Lease" "List" "/v1/lease/list" Unary,
    /// Take a place in a line.
    Enter = "Lock" "Enter" "/v1/lock/enter" Unary,
    /// Wait until it holds.
    Await = "Lock" "Await" "/v1/lock/await" Unary,
    /// Both.
    Acquire = "Lock" "Acquire" "/v1/lock/acquire" Unary,
    /// Give the place up.
    Leave = "Lock" "Leave" "/v1/lock/leave" Unary,
    /// A leader says something else.
    Proclaim = "Lock" "Proclaim" "/v1/lock/proclaim" Unary,
    /// Who stands in a line.
    LookQueue = "Lock" "Look" "/v1/lock/look" Unary,
    /// Whether tokens hold.
    Check = "Lock" "Check" "/v1/lock/check" Unary,
    /// Who holds, from now on.
    Observe = "Lock" "Observe" "/v1/lock/observe" Stream,
    /// What the member says about itself.
    Status = "Cluster" "Status" "/v1/cluster/status" Unary,
    /// The time.
    Now = "Cluster" "Now" "/v1/cluster/now" Unary,
}

impl Method {
    /// The call at this path over gRPC.
    pub fn of_grpc_path(path: &str) -> Option<Method> {
        let rest = path.strip_prefix("/quorate.v1.")?;
        let known = |method: &&Method| method.grpc_path()["/quorate.v1.".len()..] == *rest;
        Method::ALL.iter().find(known).copied()
    }

    /// The call at this path as JSON.
    pub fn of_json_path(path: &str) -> Option<Method> {
        Method::ALL
            .iter()
            .find(|it| it.json_path() == path)
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_leads_to_its_call() {
        for method in Method::ALL {
            assert_eq!(Method::of_grpc_path(method.grpc_path()), Some(*method));
            assert_eq!(Method::of_json_path(method.json_path()), Some(*method));
        }
        assert_eq!(Method::of_grpc_path("/quorate.v1.KV/Got"), None);
        assert_eq!(Method::of_json_path("/v1/kv/get/"), None);
    }
}
