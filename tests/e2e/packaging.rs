//! Promise: what is in `packaging/` fits together, and fits the program: ports, paths, users, times. That images build and clusters take it is not shown here.

use std::{path::PathBuf, time::Duration};

use minicol_plugin::config::GoDuration;
use minicol_tests::{Program, free_port, http_get, wait_until};
use serde_json::Value;

const KUBERNETES: &str = "packaging/kubernetes";
const VARIANTS: [&str; 2] = ["base", "persistent"];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn container() -> Value {
    yaml(&format!("{KUBERNETES}/base/deployment.yaml"))["spec"]["template"]["spec"]["containers"][0].clone()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The port at the end of `host:port`.
fn port(endpoint: &Value) -> Option<u64> {
    endpoint.as_str()?.rsplit_once(':')?.1.parse().ok()
}

#[tokio::test]
async fn the_pipelines_of_kubernetes_hold_and_their_probes_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    for variant in VARIANTS {
        let path = format!("{KUBERNETES}/{variant}/minicol.yaml");
        let storage = folder.path().join(variant).display().to_string();
        let variables = [("MINICOL_STORAGE", storage.as_str()), ("BUDDY_ENDPOINT", "http://127.0.0.1:1/mcp")];
        let checked = Program::run(&["validate", "--config", &path], &variables).await;
        assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{path}");

        let file = yaml(&path);
        let probes =
            ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| container()[probe]["httpGet"].clone());
        let path_of_probe = probes[0]["path"].as_str().unwrap();
        assert!(probes.iter().all(|probe| probe["path"] == path_of_probe && probe["port"] == "health"), "{probes:?}");
        let health = &file["extensions"]["health_check"];
        assert_eq!(path_of_probe, health["path"].as_str().unwrap_or("/"), "{path}");
        assert!(health["endpoint"].as_str().unwrap().starts_with("0.0.0.0:"), "probes do not come by loopback");

        // As it is, but for what would need a cluster.
        let free = free_port();
        let set = format!("extensions.health_check.endpoint=127.0.0.1:{free}");
        let rest = ["service.telemetry.metrics.level=none", "service.extensions=[file_storage, health_check]"];
        let rest = if variant == "base" { [rest[0], "service.extensions=[health_check]"] } else { rest };
        let program = Program::start(
            &["run", "--config", &path, "--set", &set, "--set", rest[0], "--set", rest[1], "--shutdown-timeout", "2s"],
            &variables,
        );
        wait_until("it runs", || program.stderr().contains("everything has started")).await;
        let answer = http_get(&format!("127.0.0.1:{free}"), path_of_probe).await.expect("the probe is answered");
        assert_eq!(answer.0, 200, "a target that is down restarts no pod: {}", answer.1);
        program.stop().await;
    }
}

#[test]
fn the_manifests_agree_with_the_pipelines() {
    let deployment = yaml(&format!("{KUBERNETES}/base/deployment.yaml"));
    let (pod, container) = (&deployment["spec"]["template"]["spec"], container());
    let port_of = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        ports.iter().find(|port| port["name"] == name).and_then(|port| port["containerPort"].as_u64())
    };
    for variant in VARIANTS {
        let file = yaml(&format!("{KUBERNETES}/{variant}/minicol.yaml"));
        assert_eq!(port_of("health"), port(&file["extensions"]["health_check"]["endpoint"]));
        let page = &file["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"];
        assert_eq!((port_of("metrics"), page["host"].as_str()), (page["port"].as_u64(), Some("0.0.0.0")));
        let kustomization = yaml(&format!("{KUBERNETES}/{variant}/kustomization.yaml"));
        assert_eq!(texts(&kustomization["configMapGenerator"][0]["files"]), ["minicol.yaml"]);
        assert_eq!(
            kustomization["generatorOptions"]["disableNameSuffixHash"], true,
            "--watch follows a name that stays"
        );
        for resource in texts(&kustomization["resources"]) {
            assert!(root().join(KUBERNETES).join(variant).join(resource).exists(), "{variant}: {resource}");
        }
    }
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"].as_str().map(|port| port.parse().ok()), Some(port_of("metrics")));
    let service = yaml(&format!("{KUBERNETES}/base/service.yaml"));
    for port in service["spec"]["ports"].as_array().unwrap() {
        assert_eq!(port["port"].as_u64(), port_of(port["targetPort"].as_str().unwrap()));
    }
    assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
    assert_eq!(service["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"]);

    let arguments = texts(&container["args"]);
    let after = |flag: &str| arguments[arguments.iter().position(|one| *one == flag).expect(flag) + 1];
    let mount = &container["volumeMounts"][0];
    assert_eq!(after("--config"), format!("{}/minicol.yaml", mount["mountPath"].as_str().unwrap()));
    assert!(mount["subPath"].is_null() && arguments.contains(&"--watch"), "a single file would never change");
    let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
    assert!(grace >= GoDuration::parse(after("--shutdown-timeout")).unwrap().0 + Duration::from_secs(5));
    assert_eq!(pod["volumes"][0]["configMap"]["name"], "minicol");

    // Only one polls, as nobody, and writes nowhere but into its claim.
    assert_eq!(
        (&deployment["spec"]["replicas"], &deployment["spec"]["strategy"]["type"]),
        (&1.into(), &"Recreate".into())
    );
    assert_eq!(
        (&pod["securityContext"]["runAsNonRoot"], &pod["automountServiceAccountToken"]),
        (&true.into(), &false.into())
    );
    let own = &container["securityContext"];
    assert_eq!((&own["readOnlyRootFilesystem"], &own["allowPrivilegeEscalation"]), (&true.into(), &false.into()));
    assert_eq!(texts(&own["capabilities"]["drop"]), ["ALL"]);
    assert!(container["resources"]["limits"]["memory"].is_string());
}

#[test]
fn the_persistent_variant_stores_where_the_claim_is_mounted_and_less_than_it_holds() {
    let kustomization = yaml(&format!("{KUBERNETES}/persistent/kustomization.yaml"));
    let patch = kustomization["patches"][0]["patch"].as_str().unwrap();
    let patch: Value = serde_yaml::from_str(patch).unwrap();
    let claim = yaml(&format!("{KUBERNETES}/persistent/claim.yaml"));
    assert_eq!(patch[0]["value"]["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"]);
    assert_eq!(patch[0]["value"]["name"], patch[1]["value"]["name"]);
    let storage = &yaml(&format!("{KUBERNETES}/persistent/minicol.yaml"))["extensions"]["file_storage"];
    let mount = patch[1]["value"]["mountPath"].as_str().unwrap();
    assert_eq!(storage["directory"], format!("${{env:MINICOL_STORAGE:-{mount}}}"));
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
    assert!(storage["max_size_mib"].as_u64().unwrap() < 1024 - 64);
}

#[test]
fn the_image_fits_the_manifests_and_the_workspace() {
    let (dockerfile, workspace) = (read("packaging/Dockerfile"), read("Cargo.toml"));
    let container = container();
    let all = yaml(&format!("{KUBERNETES}/base/deployment.yaml"));
    let context = &all["spec"]["template"]["spec"]["securityContext"];
    assert!(
        dockerfile.contains(&format!("\nUSER {0}:{1}\n", context["runAsUser"], context["runAsGroup"])),
        "{dockerfile}"
    );
    assert_eq!(context["fsGroup"], context["runAsGroup"], "the claim belongs to it");
    for port in container["ports"].as_array().unwrap() {
        let exposed = dockerfile.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
        let exposed: Vec<u64> = exposed.split(' ').map(|port| port.parse().unwrap()).collect();
        assert!(exposed.contains(&port["containerPort"].as_u64().unwrap()), "{exposed:?}: {port}");
    }
    let version = workspace.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert!(
        dockerfile.contains(&format!("\nARG RUST_VERSION={version}\n")),
        "the oldest Rust that is promised builds it"
    );
    let own = workspace.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"');
    assert_eq!(container["image"], format!("minicol:{own}"));
    let commands = texts(&container["args"]);
    assert!(
        dockerfile.contains(&format!("CMD [\"run\", \"--config\", \"{}\"]", commands[2])),
        "the same place for the file"
    );
}

#[test]
fn what_goes_to_the_build_of_the_image_is_enough_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in read(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')) {
        let copied = std::process::Command::new("cp").arg("-r").arg(root().join(name)).arg(folder.path()).status();
        assert!(copied.expect("cp runs").success(), "{name}");
    }
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = std::process::Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(folder.path())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
