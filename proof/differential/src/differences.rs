//! The reviewed list of what may differ, `differences.yaml`, and how a difference finds its rule there.

use crate::tree::{Difference, Tree};
use serde::Deserialize;

/// A difference that was looked at and is meant. See the file for what each line says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// What it is called in reports.
    pub(crate) name: String,
    /// Why it is no mistake.
    pub(crate) reason: String,
    /// The release of etcd that it is about, by the beginning of its version; nothing for all.
    release: Option<String>,
    at: Vec<String>,
    #[serde(default)]
    asked: Vec<String>,
    etcd: Option<String>,
    ours: Option<String>,
    both: Option<Both>,
    within: Option<i128>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Both {
    #[serde(rename = "above zero")]
    AboveZero,
}

/// A difference where it was seen.
pub(crate) struct Seen<'a> {
    /// `KV/Range`, `Watch/Watch`, …
    pub(crate) call: &'a str,
    /// The request, if there was one.
    pub(crate) request: Option<&'a Tree>,
    pub(crate) difference: &'a Difference,
}

/// Where a stream has something that the other has not: the place of differences in number.
pub(crate) const MISSING: &str = "missing";

/// All rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// The list of this build.
    ///
    /// # Errors
    /// The list is not written as it says.
    pub(crate) fn of_this_build() -> Result<Rules, serde_yaml_ng::Error> {
        Rules::read(include_str!("../differences.yaml"))
    }

    /// A list from its text.
    ///
    /// # Errors
    /// It is not written as the file says.
    pub(crate) fn read(text: &str) -> Result<Rules, serde_yaml_ng::Error> {
        serde_yaml_ng::from_str(text)
    }

    /// Without what is about other releases than that of `version`.
    pub(crate) fn for_release(mut self, version: &str) -> Rules {
        self.0.retain(|rule| {
            let release = rule.release.as_deref();
            release.is_none_or(|release| version.starts_with(release))
        });
        self
    }

    /// In their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// The rule for a difference, by its place in the list.
    pub(crate) fn rule_for(&self, seen: &Seen<'_>) -> Option<usize> {
        self.0.iter().position(|rule| rule.holds(seen))
    }
}

impl Rule {
    fn holds(&self, seen: &Seen<'_>) -> bool {
        let Difference { path, peer, ours } = seen.difference;
        let place = format!("{} {path}", seen.call);
        let words = |tree: Option<&Tree>| tree.map_or("nothing".to_owned(), Tree::to_string);
        let fits = |pattern: &Option<String>, tree: Option<&Tree>| {
            let Some(pattern) = pattern else { return true };
            is_like(&words(tree), pattern)
        };
        let asked = words(seen.request);
        let numbers = match (peer, ours) {
            (Some(Tree::Number(peer)), Some(Tree::Number(ours))) => Some((*peer, *ours)),
            _ => None,
        };
        let above_zero = numbers.is_some_and(|(peer, ours)| peer > 0 && ours > 0);
        let distance = numbers.map(|(peer, ours)| (peer - ours).abs());
        self.at.iter().any(|pattern| is_like(&place, pattern))
            && (self.asked.is_empty() || self.asked.iter().any(|it| is_like(&asked, it)))
            && fits(&self.etcd, peer.as_ref())
            && fits(&self.ours, ours.as_ref())
            && match self.both {
                Some(Both::AboveZero) => above_zero,
                None => true,
            }
            && match self.within {
                Some(within) => above_zero && distance.is_some_and(|distance| distance <= within),
                None => true,
            }
    }
}

/// Whether `text` is the pattern, in which `*` stands for any text.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::of_this_build().expect("the list is well written")
    }

    fn seen(call: &str, path: &str, peer: Option<Tree>, ours: Option<Tree>) -> Option<String> {
        let difference = Difference {
            path: path.to_owned(),
            peer,
            ours,
        };
        let rules = rules();
        let seen = Seen {
            call,
            request: None,
            difference: &difference,
        };
        let at = rules.rule_for(&seen)?;
        rules.iter().nth(at).map(|rule| rule.name.clone())
    }

    #[test]
    fn every_rule_has_a_name_of_its_own_and_a_reason() {
        let mut names: Vec<_> = rules().iter().map(|rule| rule.name.clone()).collect();
        let n = names.len();
        names.sort();
        names.dedup();
        assert_eq!(n, names.len());
        assert!(rules().iter().all(|rule| rule.reason.len() > 10));
    }

    #[test]
    fn a_rule_about_one_release_excuses_no_other() {
        let of = |version| rules().for_release(version).iter().count();
        assert!(of("3.7.3") > of("3.6.16"));
        assert_eq!(of("3.7.3"), rules().iter().count());
    }

    #[test]
    fn terms_may_differ_and_revisions_may_not() {
        let (one, two) = (Some(Tree::Number(1)), Some(Tree::Number(2)));
        let term = seen("KV/Put", "header.raft_term", one.clone(), two.clone());
        assert_eq!(term.as_deref(), Some("raft term"));
        assert_eq!(seen("KV/Put", "header.revision", one.clone(), two), None);
        // A term that is not there is a mistake.
        assert_eq!(seen("KV/Put", "header.raft_term", one, None), None);
    }

    #[test]
    fn patterns_match_whole_texts() {
        assert!(is_like("abc", "abc"));
        assert!(!is_like("abcd", "abc"));
        assert!(is_like("abcd", "a*d"));
        assert!(is_like("a header.raft_term", "* *header.raft_term"));
        assert!(!is_like("abcd", "a*c"));
        assert!(is_like("abcbc", "a*bc"));
    }
}
