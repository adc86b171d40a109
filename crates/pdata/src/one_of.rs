//! What JSON loses without a word: where a message holds one of several fields (`oneof`), the decoder takes one that it does not understand for none.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Members that are one of several; those whose names other members have, too, are objects where they are meant.
const OBJECTS: [&str; 5] = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"];
const VALUES: [&str; 9] = [
    "asInt",
    "asDouble",
    "stringValue",
    "boolValue",
    "intValue",
    "doubleValue",
    "arrayValue",
    "kvlistValue",
    "bytesValue",
];

/// How many such members a text has. Nothing is kept of it.
pub(crate) fn count(text: &[u8]) -> Result<usize, serde_json::Error> {
    let mut found = 0;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Look { found: &mut found, under: Under::Another }.deserialize(&mut deserializer)?;
    Ok(found)
}

/// Under which name a value stands.
#[derive(Clone, Copy, PartialEq)]
enum Under {
    Object,
    Value,
    Another,
}

struct Look<'a> {
    found: &'a mut usize,
    under: Under,
}

impl Look<'_> {
    fn scalar(self) {
        *self.found += usize::from(self.under == Under::Value);
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        *self.found += usize::from(self.under != Under::Another);
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let under = match &*name {
                name if OBJECTS.contains(&name) => Under::Object,
                name if VALUES.contains(&name) => Under::Value,
                _ => Under::Another,
            };
            map.next_value_seed(Look { found: self.found, under })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        *self.found += usize::from(self.under == Under::Value);
        while list.next_element_seed(Look { found: self.found, under: Under::Another })?.is_some() {}
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.scalar();
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.scalar();
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.scalar();
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.scalar();
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.scalar();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Logs, Metrics};

    fn metrics(data: &str) -> String {
        format!("{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"name\":\"a\",{data}}}]}}]}}]}}")
    }

    #[test]
    fn a_number_that_is_not_understood_is_an_error_and_no_loss() {
        for data in [
            r#""gauge":{"dataPoints":[{"timeUnixNano":"99999999999999999999","asInt":"1"}]}"#,
            r#""gauge":{"dataPoints":[{"timeUnixNano":"1","asInt":"1.5"}]}"#,
            r#""gauge":{"dataPoints":[{"timeUnixNano":"1","asDouble":"much"}]}"#,
            r#""sum":{"dataPoints":"none"}"#,
            r#""gauge":{"dataPoints":[{"asInt":"1","attributes":[{"key":"k","value":{"intValue":"x"}}]}]}"#,
        ] {
            let error = Metrics::from_json(metrics(data).as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("not an OTLP metrics request: "), "{data}: {error}");
        }
        let log = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"boolValue":"perhaps"}}]}]}]}"#;
        assert!(Logs::from_json(log.as_bytes()).is_err());
    }

    #[test]
    fn what_is_understood_stays_so() {
        for data in [
            r#""gauge":{"dataPoints":[{"timeUnixNano":"1","asInt":"1"},{"asInt":2},{"asDouble":1.5}]}"#,
            r#""histogram":{"dataPoints":[{"count":"3","sum":4.5,"bucketCounts":["1","2"],"explicitBounds":[1]}]}"#,
            r#""summary":{"dataPoints":[{"count":"3"}]},"unit":null"#,
            r#""sum":{"dataPoints":[{"asInt":"1","attributes":[{"key":"k","value":{"arrayValue":{"values":[{"boolValue":false}]}}}]}]}"#,
            r#""description":"asInt","gauge":{}"#,
        ] {
            let decoded = Metrics::from_json(metrics(data).as_bytes());
            assert!(decoded.is_ok(), "{data}: {decoded:?}");
        }
    }
}
