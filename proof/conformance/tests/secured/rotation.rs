//! Everything that is believed and shown is replaced, step by step, while clients write.

use crate::rig::{Rig, issue};
use client::Tls;
use pki::Authority;
use quorate_conformance::PATIENCE;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "current_thread")]
async fn certificates_and_authorities_are_replaced_under_load() {
    let mut rig = Rig::start(3);
    rig.served(&rig.tls()).await;
    tokio::task::LocalSet::new()
        .run_until(rotate(&mut rig))
        .await;
}

/// How many writes were acknowledged; each must be.
#[derive(Default)]
struct Load {
    steady: Cell<u64>,
    fresh: Cell<u64>,
    is_over: Cell<bool>,
}

async fn rotate(rig: &mut Rig) {
    let load = Rc::new(Load::default());
    let steady = {
        let (load, client) = (load.clone(), rig.client(rig.tls(), None));
        tokio::task::spawn_local(async move {
            while !load.is_over.get() {
                let written = client.put("/steady", load.steady.get().to_string()).await;
                written.expect("a connection that stands is not touched");
                load.steady.set(load.steady.get() + 1);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let kept = client.get("/steady").await.unwrap().kv.unwrap();
            assert_eq!(kept.value, (load.steady.get() - 1).to_string().as_bytes());
        })
    };
    let fresh = {
        let (load, endpoints, tls) = (load.clone(), rig.cluster.endpoints(), rig.tls());
        tokio::task::spawn_local(async move {
            while !load.is_over.get() {
                // A new handshake each time, with the files as they are.
                let client = client::Client::builder()
                    .endpoints(endpoints.clone())
                    .tls(tls.clone());
                let client = client.connect_lazily().expect("files are whole");
                let written = client.put("/fresh", load.fresh.get().to_string()).await;
                written.expect("a new connection uses what is in force");
                load.fresh.set(load.fresh.get() + 1);
            }
        })
    };
    let more = async |load: &Load| {
        let (steady, fresh) = (load.steady.get(), load.fresh.get());
        let began = Instant::now();
        while load.steady.get() < steady + 50 || load.fresh.get() < fresh + 20 {
            let (now, new) = (load.steady.get(), load.fresh.get());
            assert!(
                began.elapsed() < 3 * PATIENCE,
                "writes stand still at {now} and {new}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    more(&load).await;

    // New certificates of the same authority.
    issue(&mut rig.ca, rig.folder.path());
    more(&load).await;

    // Two authorities are believed for a while.
    let old = rig.ca.pem();
    let mut new = Authority::new("new-ca").unwrap();
    let ca_file = rig.folder.path().join("ca.crt");
    let old_client = keep_client(rig);
    pki::replace(&ca_file, &format!("{old}{}", new.pem())).unwrap();
    // A member that believes the new one serves its clients: a certificate of its own, for this question.
    let asks = rig.folder.path().join("asks");
    std::fs::create_dir_all(&asks).unwrap();
    issue(&mut new, &asks);
    let by_new = |ca: std::path::PathBuf| {
        Tls::new()
            .cacert(ca)
            .identity(asks.join("client.crt"), asks.join("client.key"))
    };
    rig.served(&by_new(ca_file.clone())).await;
    more(&load).await;

    // Certificates of the new one.
    issue(&mut new, rig.folder.path());
    let only_new = rig.folder.path().join("new-ca.crt");
    std::fs::write(&only_new, new.pem()).unwrap();
    rig.served(&by_new(only_new)).await;
    more(&load).await;

    // The old one is believed no more, by clients and members.
    pki::replace(&ca_file, &new.pem()).unwrap();
    let began = Instant::now();
    for member in 0..3 {
        while rig
            .client(old_client.clone(), Some(member))
            .get("/x")
            .await
            .is_ok()
        {
            assert!(
                began.elapsed() < PATIENCE,
                "the old authority is believed still"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    more(&load).await;

    // Members that have lost each other find each other by what is in force now.
    rig.cluster.members[1].kill();
    more(&load).await;
    rig.cluster.members[1].start().unwrap();
    rig.served(&rig.tls()).await;
    more(&load).await;
    load.is_over.set(true);
    steady.await.unwrap();
    fresh.await.unwrap();
    println!(
        "rotation: {} writes over a connection that stood, {} over new ones, none failed",
        load.steady.get(),
        load.fresh.get()
    );
}

/// A client that believes whoever the members are, and shows what the old authority has signed.
fn keep_client(rig: &Rig) -> Tls {
    let folder = rig.folder.path();
    for file in ["client.crt", "client.key"] {
        std::fs::copy(folder.join(file), folder.join(format!("old-{file}"))).unwrap();
    }
    Tls::new()
        .identity(folder.join("old-client.crt"), folder.join("old-client.key"))
        .insecure_skip_verify()
}
