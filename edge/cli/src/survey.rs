//! Every member's word about itself: the endpoints are asked, and the members that they name.

use crate::complaint::Complaint;
use crate::context;
use crate::global::Globals;
use crate::link::Link;
use api::Code;
use api::proto::{MemberLine, StatusResponse};
use serde::Serialize;
use std::collections::BTreeMap;

/// One member, or an endpoint that did not say whose it is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Word {
    /// Where it was asked; nothing when no address of it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// What the others say of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<MemberLine>,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<StatusResponse>,
    /// Why it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Asks them all. There is at least one that answered.
pub(crate) async fn ask(globals: &Globals) -> Result<Vec<Word>, Complaint> {
    let (endpoints, _) = globals.endpoints()?;
    let first = ask_at(endpoints.clone(), globals).await?;
    let newest = first
        .values()
        .flatten()
        .max_by_key(|status| status.applied_index);
    let Some(newest) = newest else {
        let why = Complaint::coded(
            Code::NotConnected,
            format!("none of {} answered", endpoints.join(", ")),
        );
        return Err(first
            .into_values()
            .filter_map(Result::err)
            .fold(why, Complaint::note));
    };
    let mut members = newest.members.clone();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let urls = members.iter().flat_map(|member| &member.client_urls);
    let known = urls.filter_map(|url| context::endpoint(url).ok());
    let more: Vec<String> = known.filter(|it| !endpoints.contains(it)).collect();
    let mut all = first;
    if !more.is_empty() {
        all.extend(ask_at(more, globals).await?);
    }
    Ok(words(&members, all))
}

type Answers = BTreeMap<String, Result<StatusResponse, String>>;

async fn ask_at(endpoints: Vec<String>, globals: &Globals) -> Result<Answers, Complaint> {
    let link = Link::to(endpoints, globals)?;
    let told = link.client.status_of_each().await;
    let told = told.into_iter().map(|(endpoint, status)| {
        let endpoint = context::endpoint(&endpoint).unwrap_or(endpoint);
        (endpoint, status.map_err(|error| error.message().to_owned()))
    });
    Ok(told.collect())
}

/// Members in their order, each once, and behind them endpoints of whom nobody knows whose they are.
fn words(members: &[MemberLine], mut all: Answers) -> Vec<Word> {
    let mut words = Vec::new();
    for member in members {
        let its = |(endpoint, told): &(&String, &Result<StatusResponse, String>)| match told {
            Ok(status) => is_of(status, member),
            Err(_) => is_at(endpoint, member),
        };
        // An address that answers says more than one that does not.
        let best = all
            .iter()
            .filter(its)
            .max_by_key(|(_, status)| status.is_ok());
        let endpoint = best.map(|(endpoint, _)| endpoint.clone());
        let told = endpoint.as_ref().and_then(|endpoint| all.remove(endpoint));
        let (status, error) = match told {
            Some(Ok(status)) => (Some(status), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, Some("no address is known".to_owned())),
        };
        // Other addresses of the same member say nothing new, nor do those that cannot be reached from here.
        let is_told = status.is_some();
        all.retain(|endpoint, told| match told {
            Ok(status) => !is_of(status, member),
            Err(_) => !(is_told && is_at(endpoint, member)),
        });
        words.push(Word {
            endpoint,
            member: Some(member.clone()),
            status,
            error,
        });
    }
    words.extend(all.into_iter().map(|(endpoint, status)| Word {
        endpoint: Some(endpoint),
        member: None,
        error: status.as_ref().err().cloned(),
        status: status.ok(),
    }));
    words
}

fn is_of(status: &StatusResponse, member: &MemberLine) -> bool {
    let header = status.header.as_ref();
    header.is_some_and(|header| header.member == member.id)
}

fn is_at(endpoint: &str, member: &MemberLine) -> bool {
    let urls = &member.client_urls;
    urls.iter()
        .any(|url| context::endpoint(url).is_ok_and(|it| it == endpoint))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;
    use api::proto::Header;

    fn member(id: u64, url: &str) -> MemberLine {
        MemberLine {
            id,
            name: format!("n{id}"),
            client_urls: vec![url.to_owned()],
            ..MemberLine::default()
        }
    }

    fn says(id: u64) -> Result<StatusResponse, String> {
        Ok(StatusResponse {
            header: Some(Header {
                member: id,
                ..Header::default()
            }),
            ..StatusResponse::default()
        })
    }

    #[test]
    fn each_member_is_told_once_whatever_it_is_called() {
        let members = [
            member(1, "http://a:1"),
            member(2, "http://b:1"),
            member(3, "http://c:1"),
        ];
        let all = Answers::from([
            // The first member by an alias, and by its own address that does not answer from here.
            ("alias:1".to_owned(), says(1)),
            ("a:1".to_owned(), Err("refused".to_owned())),
            ("b:1".to_owned(), says(2)),
            ("b2:1".to_owned(), says(2)),
            ("c:1".to_owned(), Err("refused".to_owned())),
            ("x:1".to_owned(), Err("no such host".to_owned())),
        ]);
        let words = words(&members, all);
        let told: Vec<_> = words
            .iter()
            .map(|word| {
                let name = word.member.as_ref().map_or("-", |member| &member.name);
                (
                    name,
                    word.endpoint.as_deref().unwrap_or("-"),
                    word.status.is_some(),
                )
            })
            .collect();
        let expected = [
            ("n1", "alias:1", true),
            ("n2", "b:1", true),
            ("n3", "c:1", false),
            ("-", "x:1", false),
        ];
        assert_eq!(told, expected);
    }
}
