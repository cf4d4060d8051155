//! `node::system::SystemCommand`: commands that a follower forwards, of no protocol.

use super::{Target, Verdict};
use crate::{heap, mutate};
use base::{Index, LeaseId, MemberId};
use clock::HybridTime;
use node::system::{MemberChange, SystemCommand, SystemRefusal};

/// See the module.
pub const TARGET: Target = Target {
    name: "system_command",
    run,
    corpus,
    mutate: mutate::bytes,
    one_in: 1,
};

/// Decodes; what was accepted comes back as it went, and would be taken from a client too.
pub fn run(input: &[u8]) -> Verdict {
    let decoded = heap::bounded(16 * input.len() + 4096, "a command", || {
        SystemCommand::decode(input)
    });
    let Some(command) = decoded else {
        return Verdict::Refused;
    };
    if let SystemCommand::Member(change) = &command {
        assert!(change.fits(), "{change:?} is larger than what is encoded");
    }
    let again = SystemCommand::decode(&command.encode());
    assert_eq!(again.as_ref(), Some(&command), "it comes back as it went");
    Verdict::Accepted
}

fn corpus() -> Vec<Vec<u8>> {
    let member = MemberId(0x8e9e_05c5_2164_694d);
    let urls = vec![
        "http://10.0.0.1:2380".to_owned(),
        "http://[::1]:1".to_owned(),
    ];
    let add = |is_learner, peer_urls| MemberChange::Add {
        member,
        peer_urls,
        is_learner,
    };
    let changes = [
        add(false, urls.clone()),
        add(true, vec!["unix://a:1".to_owned(); 16]),
        MemberChange::Promote { member },
        MemberChange::Remove { member },
        MemberChange::Update {
            member,
            peer_urls: urls.clone(),
        },
        MemberChange::Publish {
            member,
            name: "größer".to_owned(),
            client_urls: urls,
        },
    ];
    let mut commands = changes.map(SystemCommand::Member).to_vec();
    commands.extend([
        SystemCommand::Expire((1..9).map(|n| (LeaseId(n), HybridTime(9))).collect()),
        SystemCommand::Digest {
            index: Index(5),
            digest: 6,
        },
        SystemCommand::Refuse(SystemRefusal::LearnerNotReady),
    ]);
    commands.iter().map(|c| c.encode().to_vec()).collect()
}
