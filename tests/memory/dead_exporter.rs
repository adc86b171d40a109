//! Three exporters, of which one is dead: what the other two take from the sending of a request to its arrival, beside a run in which all three
//! live. The runs take turns, so that what else the machine does falls on both.

use std::time::Duration;

use minicol_tests::free_port;
use tokio::time::{Instant, interval, sleep};

use crate::{
    load::{Shape, client},
    program::Minicol,
    sink::Sink,
};

/// How the third exporter is set up.
const THIRD: [(&str, &str); 3] = [
    ("with a queue", "sending_queue: {queue_size: 10}"),
    ("without a queue", "sending_queue: {enabled: false}"),
    ("blocking on overflow", "sending_queue: {queue_size: 1, num_consumers: 1, block_on_overflow: true}"),
];
const PACE: Duration = Duration::from_millis(20);
/// What the first batch waits, once, for an exporter that is late, and the connections need.
const WARM_UP: Duration = Duration::from_secs(2);
/// How much the median may differ between two runs for other reasons.
const NOISE: f64 = 1.5;
/// The same for the slowest hundredth; and what it may be longer in any case, where the machine lets one of a hundred wait anyway.
const NOISE_OF_SLOWEST: f64 = 2.0;
const SLOWEST_MORE: f64 = 0.050;

pub(crate) async fn run(rounds: u64, requests: u64) {
    println!(
        "{:<22} {:>12} {:>12} {:>7} {:>12} {:>12} {:>7}",
        "third exporter", "alive p50", "dead p50", "ratio", "alive p99", "dead p99", "ratio"
    );
    for (name, settings) in THIRD {
        let (mut alive, mut dead) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            alive.extend(latencies(settings, true, requests).await);
            dead.extend(latencies(settings, false, requests).await);
        }
        let middle = (quantile(&mut alive, 0.5), quantile(&mut dead, 0.5));
        let end = (quantile(&mut alive, 0.99), quantile(&mut dead, 0.99));
        println!(
            "{name:<22} {:>9.2} ms {:>9.2} ms {:>7.2} {:>9.2} ms {:>9.2} ms {:>7.2}",
            middle.0 * 1e3,
            middle.1 * 1e3,
            middle.1 / middle.0,
            end.0 * 1e3,
            end.1 * 1e3,
            end.1 / end.0
        );
        assert!(middle.1 < middle.0 * NOISE, "a dead exporter {name} delays the others");
        let slowest = (end.0 * NOISE_OF_SLOWEST).max(end.0 + SLOWEST_MORE);
        assert!(end.1 < slowest, "a dead exporter {name} delays some batches to the others");
    }
}

/// From the sending of each request to its arrival at each of the first two, in seconds.
async fn latencies(third: &str, alive: bool, requests: u64) -> Vec<f64> {
    let sinks = [Sink::start().await, Sink::start().await, Sink::start().await];
    let (port, status) = (free_port(), format!("127.0.0.1:{}", free_port()));
    let mut third_address = sinks[2].address;
    if !alive {
        third_address.set_port(free_port());
    }
    let yaml = format!(
        "
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"127.0.0.1:{port}\"}}}}}}}}
exporters:
  otlp/one: {{endpoint: \"http://{}\"}}
  otlp/two: {{endpoint: \"http://{}\"}}
  otlp/three: {{endpoint: \"http://{third_address}\", {third}}}
extensions: {{health_check: {{endpoint: \"{status}\"}}}}
service:
  extensions: [health_check]
  telemetry: {{logs: {{level: error}}, metrics: {{readers: []}}}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [otlp/three, otlp/one, otlp/two]}}}}
",
        sinks[0].address, sinks[1].address
    );
    let program = Minicol::start("dead-exporter", &yaml, &status).await;
    let (mut client, shape) = (client(&format!("127.0.0.1:{port}")).await, Shape::of(10));
    client.export(shape.request(u64::from(u32::MAX))).await.expect("it is taken");
    sleep(WARM_UP).await;
    let mut ticks = interval(PACE);
    let mut sent = Vec::new();
    for number in 0..requests {
        ticks.tick().await;
        sent.push(Instant::now());
        client.export(shape.request(number)).await.expect("it is taken");
    }
    for sink in &sinks[..2] {
        for _ in 0..100 {
            if sink.requests() as u64 > requests {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    // Checked in passing.
    program.books().await;
    drop(program);
    let took = |sink: &Sink| -> Vec<f64> {
        let arrived = sink.arrived.lock().unwrap();
        let one = |number: u64| {
            let at = arrived.get(&number).and_then(|times| times.first()).expect("every request arrives");
            at.duration_since(sent[usize::try_from(number).unwrap()]).as_secs_f64()
        };
        (0..requests).map(one).collect()
    };
    sinks[..2].iter().flat_map(took).collect()
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a place in a list
    let at = ((values.len() - 1) as f64 * share) as usize;
    values[at]
}
