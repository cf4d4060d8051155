//! The context `dev`: how the other commands find this cluster, for as long as it runs.
//!
//! It is selected where nothing was selected yet, and the end takes back what was done here, and no more. A
//! cluster that has the name already and answers keeps it. Nothing of this stops the cluster from running.

use super::plan::Plan;
use super::probe;
use crate::complaint::Complaint;
use crate::context::{Context, Contexts};

/// The name.
const NAME: &str = "dev";

/// What was written, until it is dropped.
pub(super) struct Claim {
    contexts: Contexts,
    context: Context,
    has_selected: bool,
}

impl Claim {
    /// Writes and selects the context, and says what became of it.
    pub(super) async fn make(plan: &Plan) -> (Option<Claim>, String) {
        match Claim::try_make(plan).await {
            Ok((claim, word)) => (claim, word),
            Err(complaint) => (None, format!("none: {}", complaint.text().trim_end())),
        }
    }

    /// Whether commands that say nothing speak to this cluster.
    pub(super) fn is_selected(&self) -> bool {
        self.contexts.selected().ok().flatten().as_deref() == Some(NAME)
    }

    async fn try_make(plan: &Plan) -> Result<(Option<Claim>, String), Complaint> {
        let members = plan.members.iter();
        let endpoints = members.map(|member| member.client_address().to_string());
        let context = Context::new(endpoints.collect());
        let contexts = Contexts::of(|name| std::env::var(name).ok())?;
        if let Some(other) = contexts
            .find(NAME)
            .ok()
            .flatten()
            .filter(|it| *it != context)
            && answers(&other).await
        {
            let word = format!(
                "\"{NAME}\" belongs to another cluster that runs; for this one: --endpoints {}",
                context.endpoints.join(",")
            );
            return Ok((None, word));
        }
        contexts.save(NAME, &context)?;
        let mut claim = Claim {
            contexts,
            context,
            has_selected: false,
        };
        let word = match claim.contexts.selected()? {
            None => {
                claim.contexts.select(NAME)?;
                claim.has_selected = true;
                format!(
                    "\"{NAME}\", selected until the end: quorate's commands speak to this cluster"
                )
            }
            Some(name) if name == NAME => format!("\"{NAME}\", selected"),
            Some(name) => format!("\"{NAME}\"; selected is \"{name}\": quorate context use {NAME}"),
        };
        Ok((Some(claim), word))
    }
}

async fn answers(context: &Context) -> bool {
    for endpoint in &context.endpoints {
        if let Ok(address) = endpoint.parse()
            && probe::status(address).await.is_ok()
        {
            return true;
        }
    }
    false
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Whoever changed it in the meantime wanted that.
        let is_ours = self
            .contexts
            .find(NAME)
            .is_ok_and(|it| it.as_ref() == Some(&self.context));
        if !is_ours {
            return;
        }
        let selected = self.contexts.selected().ok().flatten();
        let done = match selected.as_deref() == Some(NAME) && !self.has_selected {
            // The user selected it before: it stays selected, and its next run finds it so.
            true => Ok(()),
            false => self.contexts.delete(NAME),
        };
        if let Err(complaint) = done {
            eprint!("warning: {}", complaint.text());
        }
    }
}
