//! Who goes when too many shake hands.

use super::*;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

/// Long enough for any machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// A handshake that never ends.
fn begins(under_way: &mut UnderWay, age: u64) -> JoinHandle<()> {
    let task = spawn_local(std::future::pending());
    under_way.begins(age, task.abort_handle());
    task
}

async fn was_closed(task: JoinHandle<()>) -> bool {
    task.await.is_err_and(|error| error.is_cancelled())
}

/// Half a ClientHello each from a thousand attackers would otherwise push out everybody who has just come.
#[tokio::test(start_paused = true)]
async fn a_newcomer_that_had_no_time_to_speak_is_not_silent() {
    let check = async {
        let mut under_way = UnderWay::default();
        let first = begins(&mut under_way, 0);
        let _others = [1, 2].map(|age| begins(&mut under_way, age));
        (0..3).for_each(|age| under_way.speaks(age));
        let newcomer = begins(&mut under_way, 3);
        under_way.close_oldest();
        assert!(was_closed(first).await);
        assert!(!newcomer.is_finished());
        // It had its time.
        tokio::time::advance(GRACE).await;
        under_way.close_oldest();
        assert!(was_closed(newcomer).await);
        assert_eq!((under_way.silent.len(), under_way.talking.len()), (0, 2));
    };
    LocalSet::new().run_until(check).await;
}

/// However many come at once, whoever speaks is not pushed out by those who came before and do not.
#[tokio::test(start_paused = true)]
async fn who_talks_is_younger_than_a_crowd_of_newcomers_and_stays() {
    let check = async {
        let mut under_way = UnderWay::default();
        let silent = begins(&mut under_way, 0);
        let honest = begins(&mut under_way, 1);
        under_way.speaks(1);
        under_way.close_oldest();
        assert!(was_closed(silent).await && !honest.is_finished());
    };
    LocalSet::new().run_until(check).await;
}

/// The event loop calls every accepted connection ready, and a state of TLS is not made for a guess.
#[tokio::test]
async fn a_connection_that_says_nothing_is_not_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let raw = Raw::Tcp(accepted);
    let heard = raw.heard();
    tokio::pin!(heard);
    for _ in 0..100 {
        let is_heard = is_ready_now(heard.as_mut()).await;
        assert!(!is_heard, "nobody has said anything");
        tokio::task::yield_now().await;
    }
    client.writable().await.unwrap();
    assert_eq!(client.try_write(b"x").unwrap(), 1);
    tokio::time::timeout(PATIENCE, heard)
        .await
        .expect("in time")
        .unwrap();
}

/// Whether a future is ready when it is asked once.
async fn is_ready_now<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}
