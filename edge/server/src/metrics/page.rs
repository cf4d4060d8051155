//! The page in Prometheus' text format, version 0.0.4: numbers in, text out.
//!
//! The `prometheus` crate's model and encoder make the text; its own counters are not used (see `cells`).

use super::cells::Histogram;
use super::table::{Family, Kind};
use prometheus::TextEncoder;
use prometheus::proto;

/// What the page says of itself, as etcd's does.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page that is being made.
#[derive(Default)]
pub(crate) struct Page {
    families: Vec<proto::MetricFamily>,
}

/// One family that is being filled.
pub(crate) struct Rows<'a> {
    family: &'static Family,
    rows: Vec<proto::Metric>,
    page: &'a mut Page,
}

impl Page {
    /// Begins a family; it is on the page if it gets a row.
    pub(crate) fn family(&mut self, family: &'static Family) -> Rows<'_> {
        Rows {
            family,
            rows: Vec::new(),
            page: self,
        }
    }

    /// A family without labels.
    pub(crate) fn one(&mut self, family: &'static Family, value: f64) {
        self.family(family).row(&[], value);
    }

    /// A histogram without labels.
    pub(crate) fn histogram(&mut self, family: &'static Family, histogram: &Histogram) {
        self.family(family).histogram(&[], histogram);
    }

    /// The text.
    pub(crate) fn render(mut self) -> String {
        self.families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = String::with_capacity(256 * 1024);
        // Into a string nothing can fail but a family without rows, and there is none.
        let _ = TextEncoder::new().encode_utf8(&self.families, &mut text);
        text
    }
}

impl Rows<'_> {
    /// One value, with its labels' values in the table's order.
    pub(crate) fn row(&mut self, labels: &[&str], value: f64) {
        let mut row = self.begin(labels);
        match self.family.kind {
            Kind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                row.set_counter(counter);
            }
            Kind::Gauge | Kind::Histogram => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                row.set_gauge(gauge);
            }
        }
        self.rows.push(row);
    }

    /// One histogram.
    pub(crate) fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        let mut row = self.begin(labels);
        let buckets = histogram.cumulative().map(|(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut rendered = proto::Histogram::default();
        rendered.set_bucket(buckets.collect());
        rendered.set_sample_sum(histogram.sum());
        rendered.set_sample_count(histogram.n());
        row.set_histogram(rendered);
        self.rows.push(row);
    }

    fn begin(&self, labels: &[&str]) -> proto::Metric {
        debug_assert_eq!(
            labels.len(),
            self.family.labels.len(),
            "{}",
            self.family.name
        );
        let pairs = self.family.labels.iter().zip(labels).map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        proto::Metric::from_label(pairs.collect())
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(self.family.name.to_owned());
        family.set_help(self.family.help.to_owned());
        family.set_field_type(match self.family.kind {
            Kind::Counter => proto::MetricType::COUNTER,
            Kind::Gauge => proto::MetricType::GAUGE,
            Kind::Histogram => proto::MetricType::HISTOGRAM,
        });
        family.set_metric(std::mem::take(&mut self.rows));
        self.page.families.push(family);
    }
}
