//! Users, roles and tokens: AuthClient, and the same methods of Client.

use etcd_client::{
    Client, ConnectOptions, Permission, PermissionType, RoleRevokePermissionOptions, UserAddOptions,
};
use quorate_conformance::{alone, code, connect, refusal};
use tokio::task::JoinSet;

#[tokio::test]
async fn roles_carry_permissions() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    let mut auth = client.auth_client();
    let mut added = client.role_add("reader").await.expect("add");
    assert!(added.header().is_some());
    assert!(added.take_header().is_some());
    auth.role_add("writer").await.expect("add");
    let (code, message) = refusal(auth.role_add("writer").await);
    assert_eq!(
        (code, &*message),
        (
            code::FAILED_PRECONDITION,
            "etcdserver: role name already exists"
        )
    );
    let (_, message) = refusal(auth.role_add("").await);
    assert_eq!(message, "etcdserver: role name is empty");

    let wanted = [
        Permission::read("a"),
        Permission::write("b").with_range_end("c"),
        Permission::read_write("d/").with_prefix(),
        Permission::read("e").with_from_key(),
        Permission::new(PermissionType::Write, "f"),
    ];
    for permission in &wanted {
        let mut granted = client
            .role_grant_permission("reader", permission.clone())
            .await
            .expect("grant");
        assert!(granted.header().is_some());
        assert!(granted.take_header().is_some());
    }
    auth.role_grant_permission("writer", Permission::read_write("").with_all_keys())
        .await
        .expect("grant");
    let mut role = client.role_get("reader").await.expect("role");
    assert!(role.header().is_some());
    let mut found = role.permissions();
    found.sort_by(|x, y| x.key().cmp(y.key()));
    let bare = |all: &[Permission]| {
        all.iter()
            .map(|one| (one.get_type(), one.key().to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(bare(&found), bare(&wanted));
    assert_eq!(
        (
            found[1].key_str().expect("text"),
            found[1].range_end_str().expect("text")
        ),
        ("b", "c")
    );
    // SAFETY: both are ASCII, as the line above has shown.
    let text = unsafe {
        (
            found[1].key_str_unchecked(),
            found[1].range_end_str_unchecked(),
        )
    };
    // In 0.21.1 the second answers the key, too: a slip of the crate.
    assert!(text.0 == "b" && ["b", "c"].contains(&text.1));
    assert_eq!(found[2].range_end(), b"d0");
    assert!(found[3].is_from_key() && found[2].is_prefix());
    assert_eq!(found[0].get_type(), PermissionType::Read as i32);
    assert!(role.take_header().is_some());
    assert_eq!(
        auth.role_get("writer")
            .await
            .expect("role")
            .permissions()
            .len(),
        1
    );

    let mut revoked = client
        .role_revoke_permission("reader", "a", None)
        .await
        .expect("revoke");
    assert!(revoked.header().is_some());
    assert!(revoked.take_header().is_some());
    let range = RoleRevokePermissionOptions::new().with_range_end("c");
    auth.role_revoke_permission("reader", "b", Some(range))
        .await
        .expect("revoke");
    let prefix = RoleRevokePermissionOptions::new().with_prefix();
    auth.role_revoke_permission("reader", "d/", Some(prefix))
        .await
        .expect("revoke");
    let from = RoleRevokePermissionOptions::new().with_from_key();
    auth.role_revoke_permission("reader", "e", Some(from))
        .await
        .expect("revoke");
    let all = RoleRevokePermissionOptions::new().with_all_keys();
    auth.role_revoke_permission("writer", "", Some(all))
        .await
        .expect("revoke");
    let (_, message) = refusal(auth.role_revoke_permission("reader", "a", None).await);
    assert_eq!(message, "etcdserver: permission is not granted to the role");
    assert_eq!(
        client
            .role_get("reader")
            .await
            .expect("role")
            .permissions()
            .len(),
        1
    );

    let mut list = client.role_list().await.expect("list");
    let mut names = list.roles().to_vec();
    names.sort();
    assert_eq!(names, ["reader", "writer"]);
    assert!(list.header().is_some());
    assert!(list.take_header().is_some());
    let mut deleted = client.role_delete("reader").await.expect("delete");
    assert!(deleted.header().is_some());
    assert!(deleted.take_header().is_some());
    auth.role_delete("writer").await.expect("delete");
    assert_eq!(auth.role_list().await.expect("list").roles().len(), 0);
    let (_, message) = refusal(auth.role_get("writer").await);
    assert_eq!(message, "etcdserver: role name not found");
}

#[tokio::test]
async fn users_carry_roles() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    let mut auth = client.auth_client();
    let mut added = client.user_add("ann", "secret", None).await.expect("add");
    assert!(added.header().is_some());
    assert!(added.take_header().is_some());
    auth.user_add("bob", "", Some(UserAddOptions::new().with_no_pwd()))
        .await
        .expect("add");
    let (_, message) = refusal(auth.user_add("bob", "x", None).await);
    assert_eq!(message, "etcdserver: user name already exists");
    let (_, message) = refusal(auth.user_add("", "x", None).await);
    assert_eq!(message, "etcdserver: user name is empty");
    auth.role_add("reader").await.expect("add");
    let mut granted = client
        .user_grant_role("ann", "reader")
        .await
        .expect("grant");
    assert!(granted.header().is_some());
    assert!(granted.take_header().is_some());
    auth.user_grant_role("bob", "reader").await.expect("grant");
    let mut ann = client.user_get("ann").await.expect("user");
    assert_eq!(ann.roles(), ["reader"]);
    assert!(ann.header().is_some());
    assert!(ann.take_header().is_some());
    let mut revoked = client
        .user_revoke_role("ann", "reader")
        .await
        .expect("revoke");
    assert!(revoked.header().is_some());
    assert!(revoked.take_header().is_some());
    auth.user_revoke_role("bob", "reader")
        .await
        .expect("revoke");
    assert_eq!(auth.user_get("ann").await.expect("user").roles().len(), 0);
    let (_, message) = refusal(auth.user_revoke_role("ann", "reader").await);
    assert_eq!(message, "etcdserver: role is not granted to the user");
    let mut changed = client
        .user_change_password("ann", "new")
        .await
        .expect("change");
    assert!(changed.header().is_some());
    assert!(changed.take_header().is_some());
    auth.user_change_password("ann", "newer")
        .await
        .expect("change");
    let mut list = client.user_list().await.expect("list");
    assert_eq!(list.users(), ["ann", "bob"]);
    assert!(list.header().is_some());
    assert!(list.take_header().is_some());
    let mut deleted = client.user_delete("ann").await.expect("delete");
    assert!(deleted.header().is_some());
    assert!(deleted.take_header().is_some());
    auth.user_delete("bob").await.expect("delete");
    assert_eq!(auth.user_list().await.expect("list").users().len(), 0);
    let (_, message) = refusal(auth.user_get("ann").await);
    assert_eq!(message, "etcdserver: user name not found");
}

/// What a member knows of users may be old; what was given elsewhere before counts all the same.
#[tokio::test]
async fn rights_count_at_every_member_as_soon_as_they_are_given() {
    let target = alone(3).await;
    let mut plain = Vec::new();
    for member in 0..target.endpoints.len() {
        plain.push(target.at(member).await);
    }
    let mut first = plain[0].clone();
    for (user, role) in [("root", "root"), ("alice", "worker")] {
        first.user_add(user, "secret", None).await.expect("add");
        first.role_add(role).await.expect("add");
        first.user_grant_role(user, role).await.expect("grant");
    }
    first.auth_enable().await.expect("enable");
    let as_user = |user: &str, member: usize| {
        let options = ConnectOptions::new().with_user(user, "secret");
        let endpoint = target.endpoints[member].clone();
        async move { Client::connect([endpoint], Some(options)).await }
    };
    let mut root = as_user("root", 0).await.expect("root is let in");
    let mut alices = Vec::new();
    for member in 0..target.endpoints.len() {
        alices.push(as_user("alice", member).await.expect("alice is let in"));
    }
    for round in 0..60 {
        let key = format!("given/{round}");
        root.role_grant_permission("worker", Permission::read(key.clone()))
            .await
            .expect("grant");
        let mut asked = JoinSet::new();
        for mut alice in alices.iter().cloned() {
            let key = key.clone();
            asked.spawn(async move { alice.get(key, None).await.expect("she may read").count() });
        }
        asked.join_all().await;
    }
    root.auth_disable().await.expect("disable");
    let mut asked = JoinSet::new();
    for mut nobody in plain {
        asked.spawn(async move { nobody.get("given", None).await.expect("all may").count() });
    }
    asked.join_all().await;
}

#[tokio::test]
async fn auth_keeps_strangers_out_until_it_is_disabled() {
    let target = alone(1).await;
    let mut client = target.client.clone();
    let mut auth = client.auth_client();
    let (_, message) = refusal(auth.auth_enable().await);
    assert_eq!(message, "etcdserver: root user does not exist");
    let (_, message) = refusal(auth.authenticate("root".into(), "secret".into()).await);
    assert_eq!(message, "etcdserver: authentication is not enabled");
    client.user_add("root", "secret", None).await.expect("add");
    client.user_add("ann", "word", None).await.expect("add");
    client.role_add("root").await.expect("add");
    client.role_add("reader").await.expect("add");
    client
        .role_grant_permission("reader", Permission::read("a"))
        .await
        .expect("grant");
    client.user_grant_role("root", "root").await.expect("grant");
    client
        .user_grant_role("ann", "reader")
        .await
        .expect("grant");
    let mut enabled = client.auth_enable().await.expect("enable");
    assert!(enabled.header().is_some());
    assert!(enabled.take_header().is_some());

    let (code, message) = refusal(client.get("a", None).await);
    assert_eq!(
        (code, &*message),
        (code::INVALID_ARGUMENT, "etcdserver: user name is empty")
    );
    let wrong = ConnectOptions::new().with_user("root", "wrong");
    let (_, message) = refusal(
        Client::connect(&target.endpoints, Some(wrong))
            .await
            .map(drop),
    );
    assert_eq!(
        message,
        "etcdserver: authentication failed, invalid user ID or password"
    );
    let mut token = auth
        .authenticate("ann".into(), "word".into())
        .await
        .expect("a token");
    assert!(!token.token().is_empty());
    assert!(token.header().is_some());
    assert!(token.take_header().is_some());

    let options = ConnectOptions::new()
        .with_user("root", "secret")
        .with_auto_token_refresh(true);
    let mut root = Client::connect(&target.endpoints, Some(options))
        .await
        .expect("connect");
    root.put("a", "1", None).await.expect("root may write");
    root.refresh_token().await.expect("a new token");
    root.put("a", "2", None).await.expect("root may write");

    let mut ann = connect(&target.endpoints).await;
    ann.update_user(Some(("ann".into(), "word".into())))
        .await
        .expect("a token");
    assert_eq!(
        ann.get("a", None).await.expect("ann may read").kvs()[0].value(),
        b"2"
    );
    let denied = (
        code::PERMISSION_DENIED,
        "etcdserver: permission denied".to_owned(),
    );
    assert_eq!(refusal(ann.put("a", "3", None).await), denied);
    assert_eq!(refusal(ann.get("b", None).await), denied);
    assert_eq!(refusal(ann.user_list().await), denied);
    ann.update_user(None).await.expect("nobody again");
    assert_eq!(
        refusal(ann.get("a", None).await).1,
        "etcdserver: user name is empty"
    );

    let mut disabled = root.auth_disable().await.expect("disable");
    assert!(disabled.header().is_some());
    assert!(disabled.take_header().is_some());
    client.get("a", None).await.expect("open to all again");
    auth.auth_enable().await.expect("enable");
    root.refresh_token().await.expect("a new token");
    root.auth_client().auth_disable().await.expect("disable");
    for user in ["root", "ann"] {
        client.user_delete(user).await.expect("delete");
    }
    for role in ["root", "reader"] {
        client.role_delete(role).await.expect("delete");
    }
}
