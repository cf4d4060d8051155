//! Watches that run while the rules change, over a socket. etcd asks only when a watch begins, and lets it go on; ours asks
//! again, and ends what may no longer be read before it is told anything further. What goes on in ours goes on in etcd.

use etcd_client::{Client, ConnectOptions, Permission, WatchOptions, WatchResponse, WatchStream};
use quorate_conformance::{PATIENCE, Target, alone, connect, is_ours};
use tokio::time::timeout;

const DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

/// A member on which ann may read what begins with `a/`, by the role `reader`, and `b/`, by the role `other`.
struct Scene {
    target: Target,
    root: Client,
    n_puts: u32,
}

impl Scene {
    async fn new() -> Scene {
        let target = alone(1).await;
        let mut client = target.client.clone();
        for name in ["root", "ann"] {
            client.user_add(name, "word", None).await.expect("a user");
        }
        for (role, prefix) in [("reader", "a/"), ("other", "b/")] {
            client.role_add(role).await.expect("a role");
            let permission = Permission::read(prefix).with_prefix();
            let granted = client.role_grant_permission(role, permission).await;
            granted.expect("a permission");
            client.user_grant_role("ann", role).await.expect("a grant");
        }
        client.user_grant_role("root", "root").await.expect("grant");
        Scene {
            root: target.client.clone(),
            target,
            n_puts: 0,
        }
    }

    async fn enable(&mut self) {
        self.root.auth_enable().await.expect("enable");
        self.root = self.user("root").await;
    }

    async fn user(&self, name: &str) -> Client {
        let options = ConnectOptions::new().with_user(name, "word");
        let client = Client::connect(&self.target.endpoints, Some(options)).await;
        client.expect("a user is let in")
    }

    /// root puts a key; its value.
    async fn put(&mut self, key: &str) -> String {
        self.n_puts += 1;
        let value = format!("value {}", self.n_puts);
        let put = self.root.put(key, &*value, None).await;
        put.expect("root may put");
        value
    }

    /// The next event of `stream` is this put.
    async fn tells(&mut self, stream: &mut WatchStream, key: &str) {
        let value = self.put(key).await;
        let told = next(stream).await;
        assert!(!told.canceled(), "{}", told.cancel_reason());
        let kv = told.events()[0].kv().expect("a row").clone();
        assert_eq!(
            (kv.key_str().unwrap(), kv.value_str().unwrap()),
            (key, &*value)
        );
    }

    /// Puts once more. Ours says that the watch has ended, and why, and nothing of the put; the real etcd tells it.
    async fn ends(&mut self, stream: &mut WatchStream, key: &str, reason: &str) {
        let value = self.put(key).await;
        let told = next(stream).await;
        if !is_ours() {
            let kv = told.events()[0].kv().expect("a row");
            assert_eq!(kv.value_str().unwrap(), value);
            return;
        }
        assert!(told.canceled() && told.events().is_empty(), "{told:?}");
        assert_eq!(told.cancel_reason(), reason);
    }
}

async fn next(stream: &mut WatchStream) -> WatchResponse {
    let told = timeout(PATIENCE, stream.message()).await;
    let told = told.expect("a response in time").expect("no error");
    told.expect("the stream goes on")
}

/// A watch of everything that begins with `prefix`, which was created.
async fn watch(client: &mut Client, prefix: &str) -> WatchStream {
    let options = WatchOptions::new().with_prefix();
    let stream = client.watch(prefix, Some(options)).await;
    let mut stream = stream.expect("a stream");
    let created = next(&mut stream).await;
    assert!(created.created() && !created.canceled());
    stream
}

/// A scene with authentication, and ann's watch of `a/` that has told one event.
async fn watched() -> (Scene, WatchStream) {
    let mut scene = Scene::new().await;
    scene.enable().await;
    let mut stream = watch(&mut scene.user("ann").await, "a/").await;
    scene.tells(&mut stream, "a/1").await;
    (scene, stream)
}

#[tokio::test]
async fn a_watch_ends_when_its_permission_is_revoked_and_others_of_its_stream_go_on() {
    let (mut scene, mut stream) = watched().await;
    // A second watch on the same stream, by the other role.
    let options = WatchOptions::new().with_prefix();
    stream.watch("b/", Some(options)).await.expect("a watch");
    assert!(next(&mut stream).await.created());
    let options = etcd_client::RoleRevokePermissionOptions::new().with_prefix();
    let revoked = scene
        .root
        .role_revoke_permission("reader", "a/", Some(options));
    revoked.await.expect("revoke");
    scene.ends(&mut stream, "a/1", DENIED).await;
    scene.tells(&mut stream, "b/1").await;
    // Nothing of it comes later either, and it cannot be begun again.
    if is_ours() {
        scene.put("a/2").await;
    }
    scene.tells(&mut stream, "b/2").await;
    let mut ann = scene.user("ann").await;
    let again = ann
        .watch("a/", Some(WatchOptions::new().with_prefix()))
        .await;
    let refused = next(&mut again.expect("a stream")).await;
    assert!(
        refused.canceled() && refused.cancel_reason() == DENIED,
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_watch_ends_when_its_role_is_deleted() {
    let (mut scene, mut stream) = watched().await;
    scene.root.role_delete("reader").await.expect("delete");
    scene.ends(&mut stream, "a/1", DENIED).await;
}

#[tokio::test]
async fn a_watch_ends_when_its_role_is_taken_from_its_user() {
    let (mut scene, mut stream) = watched().await;
    let taken = scene.root.user_revoke_role("ann", "reader").await;
    taken.expect("revoke");
    scene.ends(&mut stream, "a/1", DENIED).await;
}

#[tokio::test]
async fn a_watch_ends_when_its_user_is_deleted_and_does_not_come_back_with_the_name() {
    let (mut scene, mut stream) = watched().await;
    scene.root.user_delete("ann").await.expect("delete");
    scene.ends(&mut stream, "a/1", DENIED).await;
    scene.root.user_add("ann", "word", None).await.expect("add");
    scene
        .root
        .user_grant_role("ann", "reader")
        .await
        .expect("grant");
    let mut again = watch(&mut scene.user("ann").await, "a/").await;
    scene.tells(&mut again, "a/2").await;
    if is_ours() {
        // The old one stays silent: what its stream tells next answers a new request, and is no event.
        scene.put("a/3").await;
        let options = WatchOptions::new().with_prefix();
        stream.watch("c/", Some(options)).await.expect("asked");
        let told = next(&mut stream).await;
        assert!(told.created() && told.events().is_empty(), "{told:?}");
    }
}

/// The password is for whoever comes anew. Whoever must go is deleted, or loses a role.
#[tokio::test]
async fn a_watch_goes_on_when_its_users_password_changes_or_other_rules_do() {
    let (mut scene, mut stream) = watched().await;
    let changed = scene.root.user_change_password("ann", "another").await;
    changed.expect("change");
    scene.tells(&mut stream, "a/2").await;
    let options = etcd_client::RoleRevokePermissionOptions::new().with_prefix();
    let revoked = scene
        .root
        .role_revoke_permission("other", "b/", Some(options));
    revoked.await.expect("revoke");
    scene.tells(&mut stream, "a/3").await;
    // A permission that two roles give is still there when one of them is gone.
    scene.root.role_add("second").await.expect("a role");
    let permission = Permission::read("a/").with_prefix();
    let granted = scene.root.role_grant_permission("second", permission).await;
    granted.expect("a permission");
    scene
        .root
        .user_grant_role("ann", "second")
        .await
        .expect("grant");
    scene.root.role_delete("reader").await.expect("delete");
    scene.tells(&mut stream, "a/4").await;
    scene.root.auth_disable().await.expect("disable");
    scene.root = connect(&scene.target.endpoints).await;
    scene.tells(&mut stream, "a/5").await;
}

#[tokio::test]
async fn a_watch_that_nobody_answers_for_ends_when_authentication_is_enabled() {
    let mut scene = Scene::new().await;
    let mut nobodys = watch(&mut scene.target.client.clone(), "a/").await;
    scene.tells(&mut nobodys, "a/1").await;
    scene.enable().await;
    let reason = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";
    scene.ends(&mut nobodys, "a/1", reason).await;
}
