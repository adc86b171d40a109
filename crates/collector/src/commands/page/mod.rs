//! A minicol that runs, seen through its status page.

mod client;
mod lines;
mod screen;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use minicol_extension_status_page::api::{Card, Mood, Pipeline, Program};
use minicol_plugin::Phase;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    print,
    signals::{Hangup, Signals},
};
use crate::{
    cli::{Output, PageAt},
    tell,
};
pub(crate) use client::Page;
use screen::{Key, Screen};

/// How often the screen is drawn anew.
const PACE: Duration = Duration::from_secs(1);
/// How long a terminal's lines are where they are written to a file.
const WIDTH: usize = 120;
/// There is no answer: it cannot be told how it is.
const UNKNOWN: u8 = 2;

/// How a program is. What a newer minicol tells beside it is passed over.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    program: Program,
    pipelines: Vec<Pipeline>,
    targets: Vec<Card>,
}

impl Seen {
    /// Nothing is wrong. What an operator paused is as wanted.
    fn is_well(&self) -> bool {
        self.program.phase == Phase::Running && self.program.mood < Mood::Warn
    }
}

async fn ask(page: &Page) -> anyhow::Result<Seen> {
    let (program, pipelines, targets) =
        tokio::try_join!(page.get("status"), page.get("pipelines"), page.get("targets"))?;
    Ok(Seen { program, pipelines, targets })
}

/// How it is, once.
pub(crate) async fn status(page: &PageAt, output: Output) -> anyhow::Result<ExitCode> {
    let asked = async { ask(&Page::at(&page.endpoint)?).await };
    let seen = match asked.await {
        Ok(seen) => seen,
        Err(error) => {
            tell(&format!("error: {error:#}\n"));
            return Ok(ExitCode::from(UNKNOWN));
        }
    };
    match output {
        Output::Table => {
            let lines = lines::of(&seen, WIDTH);
            print(&lines.iter().flat_map(|line| [line.text.trim_end(), "\n"]).collect::<String>())?;
        }
        Output::Json => print(&(serde_json::to_string_pretty(&seen)? + "\n"))?,
    }
    Ok(if seen.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How it is, until a key ends it.
pub(crate) async fn top(page: &PageAt) -> anyhow::Result<ExitCode> {
    if !io::stdout().is_terminal() {
        bail!("top needs a terminal: `minicol status` tells the same once");
    }
    let page = Page::at(&page.endpoint)?;
    let first = ask(&page).await?;
    let mut terminal = ratatui::try_init()?;
    let done = watch(&mut terminal, &page, first).await;
    ratatui::restore();
    done.map(|()| ExitCode::SUCCESS)
}

async fn watch(terminal: &mut DefaultTerminal, page: &Page, first: Seen) -> anyhow::Result<()> {
    let (mut keys, mut signals, mut hangup) = (keys(), Signals::listen()?, Hangup::listen()?);
    let mut screen = Screen::new(page.base(), first);
    let next = || async {
        tokio::time::sleep(PACE).await;
        ask(page).await
    };
    // It goes on while keys are taken: who waits for an answer can quit.
    let asked = next();
    tokio::pin!(asked);
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        tokio::select! {
            biased;
            key = keys.recv() => match key {
                Some(event) => if screen.takes(Key::of(&event)) { return Ok(()) },
                None => bail!("the terminal is gone"),
            },
            // The terminal is given back as it was.
            _ = signals.next() => return Ok(()),
            () = hangup.next() => return Ok(()),
            answer = &mut asked => {
                match answer {
                    Ok(seen) => screen.sees(seen),
                    Err(error) => screen.hears_nothing(&format!("{error:#}")),
                }
                asked.set(next());
            },
        }
    }
}

/// What is typed, and that the window has another size.
fn keys() -> mpsc::Receiver<Event> {
    let (typed, keys) = mpsc::channel(16);
    // It ends with the first event that nobody takes; the program does not wait for it.
    tokio::task::spawn_blocking(move || {
        while let Ok(event) = event::read() {
            if typed.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}
