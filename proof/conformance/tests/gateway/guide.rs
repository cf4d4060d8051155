//! The commands of `docs/guide/http.md`, run as they stand there.

use crate::curl::member;
use crate::script::masked;
use std::process::Command;

#[tokio::test]
async fn the_commands_of_the_guide_answer_what_it_says() {
    let target = member().await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/http.md");
    let guide = std::fs::read_to_string(path).expect("the guide");
    let mut n_commands = 0;
    for block in guide.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        for step in block.split("$ ").skip(1) {
            let (command, wanted) = step.split_once('\n').expect("an answer");
            let command = command.replace("http://127.0.0.1:2379", &target.endpoints[0]);
            let command = command.replacen("curl", "curl -s", 1);
            let output = Command::new("sh").args(["-c", &command]).output();
            let output = String::from_utf8_lossy(&output.expect("a shell").stdout).into_owned();
            let lines = |text: &str| text.lines().map(masked).collect::<Vec<_>>();
            assert_eq!(lines(&output), lines(wanted), "{command}");
            n_commands += 1;
        }
    }
    assert!(n_commands > 5, "{n_commands} commands");
}
