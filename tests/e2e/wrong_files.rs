//! Promise: a mistake in a pipeline file is told at its line, with the cure, all at once, and nothing starts.

use minicol_tests::Program;

/// Every file under `fixtures/wrong`, through the real program. The snapshot is what a person sees.
#[tokio::test]
async fn each_mistake_is_told_where_it_was_made() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/wrong");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert!(files.len() >= 25, "only {} files", files.len());
    for file in files {
        let file = file.to_str().unwrap();
        // A relative path, so that no machine's folders stand in the snapshots.
        let path = format!("tests/fixtures/wrong/{file}");
        let output = Program::run(&["validate", "--config", &path], &[]).await;
        assert_eq!(output.stdout, "", "{file}: validate is silent on stdout");
        assert_eq!(output.code, 1, "{file}: {}", output.stderr);
        assert!(!output.stderr.contains("hunter2"), "{file} shows a secret:\n{}", output.stderr);
        for line in output.stderr.lines().filter(|line| line.starts_with("error:")) {
            assert!(line.starts_with(&format!("error: {path}:")), "{file}: an error without its place: {line}");
        }
        assert!(output.stderr.contains("error: "), "{file}: {}", output.stderr);
        let name = file.trim_end_matches(".yaml");
        insta::with_settings!({ snapshot_path => "../snapshots/wrong", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, output.stderr);
        });
    }
}
