//! Where etcd's methods are as JSON: the paths of its 3.6.

use etcd::Method;

/// All of them. RangeStream and the health service have none.
pub(super) const PATHS: &[(&str, Method)] = &[
    ("/v3/kv/range", Method::Range),
    ("/v3/kv/put", Method::Put),
    ("/v3/kv/deleterange", Method::DeleteRange),
    ("/v3/kv/txn", Method::Txn),
    ("/v3/kv/compaction", Method::Compact),
    ("/v3/watch", Method::Watch),
    ("/v3/lease/grant", Method::LeaseGrant),
    ("/v3/lease/revoke", Method::LeaseRevoke),
    ("/v3/kv/lease/revoke", Method::LeaseRevoke),
    ("/v3/lease/keepalive", Method::LeaseKeepAlive),
    ("/v3/lease/timetolive", Method::LeaseTimeToLive),
    ("/v3/kv/lease/timetolive", Method::LeaseTimeToLive),
    ("/v3/lease/leases", Method::LeaseLeases),
    ("/v3/kv/lease/leases", Method::LeaseLeases),
    ("/v3/cluster/member/add", Method::MemberAdd),
    ("/v3/cluster/member/remove", Method::MemberRemove),
    ("/v3/cluster/member/update", Method::MemberUpdate),
    ("/v3/cluster/member/list", Method::MemberList),
    ("/v3/cluster/member/promote", Method::MemberPromote),
    ("/v3/maintenance/alarm", Method::Alarm),
    ("/v3/maintenance/status", Method::Status),
    ("/v3/maintenance/defragment", Method::Defragment),
    ("/v3/maintenance/hash", Method::Hash),
    ("/v3/maintenance/hashkv", Method::HashKv),
    ("/v3/maintenance/snapshot", Method::Snapshot),
    ("/v3/maintenance/transfer-leadership", Method::MoveLeader),
    ("/v3/maintenance/downgrade", Method::Downgrade),
    ("/v3/auth/enable", Method::AuthEnable),
    ("/v3/auth/disable", Method::AuthDisable),
    ("/v3/auth/status", Method::AuthStatus),
    ("/v3/auth/authenticate", Method::Authenticate),
    ("/v3/auth/user/add", Method::UserAdd),
    ("/v3/auth/user/get", Method::UserGet),
    ("/v3/auth/user/list", Method::UserList),
    ("/v3/auth/user/delete", Method::UserDelete),
    ("/v3/auth/user/changepw", Method::UserChangePassword),
    ("/v3/auth/user/grant", Method::UserGrantRole),
    ("/v3/auth/user/revoke", Method::UserRevokeRole),
    ("/v3/auth/role/add", Method::RoleAdd),
    ("/v3/auth/role/get", Method::RoleGet),
    ("/v3/auth/role/list", Method::RoleList),
    ("/v3/auth/role/delete", Method::RoleDelete),
    ("/v3/auth/role/grant", Method::RoleGrantPermission),
    ("/v3/auth/role/revoke", Method::RoleRevokePermission),
    ("/v3/lock/lock", Method::Lock),
    ("/v3/lock/unlock", Method::Unlock),
    ("/v3/election/campaign", Method::ElectionCampaign),
    ("/v3/election/proclaim", Method::ElectionProclaim),
    ("/v3/election/leader", Method::ElectionLeader),
    ("/v3/election/observe", Method::ElectionObserve),
    ("/v3/election/resign", Method::ElectionResign),
];

/// The method at a path; those of `/v3beta/` are those of `/v3/`.
pub(super) fn method_at(path: &str) -> Option<Method> {
    let rest = path
        .strip_prefix("/v3")
        .map(|rest| rest.strip_prefix("beta").unwrap_or(rest))?;
    let known = PATHS.iter().find(|(known, _)| &known[3..] == rest);
    known.map(|(_, method)| *method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_but_three_has_a_path_and_no_path_is_there_twice() {
        for method in Method::ALL {
            let has_none = matches!(
                method,
                Method::RangeStream | Method::HealthCheck | Method::HealthWatch
            );
            let n_paths = PATHS.iter().filter(|(_, it)| it == method).count();
            let is_aliased = matches!(
                method,
                Method::LeaseRevoke | Method::LeaseTimeToLive | Method::LeaseLeases
            );
            let wanted = if is_aliased {
                2
            } else {
                usize::from(!has_none)
            };
            assert_eq!(n_paths, wanted, "{method:?}");
        }
        for (path, method) in PATHS {
            assert_eq!(method_at(path), Some(*method));
            let beta = path.replace("/v3/", "/v3beta/");
            assert_eq!(method_at(&beta), Some(*method));
        }
        for path in [
            "/v3alpha/kv/put",
            "/v3/kv/put/",
            "/v3/kv",
            "/v3",
            "/v3beta",
            "/kv/put",
            "",
        ] {
            assert_eq!(method_at(path), None, "{path}");
        }
    }
}
