//! Event streams, as the HTML standard reads them (9.2.6): what no field says is passed over, of two the last counts. A parser of our own,
//! because those that are well kept take such streams for broken.

use std::{mem, time::Duration};

use bytes::{Buf, Bytes};

/// One event. All that is not set in it was not said.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Event {
    pub(super) name: Option<String>,
    pub(super) data: Option<Vec<u8>>,
    pub(super) id: Option<String>,
    pub(super) retry: Option<Duration>,
}

/// What of a stream was read, but is no whole event yet.
#[derive(Default)]
pub(super) struct Events {
    began: bool,
    after_return: bool,
    line: Vec<u8>,
    event: Event,
    /// A line that no standard knows.
    odd: Option<String>,
}

impl Events {
    /// Reads on until an event is whole, and leaves the rest in `bytes`; `None` where none is.
    pub(super) fn read(&mut self, bytes: &mut Bytes) -> Option<Event> {
        if mem::take(&mut self.after_return) && bytes.first() == Some(&b'\n') {
            bytes.advance(1);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let rest = bytes.split_to(end);
            let ends_in_return = bytes.first() == Some(&b'\r');
            bytes.advance(1);
            match bytes.first() {
                Some(b'\n') if ends_in_return => bytes.advance(1),
                None => self.after_return = ends_in_return,
                Some(_) => {}
            }
            let mut line = mem::take(&mut self.line);
            let event = if line.is_empty() {
                self.take(&rest)
            } else {
                line.extend_from_slice(&rest);
                self.take(&line)
            };
            if event.is_some() {
                return event;
            }
        }
        self.line.extend_from_slice(bytes);
        bytes.clear();
        None
    }

    /// The first line, if there was one, that is none of an event stream.
    pub(super) fn odd(&self) -> Option<&str> {
        self.odd.as_deref()
    }

    fn take(&mut self, line: &[u8]) -> Option<Event> {
        let marked = if mem::replace(&mut self.began, true) { None } else { line.strip_prefix(b"\xEF\xBB\xBF") };
        let line = marked.unwrap_or(line);
        if line.is_empty() {
            return Some(mem::take(&mut self.event)).filter(|event| *event != Event::default());
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || String::from_utf8_lossy(value).into_owned();
        match field {
            b"data" => match &mut self.event.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                none => *none = Some(value.to_vec()),
            },
            b"event" => self.event.name = Some(text()),
            b"id" if !value.contains(&0) => self.event.id = Some(text()),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                let retry = text().parse().ok().map(Duration::from_millis);
                self.event.retry = retry.or(self.event.retry);
            }
            b"" | b"id" | b"retry" => {}
            _ => {
                self.odd.get_or_insert_with(|| String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole, and in pieces of every size up to three.
    fn events(stream: &str) -> (Vec<Event>, Option<String>) {
        let read = |size: usize| {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                let mut bytes = Bytes::copy_from_slice(piece);
                while let Some(event) = events.read(&mut bytes) {
                    found.push(event);
                }
                assert!(bytes.is_empty());
            }
            (found, events.odd)
        };
        let whole = read(stream.len().max(1));
        for size in 1..=3 {
            assert_eq!(read(size), whole, "in pieces of {size}: {stream:?}");
        }
        whole
    }

    fn data(text: &str) -> Event {
        Event { data: Some(text.into()), ..Event::default() }
    }

    #[test]
    fn lines_end_in_three_ways_and_what_is_no_whole_event_is_none() {
        for end in ["\r\n", "\r", "\n"] {
            let stream = format!("\u{feff}data: a{end}data:b{end}{end}: hello{end}{end}data{end}{end}data: half{end}");
            assert_eq!(events(&stream), (vec![data("a\nb"), data("")], None), "{end:?}");
        }
        assert_eq!(events(""), (Vec::new(), None));
    }

    /// HTML 9.2.6: a field that is not known is ignored, a line without a colon is a field without a value, a `retry` that is no number and an `id`
    /// that holds NUL are ignored, and of two the last counts.
    #[test]
    fn what_the_standard_passes_over_is_passed_over() {
        let stream =
            "foo: bar\nbaz\nretry: soon\nretry: 5\nretry: -1\nevent: a\nevent: b\nid: 1\nid: 2\nid: 3\0\ndata: x\n\n";
        let expected = Event {
            name: Some("b".to_owned()),
            data: Some("x".into()),
            id: Some("2".to_owned()),
            retry: Some(Duration::from_millis(5)),
        };
        assert_eq!(events(stream), (vec![expected], Some("foo: bar".to_owned())));
        assert_eq!(events("garbage\n\n"), (Vec::new(), Some("garbage".to_owned())));
    }
}
