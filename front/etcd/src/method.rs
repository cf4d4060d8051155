//! The methods of etcd's API by their gRPC paths.

macro_rules! methods {
    ($($name:ident = $path:literal, $shape:ident;)*) => {
        /// One method: the last part of its path is the variant's name, but for the two `Watch`es
        /// and the lock and health services.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Method { $($name,)* }

        impl Method {
            /// All of them, in the order of the services.
            pub const ALL: &'static [Method] = &[$(Method::$name,)*];

            /// The method that a request's `:path` names; nothing when etcd has none such
            /// (answer: `Unimplemented`).
            pub fn of_path(path: &str) -> Option<Method> {
                match path { $($path => Some(Method::$name),)* _ => None }
            }

            /// The `:path`.
            pub const fn path(self) -> &'static str {
                match self { $(Method::$name => $path,)* }
            }

            /// Who speaks how often.
            pub const fn shape(self) -> Shape {
                match self { $(Method::$name => Shape::$shape,)* }
            }
        }
    };
}

/// Who speaks how often in a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One request, one answer.
    Unary,
    /// One request, many answers.
    ServerStream,
    /// Both sides speak as they like.
    Bidirectional,
}

methods! {
    Range = "/etcdserverpb.KV/Range", Unary;
    Put = "/etcdserverpb.KV/Put", Unary;
    Txn = "/etcdserverpb.KV/Txn", Unary;
    DeleteRange = "/etcdserverpb.KV/DeleteRange", Unary;
    Compact = "/etcdserverpb.KV/Compact", Unary;
    RangeStream = "/etcdserverpb.KV/RangeStream", ServerStream;

    Watch = "/etcdserverpb.Watch/Watch", Bidirectional;

    LeaseGrant = "/etcdserverpb.Lease/LeaseGrant", Unary;
    LeaseRevoke = "/etcdserverpb.Lease/LeaseRevoke", Unary;
    LeaseKeepAlive = "/etcdserverpb.Lease/LeaseKeepAlive", Bidirectional;
    LeaseTimeToLive = "/etcdserverpb.Lease/LeaseTimeToLive", Unary;
    LeaseLeases = "/etcdserverpb.Lease/LeaseLeases", Unary;

    MemberAdd = "/etcdserverpb.Cluster/MemberAdd", Unary;
    MemberRemove = "/etcdserverpb.Cluster/MemberRemove", Unary;
    MemberUpdate = "/etcdserverpb.Cluster/MemberUpdate", Unary;
    MemberList = "/etcdserverpb.Cluster/MemberList", Unary;
    MemberPromote = "/etcdserverpb.Cluster/MemberPromote", Unary;

    Alarm = "/etcdserverpb.Maintenance/Alarm", Unary;
    Status = "/etcdserverpb.Maintenance/Status", Unary;
    Defragment = "/etcdserverpb.Maintenance/Defragment", Unary;
    Hash = "/etcdserverpb.Maintenance/Hash", Unary;
    HashKv = "/etcdserverpb.Maintenance/HashKV", Unary;
    Snapshot = "/etcdserverpb.Maintenance/Snapshot", ServerStream;
    MoveLeader = "/etcdserverpb.Maintenance/MoveLeader", Unary;
    Downgrade = "/etcdserverpb.Maintenance/Downgrade", Unary;

    AuthEnable = "/etcdserverpb.Auth/AuthEnable", Unary;
    AuthDisable = "/etcdserverpb.Auth/AuthDisable", Unary;
    AuthStatus = "/etcdserverpb.Auth/AuthStatus", Unary;
    Authenticate = "/etcdserverpb.Auth/Authenticate", Unary;
    UserAdd = "/etcdserverpb.Auth/UserAdd", Unary;
    UserGet = "/etcdserverpb.Auth/UserGet", Unary;
    UserList = "/etcdserverpb.Auth/UserList", Unary;
    UserDelete = "/etcdserverpb.Auth/UserDelete", Unary;
    UserChangePassword = "/etcdserverpb.Auth/UserChangePassword", Unary;
    UserGrantRole = "/etcdserverpb.Auth/UserGrantRole", Unary;
    UserRevokeRole = "/etcdserverpb.Auth/UserRevokeRole", Unary;
    RoleAdd = "/etcdserverpb.Auth/RoleAdd", Unary;
    RoleGet = "/etcdserverpb.Auth/RoleGet", Unary;
    RoleList = "/etcdserverpb.Auth/RoleList", Unary;
    RoleDelete = "/etcdserverpb.Auth/RoleDelete", Unary;
    RoleGrantPermission = "/etcdserverpb.Auth/RoleGrantPermission", Unary;
    RoleRevokePermission = "/etcdserverpb.Auth/RoleRevokePermission", Unary;

    Lock = "/v3lockpb.Lock/Lock", Unary;
    Unlock = "/v3lockpb.Lock/Unlock", Unary;

    ElectionCampaign = "/v3electionpb.Election/Campaign", Unary;
    ElectionProclaim = "/v3electionpb.Election/Proclaim", Unary;
    ElectionLeader = "/v3electionpb.Election/Leader", Unary;
    ElectionObserve = "/v3electionpb.Election/Observe", ServerStream;
    ElectionResign = "/v3electionpb.Election/Resign", Unary;

    HealthCheck = "/grpc.health.v1.Health/Check", Unary;
    HealthWatch = "/grpc.health.v1.Health/Watch", ServerStream;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_method_and_back() {
        for method in Method::ALL {
            assert_eq!(Method::of_path(method.path()), Some(*method));
        }
        for path in [
            "",
            "/",
            "/etcdserverpb.KV/",
            "/etcdserverpb.KV/put",
            "/x/Put",
        ] {
            assert_eq!(Method::of_path(path), None, "{path:?}");
        }
    }
}
