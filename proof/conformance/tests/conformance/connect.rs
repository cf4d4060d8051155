//! Client and ConnectOptions: how a client comes to its members, and what it asks of every request.

use etcd_client::{BalancedChannelBuilder, Channel, Client, ConnectOptions, Error, GetOptions};
use quorate_conformance::{alone, refusal, shared};
use std::time::{Duration, Instant};

#[tokio::test]
async fn connect_takes_urls_with_and_without_a_scheme() {
    let target = shared().await;
    let mut client = Client::connect(&target.endpoints, None)
        .await
        .expect("connect");
    client.put("connect/a", "1", None).await.expect("put");
    let bare: Vec<&str> = target
        .endpoints
        .iter()
        .map(|url| url.trim_start_matches("http://"))
        .collect();
    let mut client = Client::connect(bare, None).await.expect("connect");
    assert_eq!(client.get("connect/a", None).await.expect("get").count(), 1);
    let nobody: [&str; 0] = [];
    assert!(matches!(
        Client::connect(nobody, None).await,
        Err(Error::InvalidArgs(_))
    ));
}

/// A channel as a program would make it for itself.
struct Own;

impl BalancedChannelBuilder for Own {
    type Error = tonic::transport::Error;

    fn balanced_channel(
        self,
        buffer: usize,
    ) -> Result<(Channel, etcd_client_updater::EndpointUpdater), Self::Error> {
        let (channel, updater) = tonic::transport::Channel::balance_channel(buffer);
        Ok((Channel::Tonic(channel), updater))
    }
}

/// The crate does not name this type in public; this is what it is.
pub(super) mod etcd_client_updater {
    use tonic::transport::{Endpoint, Uri, channel::Change};
    pub(in super::super) type EndpointUpdater = tokio::sync::mpsc::Sender<Change<Uri, Endpoint>>;
}

#[tokio::test]
async fn connect_takes_a_channel_of_the_callers() {
    let target = shared().await;
    let connected = Client::connect_with_balanced_channel(&target.endpoints, None, Own).await;
    let mut client = connected.expect("connect");
    client.get("connect/a", None).await.expect("get");
}

#[tokio::test]
async fn endpoints_come_and_go() {
    let target = shared().await;
    let mut client = Client::connect([&target.endpoints[0]], None)
        .await
        .expect("connect");
    for endpoint in &target.endpoints[1..] {
        client.add_endpoint(endpoint).await.expect("added");
    }
    client
        .remove_endpoint(&target.endpoints[0])
        .await
        .expect("removed");
    for _ in 0..20 {
        client.put("endpoints/a", "1", None).await.expect("put");
    }
}

#[tokio::test]
async fn requests_carry_the_options_of_the_connection() {
    let target = shared().await;
    let options = ConnectOptions::new()
        .with_timeout(Duration::from_secs(20))
        .with_connect_timeout(Duration::from_secs(5))
        .with_tcp_keepalive(Duration::from_secs(60))
        .with_keep_alive(Duration::from_secs(5), Duration::from_secs(5))
        .with_keep_alive_while_idle(false)
        .with_require_leader(true);
    let mut client = Client::connect(&target.endpoints, Some(options))
        .await
        .expect("connect");
    client.put("options/a", "1", None).await.expect("put");
    let mut watch = client.watch("options/a", None).await.expect("watch");
    assert!(
        watch
            .message()
            .await
            .expect("no error")
            .expect("an answer")
            .created()
    );
}

#[tokio::test]
async fn a_timeout_ends_a_request() {
    // A port that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let options = ConnectOptions::new().with_timeout(Duration::from_millis(200));
    let mut client = Client::connect([url], Some(options))
        .await
        .expect("connect");
    let began = Instant::now();
    assert!(client.get("a", None).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_member_without_a_leader_says_so_to_those_who_ask() {
    let mut target = alone(3).await;
    let Some(cluster) = &mut target.own else {
        return;
    };
    cluster.members[1].kill();
    cluster.members[2].kill();
    let options = ConnectOptions::new()
        .with_require_leader(true)
        .with_timeout(Duration::from_secs(20));
    let alone = [target.endpoints[0].clone()];
    let client = Client::connect(&alone, Some(options))
        .await
        .expect("connect");
    let local = GetOptions::new().with_serializable();
    let until = Instant::now() + quorate_conformance::PATIENCE;
    loop {
        match client.clone().get("a", Some(local.clone())).await {
            // The old leader, or a follower that has not missed it yet.
            Ok(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(20)).await,
            other => {
                let (code, message) = refusal(other);
                assert_eq!((code, &*message), (14, "etcdserver: no leader"));
                break;
            }
        }
    }
    // Without that wish, a serializable get is answered.
    let mut plain = Client::connect(&alone, None).await.expect("connect");
    plain.get("a", Some(local)).await.expect("get");
}

#[tokio::test]
async fn every_part_of_a_client_can_be_taken_out() {
    let client = shared().await.client;
    client
        .kv_client()
        .put("parts/a", "1", None)
        .await
        .expect("put");
    client
        .watch_client()
        .watch("parts/a", None)
        .await
        .expect("watch");
    client.lease_client().leases().await.expect("leases");
    client.maintenance_client().status().await.expect("status");
    client.cluster_client().member_list().await.expect("list");
    // What these answer is a matter for their own tests.
    let _ = (
        client.auth_client(),
        client.lock_client(),
        client.election_client(),
    );
}
