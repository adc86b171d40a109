//! Promise: with `service.telemetry.traces` a backend shows each cycle as a trace, by the semantic conventions for MCP; the server is told of it
//! in `params._meta`, the log names it; a backend that is down disturbs nothing; without it nothing of this is there.

use minicol_extension_simulator::{Profile, Simulator, SimulatorConfig};
use minicol_tests::{OtlpSink, Program, Span, Tap, TraceSink, free_port, simulator, wait_until};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use crate::common::{File, pipeline_with};

fn traces_to(endpoint: &str) -> String {
    let batch = format!("schedule_delay: 100ms, exporter: {{otlp: {{protocol: grpc, endpoint: \"{endpoint}\"}}}}");
    format!("metrics: {{level: none}}, traces: {{processors: [{{batch: {{{batch}}}}}]}}")
}

async fn simulated(faults: &str) -> Simulator {
    let faults = serde_yaml::from_str(faults).unwrap();
    simulator(free_port(), SimulatorConfig { faults, ..SimulatorConfig::default() }).await
}

fn attribute<'a>(span: &'a Span, name: &str) -> &'a str {
    span.attributes.get(name).map_or("", String::as_str)
}

/// `_meta.traceparent` of each request, with its method and tool.
fn carried(tap: &Tap) -> Vec<(String, Option<String>)> {
    let name = |message: &Value| {
        let method = message["method"].as_str()?;
        let tool = message["params"]["name"].as_str().map(|tool| format!(" {tool}"));
        Some(format!("{method}{}", tool.unwrap_or_default()))
    };
    let context = |message: &Value| message["params"]["_meta"]["traceparent"].as_str().map(str::to_owned);
    tap.asked().iter().filter_map(|message| Some((name(message)?, context(message)))).collect()
}

/// The trace of a program's first cycle, and what the server was told.
struct Traced {
    cycle: Span,
    below: Vec<Span>,
    next: Vec<Span>,
    port: String,
    carried: Vec<(String, Option<String>)>,
    log: String,
}

impl Traced {
    async fn first_cycle(profile: Profile) -> Self {
        let simulator = simulator(free_port(), SimulatorConfig { profile, ..SimulatorConfig::default() }).await;
        let tap = Tap::before(&simulator.url()).await;
        let (sink, backend) = (OtlpSink::start().await, TraceSink::start().await);
        let exporter = format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc);
        let file = File::new(&pipeline_with(&tap.endpoint, &exporter, &traces_to(&format!("http://{}", backend.grpc))));
        let program = Program::start(&["run", "--config", file.path()], &[]);
        wait_until("two cycles", || backend.named("poll session_buddy").len() >= 2).await;
        let output = program.stop().await;
        assert_eq!(output.code, 0, "{}", output.stderr);
        let cycles = backend.named("poll session_buddy");
        assert_ne!(cycles[0].trace, cycles[1].trace);
        Self {
            below: backend.below(&cycles[0]),
            next: backend.below(&cycles[1]),
            cycle: cycles[0].clone(),
            port: tap.endpoint.split(['/', ':']).nth(4).unwrap().to_owned(),
            carried: carried(&tap),
            log: output.stderr,
        }
    }

    fn names(&self) -> Vec<&str> {
        self.below.iter().map(|span| span.name.as_str()).collect()
    }

    /// What holds of every span, whatever the server speaks.
    fn check(&self) {
        let Self { cycle, below, port, .. } = self;
        assert_eq!((cycle.kind, cycle.parent.as_str(), &cycle.error), (SpanKind::Internal, "", &None));
        assert_eq!(cycle.resource["service.name"], "minicol");
        for (name, value) in [
            ("receiver", "session_buddy"),
            ("server.address", "127.0.0.1"),
            ("server.port", port),
            ("minicol.poll.up", "true"),
            ("minicol.poll.tools_failed", "0"),
        ] {
            assert_eq!(attribute(cycle, name), value, "{name}");
        }
        let documented = include_str!("../../docs/own-telemetry.md");
        for name in below.iter().chain([cycle]).flat_map(|span| span.attributes.keys()) {
            assert!(documented.contains(&format!("`{name}`")), "{name} is not in docs/own-telemetry.md");
        }
        for span in below {
            let (method, within) =
                (span.name.split(' ').next().unwrap(), |at| (cycle.times.0..=cycle.times.1).contains(&at));
            assert_eq!(span.kind, SpanKind::Client);
            assert!(within(span.times.0) && within(span.times.1) && span.times.0 <= span.times.1, "{span:?}");
            for (name, value) in [
                ("mcp.method.name", method),
                ("server.address", "127.0.0.1"),
                ("server.port", port),
                ("network.transport", "tcp"),
                ("network.protocol.name", "http"),
            ] {
                assert_eq!(attribute(span, name), value, "{name} of {span:?}");
            }
            let is_call = method == "tools/call";
            assert_eq!(attribute(span, "gen_ai.operation.name"), if is_call { "execute_tool" } else { "" });
            assert!(!is_call || span.name == format!("tools/call {}", attribute(span, "gen_ai.tool.name")));
            let is_request = method != "notifications/initialized";
            assert_eq!(span.attributes.contains_key("jsonrpc.request.id"), is_request);
            // What arrived at the server is the context of the very span.
            let context = Some(format!("00-{}-{}-01", span.trace, span.id));
            assert!(self.carried.contains(&(span.name.clone(), context)), "{span:?}: {:?}", self.carried);
        }
        let works = self.log.lines().find(|line| line.contains("component works")).unwrap();
        assert!(works.ends_with(&format!("trace_id={} span_id={}", cycle.trace, cycle.id)), "{works}");
    }
}

#[tokio::test]
async fn a_cycle_is_a_trace_and_the_server_is_told_of_it() {
    let traced = Traced::first_cycle(Profile::Contract).await;
    traced.check();
    let names = traced.names();
    assert_eq!(names[..2], ["server/discover", "tools/list"]);
    let mut calls = names[2..].to_vec();
    calls.sort_unstable();
    let tools = ["get_activity_summary", "get_performance_metrics", "get_session_analytics", "get_workflow_metrics"];
    assert_eq!(calls, tools.map(|tool| format!("tools/call {tool}")));
    assert_eq!(attribute(&traced.cycle, "minicol.poll.tools_answered"), "4");
    for span in &traced.below {
        assert_eq!((&span.error, attribute(span, "mcp.protocol.version")), (&None, "2026-07-28"), "{span:?}");
    }
    assert_eq!(traced.next.len(), 4, "what was made sure of is not asked for again");
}

#[tokio::test]
async fn a_server_with_sessions_is_traced_with_its_handshake() {
    let traced = Traced::first_cycle(Profile::Release).await;
    traced.check();
    assert_eq!(traced.names()[..4], ["server/discover", "initialize", "notifications/initialized", "tools/list"]);
    // It says that it speaks no version without sessions: an error of that request, and no failure of the cycle.
    assert!(traced.below[0].error.is_some() && !attribute(&traced.below[0], "error.type").is_empty());
    assert_eq!(attribute(&traced.below[1], "mcp.protocol.version"), "2025-11-25");
    for span in &traced.below[3..] {
        assert_eq!(attribute(span, "mcp.protocol.version"), "2025-11-25");
        assert!(!attribute(span, "mcp.session.id").is_empty(), "{span:?}");
    }
    for span in &traced.below[1..4] {
        assert_eq!(span.error, None, "{span:?}");
    }
    // The release fails at a limit that meets its open session: each attempt with another limit is a span of its own.
    let analytics = traced.below.iter().filter(|span| span.name == "tools/call get_session_analytics");
    let errors: Vec<_> = analytics.map(|span| attribute(span, "error.type")).collect();
    assert!(errors.len() > 2 && errors[0] == "tool_error" && errors.contains(&""), "{errors:?}");
}

#[tokio::test]
async fn a_tool_that_fails_is_an_error_of_its_span_and_of_the_cycle() {
    let simulator = simulated(
        "{tools: {get_workflow_metrics: {kind: is_error}, get_performance_metrics: {kind: json_rpc_error},
          get_activity_summary: {kind: hang}}}",
    )
    .await;
    let (sink, backend) = (OtlpSink::start().await, TraceSink::start().await);
    let exporter = format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc);
    let telemetry = format!("logs: {{encoding: json}}, {}", traces_to(&format!("http://{}", backend.grpc)));
    let text =
        pipeline_with(&simulator.url(), &exporter, &telemetry).replace("timeout_seconds: 2", "timeout_seconds: 0.5");
    let file = File::new(&text);
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("a cycle", || !backend.named("poll session_buddy").is_empty()).await;
    let output = program.stop().await;

    let cycle = &backend.named("poll session_buddy")[0];
    assert!(cycle.error.as_ref().is_some_and(|why| why.ends_with("and 2 more")), "{cycle:?}");
    assert_eq!(
        (attribute(cycle, "minicol.poll.tools_answered"), attribute(cycle, "minicol.poll.tools_failed")),
        ("1", "3")
    );
    let below = backend.below(cycle);
    let call = |tool: &str| below.iter().find(|span| span.name == format!("tools/call {tool}")).unwrap();
    let failed = call("get_workflow_metrics");
    assert_eq!(attribute(failed, "error.type"), "tool_error");
    assert!(failed.error.as_ref().is_some_and(|why| why.starts_with("the tool failed")), "{failed:?}");
    let failed = call("get_performance_metrics");
    let code = attribute(failed, "rpc.response.status_code");
    assert!(code.parse::<i32>().is_ok() && code == attribute(failed, "error.type"), "{failed:?}");
    assert!(failed.error.as_ref().is_some_and(|why| !why.contains("json-rpc")), "the server's own words: {failed:?}");
    let failed = call("get_activity_summary");
    assert_eq!(attribute(failed, "error.type"), "timeout");
    assert!(failed.times.1 - failed.times.0 >= 500_000_000, "{failed:?}");
    assert_eq!(call("get_session_analytics").error, None);

    // Every line about the failing tools names the trace.
    let lines: Vec<Value> = output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let about: Vec<_> = lines.iter().filter(|line| line.to_string().contains("get_workflow_metrics")).collect();
    assert!(!about.is_empty(), "{}", output.stderr);
    for line in about {
        let trace = line["trace_id"].as_str().unwrap_or_default();
        assert!(
            backend
                .named("poll session_buddy")
                .iter()
                .any(|cycle| cycle.trace == trace && line["span_id"] == cycle.id.as_str()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_a_trace_too() {
    let (sink, backend) = (OtlpSink::start().await, TraceSink::start().await);
    let exporter = format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc);
    let nobody = format!("http://127.0.0.1:{}/mcp", free_port());
    let file = File::new(&pipeline_with(&nobody, &exporter, &traces_to(&format!("http://{}", backend.grpc))));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("a cycle", || !backend.named("poll session_buddy").is_empty()).await;
    program.stop().await;
    let cycle = &backend.named("poll session_buddy")[0];
    assert_eq!((attribute(cycle, "error.type"), attribute(cycle, "minicol.poll.up")), ("unavailable", "false"));
    let below = backend.below(cycle);
    assert_eq!((below.len(), attribute(&below[0], "error.type")), (1, "unavailable"), "{below:?}");
    assert!(below[0].error.as_ref().is_some_and(|why| why.contains("is the server running")), "{below:?}");
}

#[tokio::test]
async fn a_backend_for_traces_that_is_down_is_one_line_and_disturbs_nothing() {
    let simulator = simulated("{}").await;
    let sink = OtlpSink::start().await;
    let exporter = format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let file = File::new(&pipeline_with(&simulator.url(), &exporter, &traces_to(&nobody)));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("four cycles", || sink.points_of("session_buddy.up").len() >= 4).await;
    let output = program.stop().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(output.stderr.matches("own traces cannot be sent").count(), 1, "{}", output.stderr);
    // In that line the cause names it again; and once more at the end.
    assert_eq!(output.stderr.matches(&nobody).count(), 3, "{}", output.stderr);
    assert!(output.stderr.contains("spans of own traces were not delivered"), "{}", output.stderr);
}

#[tokio::test]
async fn without_traces_the_server_is_told_nothing_and_the_log_names_none() {
    let simulator = simulated("{}").await;
    let tap = Tap::before(&simulator.url()).await;
    let sink = OtlpSink::start().await;
    let exporter = format!("otlp: {{endpoint: \"http://{}\"}}", sink.grpc);
    let file = File::new(&pipeline_with(&tap.endpoint, &exporter, "metrics: {level: none}"));
    let program = Program::start(&["run", "--config", file.path()], &[]);
    wait_until("two cycles", || sink.points_of("session_buddy.up").len() >= 2).await;
    let output = program.stop().await;
    let carried = carried(&tap);
    assert!(carried.len() >= 10 && carried.iter().all(|(_, context)| context.is_none()), "{carried:?}");
    assert!(!output.stderr.contains("trace_id"), "{}", output.stderr);
}
