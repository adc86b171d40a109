//! The configuration that runs, as it is shown, packed: of thousands of targets it would take more memory than polling them, and hardly anybody looks.

use std::io;

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use minicol_plugin::Setting;

/// Settings that nobody looks at now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed(Box<[u8]>);

impl Packed {
    pub(crate) fn of(settings: &[Setting]) -> Self {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        // Neither can fail: it is memory that is written to, and settings are JSON.
        let written = serde_json::to_writer(&mut packed, settings).map_err(io::Error::from);
        Self(written.and_then(|()| packed.finish()).unwrap_or_default().into())
    }

    pub(crate) fn settings(&self) -> Vec<Setting> {
        if self.0.is_empty() {
            return Vec::new();
        }
        serde_json::from_reader(io::BufReader::new(DeflateDecoder::new(&*self.0))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_was_and_is_small_meanwhile() {
        let setting = |target: u32| Setting {
            path: format!("receivers::session_buddy/{target}::timeout_seconds"),
            value: json!({"a": [1.5, null, "text"]}),
            place: target.is_multiple_of(2).then(|| format!("minicol.yaml:{target}:5")),
        };
        let settings: Vec<_> = (0..1000).map(setting).collect();
        let packed = Packed::of(&settings);
        assert_eq!(packed.settings(), settings);
        assert!(packed.0.len() < 40_000, "{}", packed.0.len());
        assert_eq!(Packed::default().settings(), []);
    }
}
