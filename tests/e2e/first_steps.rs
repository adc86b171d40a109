//! Promise: `minicol init` writes a file that holds and never over another; completions and man pages tell of every command.

use minicol_tests::Program;
use tempfile::TempDir;

#[tokio::test]
async fn a_first_file_holds_for_either_protocol() {
    let folder = TempDir::new().unwrap();
    for (protocol, exporter) in [("grpc", "otlp"), ("http", "otlphttp")] {
        let file = folder.path().join(protocol);
        let file = file.to_str().unwrap();
        let backend = "https://otel.example.com:4318/$1";
        let token = "/run/secrets/token";
        let mut arguments = vec!["init", "--protocol", protocol, "--output", file];
        if protocol == "http" {
            arguments.extend([
                "--endpoint",
                "https://buddy.example.com/mcp",
                "--backend",
                backend,
                "--bearer-token-file",
                token,
            ]);
        }
        let made = Program::run(&arguments, &[]).await;
        assert_eq!((made.code, made.stdout.as_str()), (0, ""), "{}", made.stderr);
        assert!(made.stderr.contains(&format!("minicol doctor --config {file}")), "{}", made.stderr);
        let checked = Program::run(&["validate", "--config", file], &[]).await;
        assert_eq!((checked.code, checked.stderr.as_str()), (0, ""));
        let shown = Program::run(&["print-config", "--config", file, "--format", "json"], &[]).await;
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(shown["service"]["extensions"], serde_json::json!(["health_check", "status_page"]));
        assert!(shown["extensions"]["status_page"].is_object(), "what `status`, `top` and `tap` ask");
        let written = std::fs::read_to_string(file).unwrap();
        assert!(written.starts_with("# yaml-language-server: $schema=minicol.schema.json\n"), "{written}");
        assert!(shown["exporters"][exporter].is_object());
        if protocol == "http" {
            assert_eq!(shown["exporters"][exporter]["endpoint"], backend, "what is given is meant as it is");
            assert_eq!(shown["receivers"]["session_buddy"]["bearer_token_file"], token);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_there_is_written_over_only_where_that_was_asked_for() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("mine.yaml");
    std::fs::write(&file, "mine").unwrap();
    let path = file.to_str().unwrap();
    let refused = Program::run(&["init", "--output", path], &[]).await;
    assert!(refused.code == 1 && refused.stderr.contains("is there already"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let wrong = Program::run(&["init", "--output", path, "--force", "--endpoint", "buddy"], &[]).await;
    assert!(wrong.code == 1 && wrong.stderr.contains("nothing is written"), "{}", wrong.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine", "what would not hold is not written");
    let forced = Program::run(&["init", "--output", path, "--force"], &[]).await;
    assert_eq!(forced.code, 0, "{}", forced.stderr);
    let printed = Program::run(&["init", "--output", "-"], &[]).await;
    assert_eq!(printed.stdout, std::fs::read_to_string(&file).unwrap());
}

#[tokio::test]
async fn shells_and_man_know_every_command() {
    let commands =
        ["run", "validate", "poll", "print-config", "simulate", "init", "schema", "doctor", "completions", "man"];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Program::run(&["completions", shell], &[]).await;
        assert_eq!(script.code, 0, "{}", script.stderr);
        for command in commands {
            assert!(script.stdout.contains(command), "{shell} does not know {command}");
        }
    }
    let page = Program::run(&["man"], &[]).await.stdout;
    assert!(page.contains(".TH minicol 1"), "{page}");
    for command in commands {
        assert!(
            page.contains(&format!("minicol\\-{}(1)", command.replace('-', "\\-"))),
            "the page does not name {command}:\n{page}"
        );
        let own = Program::run(&["man", command], &[]).await;
        assert!(own.code == 0 && own.stdout.contains(&format!(".TH minicol-{command} 1")), "{}", own.stdout);
    }
    let unknown = Program::run(&["man", "fly"], &[]).await;
    assert!(unknown.code == 1 && unknown.stderr.contains("there is no command `fly`"), "{}", unknown.stderr);
}
