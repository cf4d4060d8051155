//! `quorate explain CODE`: the page of an error.

use crate::complaint::Complaint;
use crate::output::Voice;
use crate::parse;
use crate::table::Table;
use api::{Code, Names as _};
use serde::Serialize;

/// Print what an error code means, whether the write took effect, and what to do.
#[derive(clap::Args, Debug)]
#[command(before_help = "\
Examples:
  quorate explain Q2104      the page of one code
  quorate explain            all codes")]
pub(crate) struct Explain {
    /// Such as Q2104; without it, all are listed.
    pub(crate) code: Option<String>,
}

#[derive(Serialize)]
struct Line {
    code: &'static str,
    title: &'static str,
    exit: u8,
    http: u16,
    grpc: u8,
    effect: String,
}

#[derive(Serialize)]
struct Page {
    #[serde(flatten)]
    line: Line,
    page: &'static str,
}

#[derive(Serialize)]
struct List {
    items: Vec<Line>,
}

fn line(code: Code) -> Line {
    Line {
        code: code.text(),
        title: code.title(),
        exit: code.exit(),
        http: code.http(),
        grpc: code.grpc() as u8,
        effect: code.effect().name(),
    }
}

/// Prints it, or them.
pub(crate) fn run(explain: &Explain, voice: Voice) -> Result<(), Complaint> {
    let Some(asked) = &explain.code else {
        let items = Code::ALL.iter().map(|code| line(*code)).collect();
        return voice.answer("Errors", &List { items }, table);
    };
    // People leave the letter out.
    let with_letter = match asked.starts_with(|first: char| first.is_ascii_digit()) {
        true => format!("Q{asked}"),
        false => asked.clone(),
    };
    let code = Code::of_text(&with_letter).ok_or_else(|| unknown(asked, &with_letter))?;
    let page = Page {
        line: line(code),
        page: code.page(),
    };
    voice.answer("Explanation", &page, || code.page().to_owned())
}

fn table() -> String {
    let mut table = Table::new(["CODE", "EXIT", "MEANS"]);
    for code in Code::ALL {
        table.row([
            code.text().into(),
            code.exit().to_string(),
            code.title().into(),
        ]);
    }
    table.text()
}

fn unknown(asked: &str, with_letter: &str) -> Complaint {
    let known = Code::ALL.iter().map(|code| code.text());
    let help = match parse::nearest(&with_letter.to_uppercase(), known) {
        Some(near) => format!("did you mean {near}? `quorate explain` lists all codes"),
        None => "`quorate explain` lists all codes".to_owned(),
    };
    Complaint::not_found(format!("there is no error code \"{asked}\"")).help(help)
}
