//! exporter-otlp
