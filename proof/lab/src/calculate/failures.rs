//! What each size of a cluster tolerates. An even size gains nothing.

use super::Answer;
use base::quorum;
use clap::Args;
use serde_json::json;
use std::fmt::Write as _;

/// Sizes that are shown at most.
pub const SIZE_MAX: u32 = 99;

/// Compute how many members of each size of cluster may fail.
#[derive(Args, Debug)]
#[command(before_help = "\
Examples:
  quorate lab calc failures                  sizes 1 to 9
  quorate lab calc failures --largest 15     up to 15")]
pub struct Arguments {
    /// The largest size.
    #[arg(long, value_name = "N", default_value_t = 9)]
    largest: u32,
}

/// One size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Members.
    pub members: u32,
    /// What they need to go on.
    pub majority: u32,
    /// How many may crash.
    pub crashes: u32,
    /// How many could lie, if the members did not believe each other. Quorate's do: 0 for Quorate.
    pub lies: u32,
}

/// What this size tolerates.
pub fn of(members: u32) -> Size {
    let majority = quorum::majority(members);
    Size {
        members,
        majority,
        crashes: members.saturating_sub(majority),
        lies: members.saturating_sub(1) / 3,
    }
}

impl Arguments {
    pub(super) fn answer(&self) -> Result<Answer, String> {
        if !(1..=SIZE_MAX).contains(&self.largest) {
            let largest = self.largest;
            return Err(format!(
                "the largest size is {largest}: it is 1 to {SIZE_MAX}"
            ));
        }
        let mut text =
            String::from("members  majority  may crash  of each write, slow members waited for\n");
        let mut sizes = Vec::new();
        for members in 1..=self.largest {
            let it = of(members);
            let remark = match quorum::is_wasteful(members) {
                true => format!(", gains nothing over {}", members - 1),
                false => String::new(),
            };
            let _ = writeln!(
                text,
                "{members:<9}{:<10}{:<11}the fastest {} of {members}{remark}",
                it.majority, it.crashes, it.majority
            );
            sizes.push(json!({
                "members": it.members,
                "majority": it.majority,
                "crashes": it.crashes,
                "lies": it.lies,
                "gainsNothing": quorum::is_wasteful(members),
            }));
        }
        text += "\nf crashes need 2f + 1 members. f lies would need 3f + 1 and another protocol: Quorate is for crashes only.\n";
        Ok(Answer {
            text,
            json: json!({ "sizes": sizes }),
        })
    }
}
