//! What the outside sees: real sockets, metrics, and no log line of a library for a server that is down.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use minicol_mcp::{
    Class, HttpClient, PollTarget, Target, TargetSettings, TargetState,
    testing::{FaultServer, Reply},
};
use minicol_plugin::{
    ComponentKind,
    net::{HttpConnector, SystemNetwork},
    testing::Harness,
};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter, SdkMeterProvider,
    data::{AggregatedMetrics, MetricData},
};
use serde_json::json;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter, util::SubscriberInitExt};

use crate::world::{World, answer, failure, target};

#[tokio::test]
async fn over_real_sockets_a_server_answers_dies_in_mid_call_and_refuses() {
    let mut harness = Harness::default();
    harness.network = Arc::new(SystemNetwork);
    let server = FaultServer::start(&SystemNetwork, "127.0.0.1:0").await;
    server.tool("get_a", Reply::structured(json!({"a": 1})));
    server.tool("get_b", Reply::events().chunk(": soon\n").then_cut());
    let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
    let http = HttpClient::new(HttpConnector::new(Arc::clone(scope.network()), None));
    let settings = TargetSettings { max_retries: 0, ..TargetSettings::new(server.url().parse().unwrap()) };
    let target = Target::new(settings, http, Arc::new(TargetState::default()), &scope);
    let plan = World::new().await.plan(&["a", "b"]);
    let outcome = target.cycle(&plan).await;
    assert_eq!(answer(&outcome, "get_a").document, json!({"a": 1}));
    assert_eq!(failure(&outcome, "get_b").class(), Class::Unavailable);
    server.stop();
    target.close().await;
    let refused = target.cycle(&plan).await.setup.unwrap();
    assert_eq!(refused.class(), Class::Unavailable, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_measured_by_the_conventions() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let world = World::new().await;
    let mut harness = world.harness.clone();
    harness.meter = provider.meter("test");
    let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
    let target = target(world.target.settings().clone(), &Arc::new(TargetState::default()), &scope);
    world.server.once("tools/call get_a", Reply::status(502));
    world.server.always("tools/call get_b", Reply::hang());
    world.server.tool("get_c", Reply::error(-32603, "internal"));
    world.server.tool("get_d", Reply::error(-7, "a code of its own"));
    target.cycle(&world.plan(&["a", "b", "c", "d"])).await;
    provider.force_flush().unwrap();

    let finished = exporter.get_finished_metrics().unwrap();
    let metric = finished.last().unwrap().scope_metrics().next().unwrap().metrics().next().unwrap();
    assert_eq!((metric.name(), metric.unit()), ("mcp.client.operation.duration", "s"));
    let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else { panic!("{metric:?}") };
    let mut counts = BTreeMap::new();
    for point in histogram.data_points() {
        let of = |key: &str| {
            let attribute = point.attributes().find(|attribute| attribute.key.as_str() == key);
            attribute.map(|attribute| attribute.value.to_string()).unwrap_or_default()
        };
        assert_eq!((of("server.address"), of("server.port")), ("buddy".to_owned(), "8678".to_owned()));
        assert_eq!((of("network.transport"), of("network.protocol.name")), ("tcp".to_owned(), "http".to_owned()));
        let is_call = of("mcp.method.name") == "tools/call";
        assert_eq!(of("gen_ai.operation.name"), if is_call { "execute_tool" } else { "" });
        assert_eq!(point.bounds().collect::<Vec<_>>().len(), 14);
        let name = [
            of("mcp.method.name"),
            of("gen_ai.tool.name"),
            of("error.type"),
            of("rpc.response.status_code"),
            of("mcp.protocol.version"),
        ];
        counts.insert(name.join(" "), point.count());
    }
    let expected = [
        ("initialize    2025-11-25", 1),
        ("notifications/initialized    ", 1),
        ("server/discover  400  ", 1),
        ("tools/call get_a   2025-11-25", 1),
        ("tools/call get_a 502  2025-11-25", 1),
        ("tools/call get_b timeout  2025-11-25", 1),
        ("tools/call get_c -32603 -32603 2025-11-25", 1),
        ("tools/call get_d rpc_error  2025-11-25", 1),
        ("tools/list    2025-11-25", 1),
    ];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)).into());
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_address_is_told_without_brackets() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone()).build();
    let world = World::new().await;
    let mut harness = world.harness.clone();
    harness.meter = provider.meter("test");
    let scope = harness.scope(ComponentKind::Receiver, "session_buddy");
    let settings = TargetSettings { max_retries: 0, ..TargetSettings::new("http://[::1]:8678/mcp".parse().unwrap()) };
    target(settings, &Arc::new(TargetState::default()), &scope).cycle(&world.plan(&["a"])).await;
    provider.force_flush().unwrap();
    let finished = exporter.get_finished_metrics().unwrap();
    let metric = finished.last().unwrap().scope_metrics().next().unwrap().metrics().next().unwrap();
    let AggregatedMetrics::F64(MetricData::Histogram(histogram)) = metric.data() else { panic!("{metric:?}") };
    let addresses: Vec<_> = histogram
        .data_points()
        .flat_map(|point| point.attributes().filter(|one| one.key.as_str() == "server.address"))
        .map(|one| one.value.to_string())
        .collect();
    assert_eq!(addresses, ["::1"]);
}

/// What was logged.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn the_libraries_log_no_warning_for_a_server_that_fails() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(lines.clone());
    let _guard = subscriber.finish().set_default();
    let mut world = World::new().await;
    for (kind, reply) in [
        ("initialize", Reply::status(502)),
        ("initialize", Reply::hang()),
        ("initialize", Reply::json("{nope")),
        ("notifications/initialized", Reply::status(500)),
        ("tools/list", Reply::cut()),
        ("tools/call get_a", Reply::hang()),
        ("tools/call get_a", Reply::events().chunk("data: {nope\n\n")),
        ("notifications/cancelled", Reply::status(500)),
        ("DELETE", Reply::hang()),
    ] {
        world.server.always(kind, reply);
        world.cycle(&["a", "b"]).await;
        world.target.close().await;
        if kind != "notifications/cancelled" {
            world.server.clear(kind);
        }
        world.next_tick().await;
    }
    world.server.stop();
    world.cycle(&["a"]).await;
    assert_eq!(lines.text(), "");
}
