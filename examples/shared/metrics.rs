//! The block that `--print-metrics` adds, as Kafka's `ToolsUtils.printMetrics` prints it.

use std::fmt::Write;

use milena::Metrics;

/// A blank line, a header and a row for each metric, in columns.
pub(crate) fn block(metrics: &Metrics) -> String {
    let rows: Vec<_> = metrics.iter().map(|metric| (metric.to_string(), metric.value())).collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let mut block = format!("\n{:width$}   Value", "Metric Name");
    for (name, value) in rows {
        // Writing to a text cannot fail.
        let _ = write!(block, "\n{name:width$} : {value}");
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use milena::{Producer, ProducerConfig};

    #[tokio::test]
    async fn the_columns_and_the_forms_of_values() {
        let config = ProducerConfig::builder()
            .bootstrap_servers("127.0.0.1:1")
            .client_id("perf-producer-client")
            .build()
            .unwrap();
        let block = block(&Producer::new(config).metrics());
        let mut lines = block.lines();
        assert_eq!(lines.next(), Some(""));
        let header = lines.next().unwrap();
        let width = header.find("   Value").unwrap();
        assert_eq!(header, format!("{:width$}   Value", "Metric Name"));
        let rows: Vec<_> = lines.map(|line| line.split_at(width)).collect();
        assert!(rows.iter().any(|(name, _)| !name.ends_with(' ')), "as wide as the longest name");
        assert!(rows.iter().all(|(_, value)| value.starts_with(" : ")));
        assert!(rows.is_sorted_by_key(|(name, _)| name.trim_end()));
        for (name, value) in [
            ("app-info:version", concat!(" : ", env!("CARGO_PKG_VERSION"))),
            ("producer-metrics:buffer-total-bytes", " : 33554432.000"),
            ("producer-metrics:request-latency-avg", " : NaN"),
            ("producer-metrics:record-send-total", " : 0.000"),
        ] {
            let name = format!("{name}:{{client-id=perf-producer-client}}");
            let row = rows.iter().find(|(shown, _)| shown.trim_end() == name);
            assert_eq!(row.map(|(_, value)| *value), Some(value), "{name}");
        }
    }
}
