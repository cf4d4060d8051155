#![doc = include_str!("story.md")]

mod exhibit;

use crate::exhibit::{Break, Broken};
use crate::kernel::{Context, Process, ProcessId};

/// A chat with causal broadcast.
pub struct CausalChat;

/// Without it an answer may be shown before its question.
const WAIT_FOR_CAUSES: Break = Break {
    rule: "wait-for-causes",
    law: "causes-first",
    says: "a participant shows what arrives when it arrives",
};
/// Without it only the order of each author is kept.
const CARRY_WHAT_WAS_SEEN: Break = Break {
    rule: "carry-what-was-seen",
    law: "causes-first",
    says: "a post counts the earlier posts of its author only, not those that the author was shown",
};
/// Without it a post that arrives twice is read twice.
const SHOW_ONCE: Break = Break {
    rule: "show-once",
    law: "shown-once",
    says: "a participant shows a post again when it arrives again",
};
/// Without it what was kept back is never looked at again.
const LOOK_AGAIN: Break = Break {
    rule: "look-again",
    law: "all-is-shown",
    says: "a participant forgets what it cannot show when it arrives",
};

/// One post: whose, the how manieth of this author, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PostId {
    author: ProcessId,
    number: u8,
}

/// A post on its way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Post {
    id: PostId,
    /// How many posts of each participant the author had been shown; its own with this one.
    vector: Vec<u8>,
}

/// What participants see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fact {
    /// Its author wrote it.
    Written(PostId),
    /// It was shown to this participant.
    Shown(ProcessId, PostId),
}

/// Somebody who reads and writes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Party {
    broken: Broken,
    others: Vec<ProcessId>,
    posts_left: u8,
    /// How many posts of each participant it has been shown, or has written.
    vector: Vec<u8>,
    /// What waits for its causes.
    kept: Vec<Post>,
}

impl Process for Party {
    type Message = Post;
    type Timer = &'static str;
    type Fact = Fact;

    fn start(&mut self, cx: &mut Context<'_, Self>) {
        if self.posts_left > 0 {
            cx.anytime("write");
        }
    }

    fn wake(&mut self, _: &'static str, cx: &mut Context<'_, Self>) {
        self.posts_left -= 1;
        self.start(cx);
        let author = cx.me();
        self.vector[author.0] += 1;
        let number = self.vector[author.0];
        let mut vector = self.vector.clone();
        if self.broken.is(&CARRY_WHAT_WAS_SEEN) {
            vector.fill(0);
            vector[author.0] = number;
        }
        let id = PostId { author, number };
        cx.fact(Fact::Written(id));
        cx.send_all(self.others.iter().copied(), &Post { id, vector });
    }

    fn receive(&mut self, _: ProcessId, post: Post, cx: &mut Context<'_, Self>) {
        let is_old = post.id.number <= self.vector[post.id.author.0] || self.kept.contains(&post);
        if is_old && !self.broken.is(&SHOW_ONCE) {
            return;
        }
        if self.may_show(&post) || is_old {
            self.show(&post, cx);
        } else if !self.broken.is(&LOOK_AGAIN) {
            cx.say(format_args!("waits for its causes"));
            self.kept.push(post);
            // In whatever order they came, what is kept is the same.
            self.kept.sort();
        }
        while let Some(at) = self.kept.iter().position(|post| self.may_show(post)) {
            let post = self.kept.remove(at);
            self.show(&post, cx);
        }
    }
}

impl Party {
    /// The next one of its author, and nothing that the author had seen is missing here.
    fn may_show(&self, post: &Post) -> bool {
        let is_next_or_seen = |(of, (mine, its)): (usize, (&u8, &u8))| {
            if of == post.id.author.0 {
                *its == *mine + 1
            } else {
                its <= mine
            }
        };
        let entries = self.vector.iter().zip(&post.vector);
        self.broken.is(&WAIT_FOR_CAUSES) || entries.enumerate().all(is_next_or_seen)
    }

    fn show(&mut self, post: &Post, cx: &mut Context<'_, Self>) {
        let shown = &mut self.vector[post.id.author.0];
        *shown = post.id.number.max(*shown);
        cx.fact(Fact::Shown(cx.me(), post.id));
    }
}
