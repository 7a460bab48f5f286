//! The Prometheus text format, version 0.0.4: families of samples, each with its help and type.

use super::Sums;
use std::fmt::{Display, Write};

/// A page of families.
#[derive(Debug, Default)]
pub struct Page {
    out: String,
}

/// One family; its samples follow each other.
#[derive(Debug)]
pub struct Family<'a> {
    out: &'a mut String,
    name: &'static str,
}

/// How the values of a histogram are shown.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// A stored value divided by this is in the unit that the name tells.
    pub per_unit: f64,
    /// Bounds are powers of two (less one, for they are inclusive) with these exponents.
    pub first: u32,
    pub last: u32,
}

/// Nanoseconds as seconds, from a microsecond to 17 seconds.
pub const SECONDS: Scale = Scale { per_unit: 1e9, first: 10, last: 34 };
/// Numbers of things, up to 65,535.
pub const COUNT: Scale = Scale { per_unit: 1.0, first: 1, last: 16 };
/// Bytes, from 4 KiB to 64 MiB.
pub const BYTES: Scale = Scale { per_unit: 1.0, first: 12, last: 26 };

/// The content type that goes with a page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Page {
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        debug_assert!(name.ends_with("_total"), "{name} is a counter");
        self.family(name, "counter", help)
    }

    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    pub fn finish(self) -> String {
        self.out
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { out: &mut self.out, name }
    }
}

impl Family<'_> {
    /// A sample without labels.
    pub fn value(&mut self, value: impl Display) {
        let _ = writeln!(self.out, "{} {value}", self.name);
    }

    /// A sample with a label.
    pub fn labelled(&mut self, label: &str, text: &str, value: impl Display) {
        let _ = writeln!(self.out, "{}{{{label}=\"{}\"}} {value}", self.name, escaped(text));
    }

    /// A sample with several labels.
    pub fn labels(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let _ = writeln!(self.out, "{}{{{}}} {value}", self.name, labels.join(","));
    }

    /// The samples of a histogram; `label` is empty or a label with its value.
    pub fn sums(&mut self, label: &[(&str, &str)], sums: &Sums, scale: Scale) {
        let Self { out, name } = self;
        let label = label.first().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).unwrap_or_default();
        let comma = if label.is_empty() { "" } else { "," };
        let count = sums.count();
        for octave in scale.first..=scale.last {
            let bound = as_f64((1 << octave) - 1) / scale.per_unit;
            let _ = writeln!(out, "{name}_bucket{{{label}{comma}le=\"{bound}\"}} {}", sums.below(octave).min(count));
        }
        let _ = writeln!(out, "{name}_bucket{{{label}{comma}le=\"+Inf\"}} {count}");
        let label = if label.is_empty() { label } else { format!("{{{label}}}") };
        let _ = writeln!(out, "{name}_sum{label} {}", as_f64(sums.sum) / scale.per_unit);
        let _ = writeln!(out, "{name}_count{label} {count}");
    }
}

/// Nanoseconds in seconds.
pub fn seconds(ns: u64) -> f64 {
    as_f64(ns) / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "the format knows doubles only")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meters::Histogram;

    #[test]
    fn a_page_reads_as_the_format_says() {
        let mut page = Page::default();
        page.gauge("a_bytes", "Bytes.").value(7);
        page.counter("b_total", "Things.").labelled("kind", "a\"b\\c\nd", 1.5);
        let histogram = Histogram::default();
        histogram.add(1, 2);
        histogram.add(3, 1);
        let two = Scale { per_unit: 1.0, first: 1, last: 2 };
        page.histogram("c", "Sizes.").sums(&[("x", "y")], &Sums::from(&histogram), two);
        let wanted = "# HELP a_bytes Bytes.\n# TYPE a_bytes gauge\na_bytes 7\n\
                      # HELP b_total Things.\n# TYPE b_total counter\nb_total{kind=\"a\\\"b\\\\c\\nd\"} 1.5\n\
                      # HELP c Sizes.\n# TYPE c histogram\nc_bucket{x=\"y\",le=\"1\"} 2\nc_bucket{x=\"y\",le=\"3\"} 3\n\
                      c_bucket{x=\"y\",le=\"+Inf\"} 3\nc_sum{x=\"y\"} 5\nc_count{x=\"y\"} 3\n";
        assert_eq!(page.finish(), wanted);
    }
}
