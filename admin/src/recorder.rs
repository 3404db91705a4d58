//! The Prometheus recorder.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::time::Duration;

/// How often samples of histograms are folded into their buckets; between scrapes they would pile up.
pub(crate) const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Seconds, from half a millisecond (one sync, one local round trip) to an hour (some retries).
const SECONDS: [f64; 20] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    900.0, 3600.0,
];
/// Messages in one commit.
const BATCH: [f64; 13] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

/// There can be one recorder only.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be set up: {0}")]
pub struct RecorderError(String);

/// Makes Prometheus the recorder of this process, once, before the first metric is registered. Without an admin server to
/// look after it (`[admin] bind = "off"`) do not install it: nothing would fold its histograms.
///
/// # Errors
/// There is a recorder already.
pub fn install_recorder() -> Result<PrometheusHandle, RecorderError> {
    let recorder = builder()?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|error| RecorderError(error.to_string()))?;
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, RecorderError> {
    let failed = |error: metrics_exporter_prometheus::BuildError| RecorderError(error.to_string());
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_batch_size".into()), &BATCH))
        .map_err(failed)
}

/// A recorder of its own, for tests.
#[cfg(test)]
pub(crate) fn local() -> metrics_exporter_prometheus::PrometheusRecorder {
    builder().unwrap().build_recorder()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_buckets() {
        let recorder = local();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("x_seconds").record(0.002);
            metrics::histogram!("x_batch_size").record(3.0);
        });
        let text = recorder.handle().render();
        for line in
            ["x_seconds_bucket{le=\"0.001\"} 0", "x_seconds_bucket{le=\"0.0025\"} 1", "x_batch_size_bucket{le=\"4\"} 1"]
        {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
    }
}
