#[derive(clap::Args)]
pub(crate) struct Arguments {}
pub(crate) async fn main(_: Arguments) -> Result<(), crate::Failure> {
    Err("not yet".into())
}
