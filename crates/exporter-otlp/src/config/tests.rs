use std::collections::BTreeMap;

use minicol_pdata::Signal;
use minicol_plugin::config::{ComponentConfig, Problems, Secret, Segment};

use super::{headers::HeaderError, *};

fn header_map(headers: &BTreeMap<String, Secret>) -> Result<::http::HeaderMap, HeaderError> {
    Headers::new(headers, &BTreeMap::new()).map(|headers| headers.fixed().clone())
}

fn grpc(endpoint: &str) -> OtlpGrpcConfig {
    OtlpGrpcConfig { endpoint: endpoint.to_owned(), ..OtlpGrpcConfig::default() }
}

fn http(endpoint: &str) -> OtlpHttpConfig {
    OtlpHttpConfig { endpoint: endpoint.to_owned(), ..OtlpHttpConfig::default() }
}

/// Field, message and cure of everything that is wrong; warnings are marked.
fn problems(config: &impl ComponentConfig) -> Vec<String> {
    let mut problems = Problems::default();
    config.validate(&mut problems);
    let line = |one: minicol_plugin::config::Problem| {
        let path: Vec<String> = one
            .path
            .iter()
            .map(|step| match step {
                Segment::Key(key) => key.clone(),
                Segment::Index(index) => index.to_string(),
            })
            .collect();
        let mark = if one.warning { "warning: " } else { "" };
        format!("{mark}{}: {} | {}", path.join("::"), one.message, one.help.unwrap_or_default())
    };
    problems.into_vec().into_iter().map(line).collect()
}

fn with_headers(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

#[test]
fn grpc_takes_an_address_with_or_without_a_scheme() {
    for (text, insecure, target) in [
        ("http://localhost:4317", false, "http://localhost:4317/"),
        ("http://localhost:4317/", true, "http://localhost:4317/"),
        ("https://otel.example:443", false, "https://otel.example:443/"),
        ("https://otel.example", false, "https://otel.example/"),
        ("otel.example:4317", false, "https://otel.example:4317/"),
        ("otel.example:4317", true, "http://otel.example:4317/"),
        ("https://otel.example:4317", true, "https://otel.example:4317/"),
        ("[::1]:4317", true, "http://[::1]:4317/"),
    ] {
        let mut config = grpc(text);
        config.tls.insecure = insecure;
        assert_eq!(config.target().map(|uri| uri.to_string()).as_deref(), Ok(target), "{text} {insecure}");
    }
}

#[test]
fn a_wrong_grpc_endpoint_is_told_with_its_cure() {
    for (text, said) in [
        ("", "endpoint: an endpoint is required | write where to deliver, such as endpoint: \"http://localhost:4317\""),
        ("localhost", "`localhost` names no port | OTLP over gRPC usually listens on port 4317: write localhost:4317"),
        ("http://localhost", "`http://localhost` names no port"),
        ("localhost:99999", "`localhost:99999` has no port that can be used"),
        ("localhost:", "`localhost:` has no port that can be used"),
        ("http://localhost:0", "has no port that can be used"),
        ("[::1]:x", "has no port that can be used"),
        ("http://localhost:4317/v1/metrics", "has a path, but a gRPC endpoint has none"),
        ("dns:///otel:4317", "`dns` is no scheme that can be used here | write http://"),
        ("http://", "is no address"),
        ("two words:4317", "is no address"),
        ("https://user:hunter2@otel.example:4317", "holds a user name or password | put credentials into headers"),
        ("user:hunter2@otel example", "holds a user name or password"),
    ] {
        let told = problems(&grpc(text));
        assert!(told.iter().any(|line| line.contains(said)), "{text}: {told:?}");
        assert!(told.iter().all(|line| !line.contains("hunter2")), "{told:?}");
    }
}

#[test]
fn http_adds_the_path_to_the_base_and_takes_own_endpoints_verbatim() {
    let mut config = http("http://localhost:4318/otlp/");
    config.logs_endpoint = Some("https://logs.example/in?tenant=1".to_owned());
    let target = |signal| config.target(signal).unwrap().unwrap().to_string();
    assert_eq!(target(Signal::Metrics), "http://localhost:4318/otlp/v1/metrics");
    assert_eq!(target(Signal::Traces), "http://localhost:4318/otlp/v1/traces");
    assert_eq!(target(Signal::Logs), "https://logs.example/in?tenant=1");
    assert_eq!(problems(&config), Vec::<String>::new());
    let only_metrics =
        OtlpHttpConfig { metrics_endpoint: Some("http://m:1/x".to_owned()), ..OtlpHttpConfig::default() };
    assert_eq!(problems(&only_metrics), Vec::<String>::new());
    assert_eq!(only_metrics.target(Signal::Logs), Ok(None));
}

#[test]
fn a_wrong_http_endpoint_is_told_with_its_cure() {
    for (text, said) in [
        ("", "endpoint: an endpoint is required"),
        ("localhost:4318", "`localhost:4318` names no scheme | write http://localhost:4318 for plain text"),
        ("http://localhost:4318/?tenant=1", "has a query"),
        ("ftp://localhost", "`ftp` is no scheme"),
        ("http://localhost:4318/v1/metrics", "warning: endpoint: `endpoint` is the base"),
        ("http://localhost:4317", "warning: endpoint: 4317 is the port of OTLP over gRPC"),
    ] {
        let told = problems(&http(text));
        assert!(told.len() == 1 && told[0].contains(said), "{text}: {told:?}");
    }
    let own = OtlpHttpConfig { metrics_endpoint: Some("m:1".to_owned()), ..http("http://localhost:4318") };
    assert!(problems(&own)[0].starts_with("metrics_endpoint: `m:1` names no scheme"));
}

#[test]
fn tls_options_that_the_scheme_leaves_without_effect_are_warned_of() {
    let mut config = grpc("https://otel.example:4317");
    config.tls.insecure = true;
    assert!(problems(&config)[0].starts_with("warning: endpoint: the endpoint says https://"));
    let loopback = problems(&grpc("localhost:4317"));
    assert!(
        loopback[0].starts_with("warning: endpoint: `localhost:4317` names no scheme, so TLS is spoken"),
        "{loopback:?}"
    );
    assert!(problems(&grpc("http://localhost:4318"))[0].contains("4318 is the port of OTLP over HTTP"));
    let mut config = grpc("http://localhost:4317");
    config.tls.insecure = true;
    assert_eq!(problems(&config), Vec::<String>::new());
    config.tls.ca_file = Some("/does/not/exist.pem".into());
    let told = problems(&config);
    assert!(told[0].contains("tls.ca_file has no effect") && told[1].starts_with("tls::ca_file: "), "{told:?}");
}

#[test]
fn headers_are_checked_and_values_never_repeated() {
    let mut config = grpc("http://localhost:4317");
    config.headers = with_headers(&[
        ("x api", "hunter2"),
        ("Content-Type", "hunter2"),
        ("grpc-timeout", "hunter2"),
        ("X-Key", "hunter2"),
        ("x-key", "hunter2"),
        ("authorization", "Bearer hunter2\n"),
    ]);
    let told = problems(&config);
    for said in [
        "headers::x api: `x api` is no header name",
        "headers::Content-Type: the header `Content-Type` is the exporter's own",
        "headers::grpc-timeout: the header `grpc-timeout` is the exporter's own",
        "headers::x-key: the header `x-key` is there twice",
        "headers::authorization: the value of the header `authorization` holds a line break",
    ] {
        assert!(told.iter().any(|line| line.starts_with(said)), "{said}: {told:?}");
    }
    assert!(told.len() == 5 && !format!("{told:?} {config:?}").contains("hunter2"), "{told:?}");
    assert!(header_map(&config.headers).is_err());
}

#[test]
fn headers_are_sent_as_written_and_binary_metadata_as_base64() {
    let map = header_map(&with_headers(&[("X-Key", "hunter2"), ("trace-bin", "abc")])).unwrap();
    assert_eq!(map["x-key"], "hunter2");
    assert_eq!(map["trace-bin"], "YWJj");
    assert_eq!(map["user-agent"], USER_AGENT_NOW);
    assert!(!format!("{map:?}").contains("hunter2"));
    let own = header_map(&with_headers(&[("User-Agent", "mine")])).unwrap();
    assert_eq!(own["user-agent"], "mine");
}

const USER_AGENT_NOW: &str = concat!("minicol/", env!("CARGO_PKG_VERSION"));

#[test]
fn a_token_is_not_sent_unencrypted_to_another_machine() {
    let mut over_http = http("http://otel.example:4318");
    over_http.headers = with_headers(&[("Authorization", "Bearer hunter2"), ("X-Tenant", "a")]);
    over_http.header_files = BTreeMap::from([("x-api-key".to_owned(), "Cargo.toml".into())]);
    let mut over_grpc = grpc("otel.example:4317");
    over_grpc.tls.insecure = true;
    over_grpc.headers = over_http.headers.clone();
    let said = |key: &str| {
        format!(
            "{key}: would be sent to `otel.example` unencrypted: the endpoint is http:// | use an https:// endpoint, or set \
             `allow_insecure_auth: true` where the network is trusted"
        )
    };
    assert_eq!(problems(&over_http), [said("headers::Authorization"), said("header_files::x-api-key")]);
    assert_eq!(problems(&over_grpc), [said("headers::Authorization")]);
    for endpoint in ["http://127.0.0.1:4318", "http://localhost:4318", "https://otel.example:4318"] {
        assert_eq!(
            problems(&OtlpHttpConfig { endpoint: endpoint.to_owned(), ..over_http.clone() }),
            Vec::<String>::new()
        );
    }
    over_http.endpoint = "https://otel.example:4318".to_owned();
    over_http.logs_endpoint = Some("http://logs.example/in".to_owned());
    assert!(problems(&over_http)[0].starts_with("headers::Authorization: would be sent to `logs.example`"));
    (over_http.allow_insecure_auth, over_grpc.allow_insecure_auth) = (true, true);
    assert_eq!((problems(&over_http), problems(&over_grpc)), (Vec::new(), Vec::new()));
}

#[test]
fn a_wrong_endpoint_never_repeats_what_may_be_a_secret() {
    for text in [
        "user:hunter2@otel.example:4318",
        "hunter2@otel.example",
        "https://user:hunter2@otel.example:4318",
        "ftp://user:hunter2@otel.example",
        "//user:hunter2@otel.example",
        "http:/user:hunter2@otel.example",
        "http://otel.example:99999/in?key=hunter2",
        "otel.example/in?key=hunter2",
        "http://otel example/?key=hunter2",
        "http://otel.example:4318/v1/metrics?key=hunter2",
        "http://otel.example/#hunter2",
    ] {
        for told in [
            problems(&http(text)),
            problems(&grpc(text)),
            problems(&OtlpHttpConfig { metrics_endpoint: Some(text.to_owned()), ..OtlpHttpConfig::default() }),
        ] {
            assert!(told.iter().all(|line| !line.contains("hunter2")), "{text}: {told:?}");
        }
    }
}
