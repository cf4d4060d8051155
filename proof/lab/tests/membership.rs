//! What those who tell each other do that no law asks for: with anti-entropy behind it a rumour may be as lazy as it
//! likes.

use lab::algorithm::Algorithm;
use lab::algorithms::gossip::Gossip;
use lab::exhibit::Broken;
use lab::kernel::{World, play};
use std::rc::Rc;

#[test]
fn who_hears_no_answer_tells_the_next_one() {
    let is_asked = Gossip::BREAKS
        .iter()
        .find(|rule| rule.rule == "anti-entropy")
        .expect("the rule is there");
    let alone = Rc::new(Gossip::small(Broken::without(is_asked)));
    for lost in ["drop n1 n2 news", "deliver n1 n2 news\ndrop n2 n1 1:"] {
        let mut world = World::drawn(&alone);
        let script = format!(
            "wake n1 change\nwake n1 tell n2\n{lost}\ntick\nwake n1 no answer\nwake n1 tell n3\ndeliver n1 n3 news"
        );
        let breach =
            play(&mut world, &Gossip::laws(), &script).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(breach, None);
        let facts: Vec<String> = world.facts().iter().map(ToString::to_string).collect();
        assert_eq!(facts.last().map(String::as_str), Some("knows 1"), "{lost}");
        let picture = world.picture().expect("it is drawn").text();
        assert!(picture.contains("n1 → n3  news 1: knows 1"), "{picture}");
    }
}
