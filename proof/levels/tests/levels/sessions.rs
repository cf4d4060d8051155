//! The four session guarantees, across members and across doors: broken without a token, kept with it.
//!
//! The register that is missed is read through one door, and the token comes from an answer of the other, or of the
//! same: all four ways. The reader moves to a follower that is cut off. In every state of every member monotonic writes
//! and writes-follow-reads hold, since a state is a prefix of one log; to see them broken an onlooker must move, too.

use checker::levels;
use checker::levels::session::{self, Guarantee};
use quorate_levels::{Client, Door, History, World};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One guarantee, put to the test.
struct Scene {
    guarantee: Guarantee,
    /// Through which door the token comes, and through which the register is read.
    from: Door,
    to: Door,
    /// The register in question.
    key: String,
    /// Another one, of the door `from`.
    other: String,
}

static PROCESS: AtomicU64 = AtomicU64::new(1);

fn process(history: &History) -> Client {
    Client::new(history, PROCESS.fetch_add(1, Ordering::Relaxed))
}

impl Scene {
    fn all() -> Vec<Scene> {
        let mut all = Vec::new();
        for guarantee in Guarantee::ALL {
            for from in Door::ALL {
                for to in Door::ALL {
                    let name = format!("{guarantee:?}/{from:?}/{to:?}");
                    all.push(Scene {
                        guarantee,
                        from,
                        to,
                        key: format!("{name}/x"),
                        other: format!("{name}/y"),
                    });
                }
            }
        }
        all
    }

    /// Writes `value`, and gives the process that must not miss it, with its token from the door `from`.
    async fn play(&self, world: &World, at: usize, history: &History, value: &str) -> Client {
        let Scene {
            from,
            to,
            key,
            other,
            ..
        } = self;
        let expect = "two of three are well";
        let mut writer = process(history);
        match self.guarantee {
            Guarantee::ReadYourWrites => {
                writer.put(world, at, *to, key, value).await.expect(expect);
                writer
                    .put(world, at, *from, other, value)
                    .await
                    .expect(expect);
                writer
            }
            Guarantee::MonotonicReads => {
                writer.put(world, at, *to, key, value).await.expect(expect);
                let mut reader = process(history);
                let seen = reader.get(world, at, *to, key, "linearizable").await;
                assert_eq!(seen.expect(expect).value.as_deref(), Some(value));
                let seen = reader.get(world, at, *from, other, "linearizable").await;
                seen.expect(expect);
                reader
            }
            Guarantee::MonotonicWrites => {
                writer.put(world, at, *to, key, value).await.expect(expect);
                writer
                    .put(world, at, *from, other, value)
                    .await
                    .expect(expect);
                self.onlooker(world, at, history, value).await
            }
            Guarantee::WritesFollowReads => {
                writer.put(world, at, *to, key, value).await.expect(expect);
                let mut follower = process(history);
                let seen = follower.get(world, at, *to, key, "linearizable").await;
                assert_eq!(seen.expect(expect).value.as_deref(), Some(value));
                let written = follower.put(world, at, *from, other, value).await;
                written.expect(expect);
                self.onlooker(world, at, history, value).await
            }
        }
    }

    /// Somebody who has read the later write, and has its own token only.
    async fn onlooker(&self, world: &World, at: usize, history: &History, value: &str) -> Client {
        let mut onlooker = process(history);
        let other = &self.other;
        let seen = onlooker.get(world, at, self.from, other, "linearizable");
        let seen = seen.await.expect("two of three are well");
        assert_eq!(seen.value.as_deref(), Some(value));
        onlooker
    }

    fn name(&self) -> String {
        format!("{:?}, {:?} to {:?}", self.guarantee, self.from, self.to)
    }
}

#[tokio::test]
async fn each_guarantee_is_broken_without_a_token_and_kept_with_it() {
    let world = World::start(&[]).await;
    let (behind, leader) = world.follower_and_leader().await;
    let scenes = Scene::all();
    // What each register was before, the follower has, too.
    let before = History::default();
    for scene in &scenes {
        let mut writer = Client::new(&before, 0);
        let old = writer
            .put(&world, leader, scene.to, &scene.key, "old")
            .await;
        old.expect("a healthy cluster");
        let had = writer.get(&world, behind, scene.to, &scene.key, "linearizable");
        assert_eq!(had.await.expect("read").value.as_deref(), Some("old"));
    }
    world.cut(behind).await;

    let mut moved = Vec::new();
    for scene in scenes {
        // Each with its own past: two histories that differ in the token alone.
        let [without, with] = [(); 2].map(|()| History::starting_with(&before));
        let mut client = scene.play(&world, leader, &without, "new").await;
        let seen = client.get(&world, behind, scene.to, &scene.key, "sequential");
        let seen = seen.await.expect("nobody is asked");
        assert_eq!(seen.value.as_deref(), Some("old"), "{}", scene.name());
        let verdict = session::check(&without.accesses(), scene.guarantee);
        let violation = verdict.expect_err(&scene.name());
        assert_eq!(violation.claim, scene.guarantee.claim());

        let client = scene.play(&world, leader, &with, "newer").await;
        moved.push((scene, client, with));
    }

    // With the token: it waits, and says how far it is. All at once, since each takes its time.
    let world = Arc::new(world);
    let mut waiting = Vec::new();
    for (scene, mut client, history) in moved {
        let world = world.clone();
        waiting.push(tokio::spawn(async move {
            let read = client.get_in_session(&world, behind, scene.to, &scene.key);
            let read = read.await;
            (scene, client, history, read)
        }));
    }
    let mut refused = Vec::new();
    for task in waiting {
        let (scene, client, history, read) = task.await.expect("no panic");
        let why = read.expect_err(&scene.name());
        assert_eq!(why.code, "Q3103", "{}", scene.name());
        assert!(why.message.contains("this member is at"), "{}", why.message);
        refused.push((scene, client, history));
    }

    world.heal(behind);
    world.serves(behind).await;
    for (scene, client, history) in &mut refused {
        let seen = client.get_in_session(&world, behind, scene.to, &scene.key);
        let seen = seen.await.expect("healed");
        assert_eq!(seen.value.as_deref(), Some("newer"), "{}", scene.name());
        assert_eq!((&*seen.level, &*seen.how), ("session", "local"));
        let history = history.accesses();
        for guarantee in Guarantee::ALL {
            let verdict = session::check(&history, guarantee);
            assert!(
                verdict.is_ok(),
                "{}: {}",
                scene.name(),
                verdict.unwrap_err()
            );
        }
        let verdict = levels::check(&history);
        assert!(
            verdict.is_ok(),
            "{}: {}",
            scene.name(),
            verdict.unwrap_err()
        );
    }
}
