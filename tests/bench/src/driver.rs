//! Starts every role, measures, and prints the table.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use comfy_table::Table;
use minicol_bench::Mapper;
use tempfile::TempDir;

use crate::{
    link_order,
    process::{Process, Talker},
    program,
    world::Pipeline,
};

#[derive(Args)]
pub(crate) struct Wanted {
    /// How many receivers poll as many servers, each with a session of its own.
    #[arg(long, default_value_t = 2000)]
    targets: u32,
    /// Seconds between two polls of each of them.
    #[arg(long, default_value_t = 30)]
    interval: u64,
    /// Milliseconds between two polls where there is one target.
    #[arg(long, default_value_t = 5)]
    every: u64,
    /// Seconds that one measurement of CPU time takes.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often each is measured; the best counts, for others use the machine as well.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Plain JSON replies instead of event streams.
    #[arg(long)]
    json: bool,
    /// Measures this program instead of one that is built first.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Measures only this; can be given several times.
    #[arg(long, value_enum)]
    only: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Size, start, idle memory.
    Program,
    /// Points a second.
    Mapping,
    /// CPU per cycle of one target.
    One,
    /// CPU per cycle and memory of many.
    Many,
}

/// What goes on during a measurement.
struct Bench<'a> {
    wanted: &'a Wanted,
    program: PathBuf,
    folder: TempDir,
    server: Talker,
    mcp_port: u16,
    otlp_port: u16,
}

/// What the server counted.
#[derive(Clone, Copy)]
struct Counts {
    calls: u64,
    exports: u64,
    points: u64,
    sessions: u64,
}

pub(crate) fn run(wanted: &Wanted) -> anyhow::Result<()> {
    let parts = |part| wanted.only.is_empty() || wanted.only.contains(&part);
    let mut table = Table::new();
    table.set_header(["what", "measured", "floor", "goal"]);
    if parts(Part::Mapping) {
        mapping(wanted, &mut table)?;
    }
    if [Part::Program, Part::One, Part::Many].into_iter().any(parts) {
        let mut bench = Bench::new(wanted)?;
        if parts(Part::Program) {
            bench.program(&mut table)?;
        }
        bench.save_points()?;
        if parts(Part::One) {
            bench.one(&mut table)?;
        }
        if parts(Part::Many) {
            bench.many(&mut table)?;
        }
    }
    println!("{table}");
    Ok(())
}

/// Lets the program poll a few times, and writes which functions ran.
pub(crate) fn link_order(wanted: Wanted, options: &link_order::Options) -> anyhow::Result<()> {
    let wanted = Wanted { program: Some(options.program()?), targets: 1, ..wanted };
    let mut bench = Bench::new(&wanted)?;
    let (config, health) = bench.pipeline(1, 1)?;
    let profile = bench.folder.path().join("profile");
    let mut minicol = Process::start(&mut link_order::profiled(&bench.program, &config, &profile))?;
    bench.wait(|counts| counts.exports >= 5)?;
    ensure!(program::is_healthy(health), "minicol is not well");
    minicol.end()?;
    link_order::write(options, &bench.program, &profile)
}

/// Maps parsed answers of the contract for a second of CPU time, each round.
fn mapping(wanted: &Wanted, table: &mut Table) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for (what, cycles) in [("mapping, every value changes", 512), ("mapping, no value changes", 1)] {
        let mut best: f64 = 0.0;
        for _ in 0..wanted.rounds {
            let mut mapper = Mapper::new(cycles);
            let points = runtime.block_on(mapper.mapped()).items();
            let (mut spent, mut done) = (Duration::ZERO, 0);
            while spent < Duration::from_secs(1) {
                let answers: Vec<_> = (0..1000).map(|_| mapper.answers()).collect();
                let before = own_cpu()?;
                runtime.block_on(async {
                    for batch in answers {
                        mapper.map(batch).await;
                    }
                });
                spent += own_cpu()?.saturating_sub(before);
                done += 1000 * points;
            }
            best = best.max(done as f64 / spent.as_secs_f64());
        }
        table.add_row([what, &format!("{:.2} M points/s", best / 1e6), "", "1 M points/s"]);
    }
    Ok(())
}

/// The CPU time of this thread.
fn own_cpu() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
}

impl<'a> Bench<'a> {
    fn new(wanted: &'a Wanted) -> anyhow::Result<Self> {
        let program = wanted.program.clone().map_or_else(program::build, Ok)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["server", "--targets", &wanted.targets.to_string()]);
        if wanted.json {
            command.arg("--json");
        }
        let mut server = Talker::start(&mut command)?;
        let ports = server.hear()?;
        let (mcp, otlp) = ports.split_once(' ').context("two ports")?;
        let (mcp_port, otlp_port) = (mcp.parse()?, otlp.parse()?);
        Ok(Self { wanted, program, folder: TempDir::new()?, server, mcp_port, otlp_port })
    }

    /// Size, start, idle memory.
    fn program(&mut self, table: &mut Table) -> anyhow::Result<()> {
        let size = std::fs::metadata(&self.program)?.len() as f64 / 1e6;
        table.add_row(["size of the program", &format!("{size:.1} MB"), "", "15 MB (profile dist)"]);
        let mut times = Vec::new();
        for _ in 0..20 {
            let (config, health) = self.pipeline(1, 30)?;
            times.push(program::time_to_healthy(&self.program, &config, health)?);
        }
        times.sort();
        let [best, median] = [times[0], times[times.len() / 2]].map(|time| time.as_secs_f64() * 1e3);
        table.add_row([
            "start to listening",
            &format!("{best:.1} ms (median of {} {median:.1})", times.len()),
            "",
            "15 ms",
        ]);
        let before = self.counts()?;
        let (config, _) = self.pipeline(1, 30)?;
        let minicol = program::start(&self.program, &config)?;
        self.wait(|counts| counts.exports > before.exports)?;
        std::thread::sleep(Duration::from_secs(5));
        let (all, anonymous) = minicol.memory()?;
        let memory = format!("{:.1} MiB ({:.1} without files)", all as f64 / 1024.0, anonymous as f64 / 1024.0);
        table.add_row(["idle memory, one target", &memory, "", "12 MiB"]);
        Ok(())
    }

    /// CPU per cycle of one target.
    fn one(&mut self, table: &mut Table) -> anyhow::Result<()> {
        let every = self.wanted.every;
        let (mut ours, mut floor, mut in_turn) = (f64::MAX, f64::MAX, f64::MAX);
        for _ in 0..self.wanted.rounds {
            let (config, _) = self.pipeline(1, 1)?;
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["paced", "--every", &every.to_string(), "--config"]).arg(config);
            ours = ours.min(self.cpu_per_cycle(&Process::start(&mut command)?, 1)?);
            floor = floor.min(self.cpu_per_cycle(&self.floor(1, every, false)?, 1)?);
            in_turn = in_turn.min(self.cpu_per_cycle(&self.floor(1, every, true)?, 1)?);
        }
        table.add_row(Self::row(&format!("CPU per cycle, one target, every {every} ms"), ours, floor, in_turn));
        Ok(())
    }

    /// CPU per cycle, and memory, of many targets.
    fn many(&mut self, table: &mut Table) -> anyhow::Result<()> {
        let (targets, interval) = (self.wanted.targets, self.wanted.interval);
        let (mut ours, mut floor, mut in_turn) = (f64::MAX, f64::MAX, f64::MAX);
        let (mut memory, mut floor_memory) = (u64::MAX, u64::MAX);
        for _ in 0..self.wanted.rounds {
            let (config, _) = self.pipeline(targets, interval)?;
            let minicol = program::start(&self.program, &config)?;
            ours = ours.min(self.cpu_per_cycle(&minicol, targets)?);
            memory = memory.min(minicol.memory()?.0);
            drop(minicol);
            let bare = self.floor(targets, interval * 1000, false)?;
            floor = floor.min(self.cpu_per_cycle(&bare, targets)?);
            floor_memory = floor_memory.min(bare.memory()?.0);
            drop(bare);
            in_turn = in_turn.min(self.cpu_per_cycle(&self.floor(targets, interval * 1000, true)?, targets)?);
        }
        table.add_row(Self::row(
            &format!("CPU per cycle, {targets} targets, every {interval} s"),
            ours,
            floor,
            in_turn,
        ));
        let each = |kib: u64| kib as f64 / f64::from(targets);
        table.add_row([
            &format!("memory per target, {targets} targets"),
            &format!("{:.1} KiB", each(memory)),
            &format!("{:.1} KiB", each(floor_memory)),
            "80 KiB",
        ]);
        Ok(())
    }

    fn row(what: &str, ours: f64, floor: f64, in_turn: f64) -> [String; 4] {
        [
            what.to_owned(),
            format!("{ours:.0} us ({:.2} x floor)", ours / floor),
            format!("{floor:.0} us (calls in turn: {in_turn:.0} us)"),
            "2 x floor".to_owned(),
        ]
    }

    /// Microseconds of CPU per cycle of `process`, once all targets have been polled.
    fn cpu_per_cycle(&mut self, process: &Process, targets: u32) -> anyhow::Result<f64> {
        let before = self.counts()?;
        let all = u64::from(targets);
        self.wait(|now| now.sessions >= before.sessions + all && now.exports >= before.exports + all)?;
        std::thread::sleep(Duration::from_secs(1));
        let (began, cpu) = (self.counts()?, process.cpu()?);
        std::thread::sleep(Duration::from_secs(self.wanted.seconds));
        let (ended, spent) = (self.counts()?, process.cpu()?.saturating_sub(cpu));
        let cycles = (ended.calls - began.calls) as f64 / 4.0;
        let exported = (ended.exports - began.exports) as f64;
        ensure!((exported / cycles - 1.0).abs() < 0.02, "{cycles} cycles, but {exported} exports");
        let per_cycle = spent.as_secs_f64() * 1e6 / cycles;
        let points = (ended.points - began.points) as f64 / exported;
        eprintln!("  {per_cycle:.0} us per cycle, {cycles} cycles, {points:.1} points each");
        Ok(per_cycle)
    }

    fn floor(&self, targets: u32, every: u64, in_turn: bool) -> anyhow::Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        let number = |number: u64| number.to_string();
        command.args(["floor", "--targets", &targets.to_string(), "--every", &number(every)]);
        command.args(["--mcp-port", &self.mcp_port.to_string(), "--otlp-port", &self.otlp_port.to_string()]);
        command.arg("--points").arg(self.points());
        if in_turn {
            command.arg("--in-turn");
        }
        Process::start(&mut command)
    }

    /// What minicol makes of one target's answers is what the floor sends.
    fn save_points(&mut self) -> anyhow::Result<()> {
        let before = self.counts()?;
        let (config, _) = self.pipeline(1, 1)?;
        let _minicol = program::start(&self.program, &config)?;
        self.wait(|counts| counts.exports >= before.exports + 2)?;
        let path = self.points();
        self.server.ask(&format!("save {}", path.display()))?;
        Ok(())
    }

    fn points(&self) -> PathBuf {
        self.folder.path().join("points")
    }

    fn pipeline(&self, targets: u32, interval_seconds: u64) -> anyhow::Result<(PathBuf, u16)> {
        let path = self.folder.path().join("pipeline.yaml");
        let [page_port, health_port] = [program::free_port()?, program::free_port()?];
        let Self { mcp_port, otlp_port, .. } = *self;
        Pipeline { targets, interval_seconds, mcp_port, otlp_port, page_port, health_port }.write(&path)?;
        Ok((path, health_port))
    }

    fn wait(&mut self, done: impl Fn(Counts) -> bool) -> anyhow::Result<()> {
        for _ in 0..6000 {
            if done(self.counts()?) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        anyhow::bail!("waited for two minutes, and the polls did not come")
    }

    fn counts(&mut self) -> anyhow::Result<Counts> {
        let line = self.server.ask("counts")?;
        let numbers = line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [calls, exports, points, sessions] = numbers[..] else { anyhow::bail!("the server said {line}") };
        Ok(Counts { calls, exports, points, sessions })
    }
}
