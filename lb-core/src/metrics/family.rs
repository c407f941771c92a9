//! From a line of the table and its samples to Prometheus' own types.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto;

use super::names::{Kind, Metric};
use crate::counters::{DURATION_BUCKETS_US, Durations};

/// What one series shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// A counter or a gauge, as the table says.
    Number(f64),
    Histogram(Histogram),
    /// Seconds in all, and how many times.
    Summary {
        sum: f64,
        count: u64,
    },
}

impl From<u64> for Sample {
    fn from(count: u64) -> Self {
        Self::Number(count as f64)
    }
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<bool> for Sample {
    fn from(holds: bool) -> Self {
        Self::Number(f64::from(holds))
    }
}

/// Durations in seconds, as the scrape shows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Not cumulative, over [`DURATION_BUCKETS_US`] and one above.
    counts: [u64; DURATION_BUCKETS_US.len() + 1],
    sum: f64,
}

/// All series of one metric; label values stand in the order of the table.
pub fn family<const N: usize, S: Into<Sample>>(
    metric: &Metric,
    series: impl Iterator<Item = ([String; N], S)>,
) -> proto::MetricFamily {
    debug_assert_eq!(N, metric.labels.len(), "{}", metric.name);
    let series = series.map(|(values, sample)| to_proto(metric, values, &sample.into())).collect();
    let mut family = proto::MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(field_type(metric.kind));
    family.set_metric(series);
    family
}

/// A metric without labels.
pub fn alone(metric: &Metric, value: impl Into<Sample>) -> proto::MetricFamily {
    family(metric, std::iter::once(([], value)))
}

/// What a `prometheus` registry wants to know of a metric beforehand.
pub fn desc(metric: &Metric) -> prometheus::Result<Desc> {
    let labels = metric.labels.iter().map(|l| (*l).to_owned()).collect();
    Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, HashMap::new())
}

/// A histogram that has one writer.
pub fn durations(durations: &Durations) -> Sample {
    Sample::Histogram(Histogram::add_up(std::iter::once(durations)))
}

impl Histogram {
    pub fn add_up<'a>(shards: impl Iterator<Item = &'a Durations>) -> Self {
        let mut total = Self { counts: [0; DURATION_BUCKETS_US.len() + 1], sum: 0.0 };
        for shard in shards {
            total.counts.iter_mut().zip(&shard.buckets).for_each(|(sum, bucket)| *sum += bucket.get());
            total.sum += seconds(shard.sum_us.get());
        }
        total
    }
}

pub fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn field_type(kind: Kind) -> proto::MetricType {
    match kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
        Kind::Summary => proto::MetricType::SUMMARY,
    }
}

fn to_proto<const N: usize>(metric: &Metric, values: [String; N], sample: &Sample) -> proto::Metric {
    let mut out = proto::Metric::from_label(metric.labels.iter().zip(values).map(label).collect());
    match sample {
        Sample::Number(value) if metric.kind == Kind::Counter => out.set_counter(counter(*value)),
        Sample::Number(value) => out.set_gauge(gauge(*value)),
        Sample::Histogram(durations) => out.set_histogram(histogram(durations)),
        Sample::Summary { sum, count } => out.set_summary(summary(*sum, *count)),
    }
    out
}

fn label((name, value): (&&'static str, String)) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value(value);
    pair
}

fn counter(value: f64) -> proto::Counter {
    let mut out = proto::Counter::default();
    out.set_value(value);
    out
}

fn gauge(value: f64) -> proto::Gauge {
    let mut out = proto::Gauge::default();
    out.set_value(value);
    out
}

fn summary(sum: f64, count: u64) -> proto::Summary {
    let mut out = proto::Summary::default();
    out.set_sample_sum(sum);
    out.set_sample_count(count);
    out
}

fn histogram(durations: &Histogram) -> proto::Histogram {
    let mut cumulative = 0;
    let buckets = DURATION_BUCKETS_US.iter().zip(&durations.counts).map(|(bound, count)| {
        cumulative += count;
        bucket(seconds(*bound), cumulative)
    });
    let mut out = proto::Histogram::default();
    out.set_bucket(buckets.collect());
    out.set_sample_count(durations.counts.iter().sum());
    out.set_sample_sum(durations.sum);
    out
}

fn bucket(bound: f64, cumulative: u64) -> proto::Bucket {
    let mut out = proto::Bucket::default();
    out.set_upper_bound(bound);
    out.set_cumulative_count(cumulative);
    out
}
