//! The backend is gone for minutes under full load: memory stays under the limit, senders are told to wait, and once it is back all that was accepted
//! arrives.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use minicol_tests::free_port;
use tokio::time::{Instant, sleep};

use crate::{
    load::{Load, Shape},
    program::Minicol,
    sink::Sink,
};

const SENDERS: usize = 16;
const POINTS: usize = 1_000;
/// Before the backend goes, and after it is back.
const BESIDE: Duration = Duration::from_secs(10);

/// How many seconds the backend stays away beyond what was asked for, where nothing was refused yet.
const LONGER: u32 = 300;

/// What is seen while it runs.
struct Watch {
    began: Instant,
    told: Instant,
    highest: f64,
}

pub(crate) async fn run(stopped: Duration, limit_mib: u64) {
    let mut sink = Sink::start().await;
    let (port, status) = (free_port(), format!("127.0.0.1:{}", free_port()));
    let yaml = format!(
        "
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"127.0.0.1:{port}\"}}}}}}}}
processors: {{memory_limiter: {{limit_mib: {limit_mib}}}}}
exporters:
  otlp:
    endpoint: \"http://{}\"
    retry_on_failure: {{initial_interval: 1s, max_interval: 2s, max_elapsed_time: 0s}}
    sending_queue: {{queue_size: 1000000}}
extensions: {{health_check: {{endpoint: \"{status}\"}}}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{readers: []}}}}
  pipelines: {{metrics: {{receivers: [otlp], processors: [memory_limiter], exporters: [otlp]}}}}
",
        sink.address
    );
    let program = Minicol::start("stopped-sink", &yaml, &status).await;
    println!("memory_limiter: limit_mib {limit_mib}; {SENDERS} senders without a pause, {POINTS} points a request");
    println!("idle: RSS {:.1} MiB", program.resident_mib());
    println!(
        "{:>7} {:>9} {:>10} {:>10} {:>9} {:>10}",
        "seconds", "backend", "RSS MiB", "accepted", "refused", "delivered"
    );
    let load = Load::start(&format!("127.0.0.1:{port}"), SENDERS, &Shape::of(POINTS)).await;
    let mut watch = Watch { began: Instant::now(), told: Instant::now(), highest: 0.0 };

    watch.look("up", BESIDE, &program, &load, &sink).await;
    let (address, arrived) = (sink.address, sink.arrived.clone());
    let before = sink.requests();
    sink.go();
    watch.look("gone", stopped, &program, &load, &sink).await;
    // A slow machine needs longer to fill the memory.
    for _ in 0..LONGER {
        if load.done.refused.load(Ordering::Relaxed) > 0 {
            break;
        }
        watch.look("gone", Duration::from_secs(1), &program, &load, &sink).await;
    }
    let refused = load.done.refused.load(Ordering::Relaxed);
    drop(sink);
    let sink = Sink::start_on(address, arrived).await;
    watch.look("back", BESIDE, &program, &load, &sink).await;
    let (done, refused_then) = (std::sync::Arc::clone(&load.done), load.done.refused.load(Ordering::Relaxed));
    let accepted = load.stop().await;
    drain(&program).await;
    watch.tell("drained", &program, (accepted.len() as u64, refused_then), &sink);
    sleep(Duration::from_secs(5)).await;
    watch.tell("later", &program, (accepted.len() as u64, refused_then), &sink);
    let books = program.books().await;
    books.check_at_rest().expect("the books balance at rest");
    program.stop();

    let arrived = sink.arrived.lock().unwrap();
    let there: HashSet<u64> = arrived.keys().copied().collect();
    let missing = accepted.iter().filter(|number| !there.contains(number)).count();
    let twice = arrived.values().filter(|times| times.len() > 1).count();
    let hinted = done.hinted.load(Ordering::Relaxed);
    println!(
        "accepted {} requests, missing {missing}, arrived twice {twice}, refused {refused_then} times ({hinted} with a time to wait), broken {}; highest RSS {:.1} MiB of {limit_mib}",
        accepted.len(),
        done.broken.load(Ordering::Relaxed),
        watch.highest,
    );
    assert_eq!(missing, 0, "all that was accepted arrives");
    assert!(refused > 0 && hinted == done.refused.load(Ordering::Relaxed), "senders are told to wait, and how long");
    assert_eq!(done.broken.load(Ordering::Relaxed), 0, "no answer is another");
    assert!(watch.highest < limit_mib as f64, "RSS stays under the limit");
    assert!(accepted.len() > before, "it accepts again");
    assert_eq!(books.lost(), 0, "nothing is lost");
}

/// Waits until nothing is queued.
async fn drain(program: &Minicol) {
    for _ in 0..1_200 {
        let books = program.books().await;
        if books.accounts.iter().all(|account| account.queued + account.waiting == 0) {
            return;
        }
        sleep(Duration::from_millis(250)).await;
    }
    panic!("the queue does not drain");
}

impl Watch {
    async fn look(&mut self, backend: &str, how_long: Duration, program: &Minicol, load: &Load, sink: &Sink) {
        let until = Instant::now() + how_long;
        // Some twenty lines for each part.
        let pause = (how_long / 20).max(Duration::from_secs(1));
        while Instant::now() < until {
            self.highest = self.highest.max(program.resident_mib());
            if self.told.elapsed() >= pause {
                let done = (load.done.accepted.load(Ordering::Relaxed), load.done.refused.load(Ordering::Relaxed));
                self.tell(backend, program, done, sink);
                let _ = program.books().await;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn tell(&mut self, backend: &str, program: &Minicol, (accepted, refused): (u64, u64), sink: &Sink) {
        self.told = Instant::now();
        let (seconds, resident) = (self.began.elapsed().as_secs_f64(), program.resident_mib());
        println!("{seconds:>7.1} {backend:>9} {resident:>10.1} {accepted:>10} {refused:>9} {:>10}", sink.requests());
    }
}
