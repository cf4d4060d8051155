//! `quorate dev`. To be told.
use std::process::ExitCode;
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {}
pub(crate) fn main(_: &[String]) -> Result<ExitCode, DevError> {
    Ok(ExitCode::SUCCESS)
}
