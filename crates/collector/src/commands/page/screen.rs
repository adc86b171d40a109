//! The screen of `top`.

use minicol_extension_status_page::api::Mood;
use ratatui::{
    Frame,
    crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::{Line as Row, Span},
    widgets::Paragraph,
};
use tokio::time::Instant;

use super::{Seen, lines};

/// What is on the screen.
pub(super) struct Screen {
    base: String,
    seen: Seen,
    /// When that was, and why there was nothing newer.
    seen_at: Instant,
    silence: Option<String>,
    scrolled: usize,
    /// How many lines fit.
    room: usize,
}

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Up(usize),
    Down(usize),
    PageUp,
    PageDown,
    Top,
    Bottom,
    Other,
}

impl Key {
    pub(super) fn of(event: &Event) -> Self {
        let Event::Key(key) = event else { return Self::Other };
        if key.kind == KeyEventKind::Release {
            return Self::Other;
        }
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Self::Quit,
            KeyCode::Char('q') | KeyCode::Esc => Self::Quit,
            KeyCode::Up | KeyCode::Char('k') => Self::Up(1),
            KeyCode::Down | KeyCode::Char('j') => Self::Down(1),
            KeyCode::PageUp => Self::PageUp,
            KeyCode::PageDown | KeyCode::Char(' ') => Self::PageDown,
            KeyCode::Home => Self::Top,
            KeyCode::End => Self::Bottom,
            _ => Self::Other,
        }
    }
}

impl Screen {
    pub(super) fn new(base: &str, seen: Seen) -> Self {
        Self { base: base.to_owned(), seen, seen_at: Instant::now(), silence: None, scrolled: 0, room: 1 }
    }

    pub(super) fn sees(&mut self, seen: Seen) {
        (self.seen, self.seen_at) = (seen, Instant::now());
        self.silence = None;
    }

    /// What is on the screen stays, and is told to be old.
    pub(super) fn hears_nothing(&mut self, why: &str) {
        self.silence = Some(why.to_owned());
    }

    /// Whether it ends.
    pub(super) fn takes(&mut self, key: Key) -> bool {
        let page = self.room.max(2) - 1;
        self.scrolled = match key {
            Key::Quit => return true,
            Key::Up(by) => self.scrolled.saturating_sub(by),
            Key::Down(by) => self.scrolled + by,
            Key::PageUp => self.scrolled.saturating_sub(page),
            Key::PageDown => self.scrolled + page,
            Key::Top => 0,
            Key::Bottom => usize::MAX / 2,
            Key::Other => self.scrolled,
        };
        false
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [body, foot] = Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
        let mut lines = lines::of(&self.seen, usize::from(body.width));
        if self.silence.is_some() {
            // Above what was well, perhaps, when it was last seen.
            let old = lines::span(self.seen_at.elapsed().as_secs_f64());
            let text = format!("✗ no answer from minicol: this was so {old} ago");
            lines.insert(0, lines::Line { mood: Mood::Bad, heads: true, text });
        }
        self.room = usize::from(body.height);
        self.scrolled = self.scrolled.min(lines.len().saturating_sub(self.room));
        let shown = lines.iter().skip(self.scrolled).take(self.room);
        let rows = shown.map(|line| Row::from(Span::styled(line.text.as_str(), style(line.mood, line.heads))));
        frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), body);
        let foot_line = if let Some(why) = &self.silence {
            Span::styled(format!("✗ {why}"), style(Mood::Bad, true))
        } else {
            let below = lines.len().saturating_sub(self.scrolled + self.room);
            let more = if below > 0 { format!("  ↓ {below} more lines") } else { String::new() };
            Span::styled(format!("q quits{more}  {}", self.base), Style::new().add_modifier(Modifier::DIM))
        };
        frame.render_widget(Paragraph::new(foot_line), foot);
    }
}

/// What is wrong stands out, what is right is quiet. Every line has its sign, too.
fn style(mood: Mood, heads: bool) -> Style {
    let style = match mood {
        Mood::Good | Mood::Idle => Style::new(),
        Mood::Paused => Style::new().fg(Color::Magenta),
        Mood::Warn => Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD),
        Mood::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    };
    match (heads, mood) {
        (true, Mood::Warn | Mood::Bad) => style.add_modifier(Modifier::REVERSED),
        (true, _) => style.add_modifier(Modifier::BOLD),
        (false, _) => style,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyEvent};
    use serde_json::json;

    use super::*;

    fn seen() -> Seen {
        let node = |kind: &str, id: &str, mood: &str, status: &str, message: &str| {
            json!({"kind": kind, "id": id, "mood": mood, "status": status, "since": 40.0, "message": message,
                   "queued": 5, "failed": {"timeout": 4}, "more": "is passed over"})
        };
        let seen = json!({
            "program": {"phase": "running", "mood": "bad", "summary": "1 component not working.", "up_since": 10.0, "now": 100.0, "lost": 7, "last_lost": 60.0,
                "troubles": [{"kind": "exporter", "id": "otlp", "anchor": "", "mood": "bad", "since": 40.0,
                              "message": "the backend says: \u{1b}[31mno, and it says so at some length, so that it must wrap"}],
                "reload": {"outcomes": {"invalid": 1}, "last": {"at": 70.0, "outcome": "invalid", "errors": ["a.yaml:3:5: unknown key"],
                           "kept": 0, "replaced": [], "added": [], "removed": [], "pipelines": []}}},
            "pipelines": [{
                "name": "metrics",
                "nodes": [
                    node("receiver", "session_buddy", "good", "OK", "is quiet where it is well"),
                    node("exporter", "otlp", "bad", "PermanentError", "is told above"),
                ],
                "arrows": [{"from": "session_buddy", "to": "otlp", "signal": "metrics", "rate": 1.25, "lost": 3, "lost_lately": 2, "refused_lately": 5}],
            }],
            "targets": [{
                "id": "session_buddy", "mood": "paused", "endpoint": "http://localhost:8678/mcp", "paused": true, "up": true,
                "up_changed": 20.0, "poll_cycles": 7, "errors": 1, "missed_ticks": 0, "last_poll_time": 98.0, "last_poll_seconds": 0.02,
                "last_error": {"at": 90.0, "message": "refused"},
                "tools": {"get_liveness": {"outcome": "breaker_open", "last_answer": 30.0, "last_seconds": 0.5,
                                           "last_error": {"at": 89.0, "error_type": "tool", "message": "no such table"}}},
                "breakers": {"get_liveness": {"state": "open", "failures": 5, "open_until": 111.5}},
            }],
        });
        serde_json::from_value(seen).unwrap()
    }

    fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>().trim_end().to_owned();
        (0..height).map(row).collect()
    }

    #[test]
    fn it_shows_what_is_wrong_and_since_when() {
        let text = drawn(&mut Screen::new("http://here", seen()), 130, 30).join("\n");
        for told in [
            "✗ 1 component not working.",
            "✗ exporter otlp for 1 min 0 s: the backend says: \\u{1b}[31mno",
            "✗ the last reload was invalid, 30 s ago: what ran before goes on",
            "    a.yaml:3:5: unknown key",
            "minicol runs for 1 min 30 s; 7 items lost since the start, the last 40 s ago",
            "✓ receiver session_buddy  OK for 1 min 0 s, 5 queued",
            "metrics 1.25/s → otlp; 3 lost since the start",
            "✗ 2 items lost within the last minute",
            "▲ 5 items refused within the last minute",
            "✗ exporter otlp           PermanentError",
            "failed since the start 4 (timeout)",
            "‖ session_buddy  paused  http://localhost:8678/mcp",
            "7 polls, 1 error, 0 missed; the last 2 s ago, took 20 ms",
            "✗ get_liveness  not asked, last answer 1 min 10 s ago, took 500 ms, breaker open, 12 s left, 5 failures",
            "no such table",
            "q quits  http://here",
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
        assert!(!text.contains("is quiet where it is well") && !text.contains("is told above"));
    }

    #[test]
    fn a_narrow_one_wraps_and_scrolls_and_any_size_is_drawn() {
        let mut screen = Screen::new("http://here", seen());
        for (width, height) in [(1, 1), (1, 40), (200, 1), (7, 7)] {
            drawn(&mut screen, width, height);
        }
        let first = drawn(&mut screen, 30, 12);
        assert!(first[0].starts_with("✗ 1 component not working.") && first[11].contains("more lines"), "{first:?}");
        assert!(!screen.takes(Key::Bottom));
        let last = drawn(&mut screen, 30, 12);
        assert!(last[10].contains("no such table"), "{last:?}");
        screen.takes(Key::PageUp);
        assert!(screen.scrolled > 0, "a page up from the end is not the top");
        screen.takes(Key::Top);
        assert_eq!(drawn(&mut screen, 30, 12), first);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_is_told_to_be() {
        let mut screen = Screen::new("http://here", seen());
        tokio::time::advance(Duration::from_secs(75)).await;
        screen.hears_nothing("connection refused");
        let rows = drawn(&mut screen, 60, 10);
        assert_eq!(rows[0], "✗ no answer from minicol: this was so 1 min 15 s ago");
        assert_eq!(rows[9], "✗ connection refused");
        screen.sees(seen());
        assert!(!drawn(&mut screen, 60, 10).join("\n").contains("no answer"));
    }

    #[test]
    fn it_quits_with_q_and_as_programs_do() {
        let key = |code, modifiers| Key::of(&Event::Key(KeyEvent::new(code, modifiers)));
        for (code, modifiers) in [
            (KeyCode::Char('q'), KeyModifiers::NONE),
            (KeyCode::Esc, KeyModifiers::NONE),
            (KeyCode::Char('c'), KeyModifiers::CONTROL),
        ] {
            assert!(Screen::new("", seen()).takes(key(code, modifiers)), "{code:?}");
        }
        assert!(!Screen::new("", seen()).takes(key(KeyCode::Char('c'), KeyModifiers::NONE)));
    }
}
