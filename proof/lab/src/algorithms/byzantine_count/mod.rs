#![doc = include_str!("story.md")]

mod exhibit;

pub use exhibit::{ByzantineCount, every_rule_of_three};

use crate::exhibit::{Break, Broken};

/// Without it one general too few are asked to stand a traitor.
const ONE_MORE: Break = Break {
    rule: "one-more",
    law: "obedience",
    says: "3 generals for one traitor, where 3f + 1 = 4 are needed",
};
/// Without it nobody asks the others what they were told.
const RELAY: Break = Break {
    rule: "relay",
    law: "agreement",
    says: "each lieutenant does as it was told, and does not ask the others what they were told",
};

/// What a general can say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Order {
    /// Attack.
    Attack,
    /// Retreat. Who hears nothing takes it for this.
    Retreat,
}

/// Generals who have orders to give and to follow. General 0 is the commander, the others are lieutenants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Army {
    /// How many.
    pub n: usize,
    /// Who may say anything to anybody.
    pub is_traitor: Vec<bool>,
    /// What the commander wants.
    pub order: Order,
}

/// One message: who says to whom that these generals, from the commander on, have passed the order on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// By whom it has come, the last of them is the sender.
    pub path: Vec<usize>,
    /// To whom.
    pub to: usize,
    /// What arrives; nothing for silence.
    pub order: Option<Order>,
}

/// What traitors say: asked for each of their messages, in a fixed order. It is told the truth that it may bend.
pub type Lie<'a> = dyn FnMut(&[usize], usize, Order) -> Option<Order> + 'a;

/// Oral messages, OM(m): "the commander sends its value to every lieutenant; each lieutenant acts as the commander
/// in OM(m - 1) to tell the others; the majority of what it has been told is what it does".
pub struct OralMessages<'a> {
    army: &'a Army,
    lie: &'a mut Lie<'a>,
    /// Every message, in the order in which they were sent.
    pub words: Vec<Word>,
}

impl<'a> OralMessages<'a> {
    /// All do what they do with `m` rounds of relaying, and traitors lie as they like. What each general does in the
    /// end; of a traitor that means nothing.
    pub fn run(army: &'a Army, m: usize, lie: &'a mut Lie<'a>) -> (Vec<Order>, Vec<Word>) {
        let mut it = OralMessages {
            army,
            lie,
            words: Vec::new(),
        };
        let lieutenants: Vec<usize> = (1..army.n).collect();
        let mut done = vec![army.order; army.n];
        for (who, order) in it.command(m, &[0], army.order, &lieutenants) {
            done[who] = order;
        }
        (done, it.words)
    }

    /// OM(m): the last of `path` commands `lieutenants`; what each of them takes its order to be.
    fn command(
        &mut self,
        m: usize,
        path: &[usize],
        order: Order,
        lieutenants: &[usize],
    ) -> Vec<(usize, Order)> {
        // Step 1. Silence is an order to retreat.
        let told: Vec<(usize, Order)> = lieutenants
            .iter()
            .map(|to| (*to, self.send(path, *to, order).unwrap_or(Order::Retreat)))
            .collect();
        if m == 0 {
            return told;
        }
        // Step 2. Each tells the others what it was told.
        let mut heard: Vec<(usize, Vec<Order>)> = told
            .iter()
            .map(|(who, order)| (*who, vec![*order]))
            .collect();
        for (relays, order) in &told {
            let others: Vec<usize> = lieutenants
                .iter()
                .copied()
                .filter(|to| to != relays)
                .collect();
            let path = [path, &[*relays]].concat();
            for (who, order) in self.command(m - 1, &path, *order, &others) {
                if let Some((_, orders)) = heard.iter_mut().find(|(to, _)| *to == who) {
                    orders.push(order);
                }
            }
        }
        // Step 3.
        let decided = heard
            .into_iter()
            .map(|(who, orders)| (who, majority(&orders)));
        decided.collect()
    }

    fn send(&mut self, path: &[usize], to: usize, order: Order) -> Option<Order> {
        let sender = path.last().copied().unwrap_or(0);
        let said = match self.army.is_traitor[sender] {
            true => (self.lie)(path, to, order),
            false => Some(order),
        };
        self.words.push(Word {
            path: path.to_vec(),
            to,
            order: said,
        });
        said
    }
}

/// More than half, or retreat.
pub fn majority(orders: &[Order]) -> Order {
    let attack = orders.iter().filter(|order| **order == Order::Attack);
    match 2 * attack.count() > orders.len() {
        true => Order::Attack,
        false => Order::Retreat,
    }
}

/// Members that are needed for `f` that crash: any two majorities share one.
pub fn members_for_crashes(f: u32) -> u32 {
    2 * f + 1
}

/// Members that are needed for `f` that lie: any two quorums of 2f + 1 share f + 1, and so one that does not lie.
pub fn members_for_lies(f: u32) -> u32 {
    3 * f + 1
}

/// Agreement: all loyal lieutenants do the same.
fn agreement(army: &Army, done: &[Order]) -> Result<(), String> {
    let mut loyal = (1..army.n).filter(|who| !army.is_traitor[*who]);
    let Some(first) = loyal.next() else {
        return Ok(());
    };
    match loyal.find(|who| done[*who] != done[first]) {
        Some(other) => Err(format!(
            "l{first} does {}, l{other} does {}, and both are loyal",
            done[first], done[other]
        )),
        None => Ok(()),
    }
}

/// Obedience: when the commander is loyal, every loyal lieutenant does what it ordered.
fn obedience(army: &Army, done: &[Order]) -> Result<(), String> {
    if army.is_traitor[0] {
        return Ok(());
    }
    let mut loyal = (1..army.n).filter(|who| !army.is_traitor[*who]);
    match loyal.find(|who| done[*who] != army.order) {
        Some(who) => Err(format!(
            "the loyal commander ordered {}, and l{who}, loyal too, does {}",
            army.order, done[who]
        )),
        None => Ok(()),
    }
}

/// How a run is set up where a rule is left out: how many generals for one traitor, how many rounds of relaying.
fn case(broken: Broken) -> (usize, usize) {
    let n = if broken.is(&ONE_MORE) { 3 } else { 4 };
    let m = if broken.is(&RELAY) { 0 } else { 1 };
    (n, m)
}
