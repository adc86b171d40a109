//! A minicol that runs, seen through its status page.

mod client;
mod lines;
mod screen;
mod seen;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use tokio::{sync::mpsc, time::timeout};

use super::print;
use crate::{
    cli::{Output, PageAt},
    tell,
};
use client::Page;
use screen::{Key, Screen};
use seen::Seen;

/// How often the screen is drawn anew.
const PACE: Duration = Duration::from_secs(1);
/// How long a terminal's lines are where they are written to a file.
const WIDTH: usize = 120;
/// There is no answer: it cannot be told how it is.
const UNKNOWN: u8 = 2;

/// How it is, once.
pub(crate) async fn status(page: &PageAt, output: Output) -> anyhow::Result<ExitCode> {
    let page = Page::at(&page.endpoint)?;
    let seen = match page.seen().await {
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
        Output::Json => print(&(serde_json::to_string_pretty(&page.whole().await?)? + "\n"))?,
    }
    Ok(if seen.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How it is, until a key ends it.
pub(crate) async fn top(page: &PageAt) -> anyhow::Result<ExitCode> {
    if !io::stdout().is_terminal() {
        bail!("top needs a terminal: `minicol status` tells the same once");
    }
    let page = Page::at(&page.endpoint)?;
    let first = page.seen().await?;
    let mut terminal = ratatui::try_init()?;
    let done = watch(&mut terminal, &page, first).await;
    ratatui::restore();
    done.map(|()| ExitCode::SUCCESS)
}

async fn watch(terminal: &mut DefaultTerminal, page: &Page, first: Seen) -> anyhow::Result<()> {
    let mut keys = keys();
    let mut screen = Screen::new(page.base(), first);
    let mut next = tokio::time::interval(PACE);
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        tokio::select! {
            biased;
            key = keys.recv() => match key {
                Some(event) => if screen.takes(Key::of(&event)) { return Ok(()) },
                None => bail!("the terminal is gone"),
            },
            _ = next.tick() => match timeout(client::PATIENCE, page.seen()).await {
                Ok(Ok(seen)) => screen.sees(seen),
                Ok(Err(error)) => screen.hears_nothing(&format!("{error:#}")),
                Err(_) => screen.hears_nothing("it does not answer"),
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
