//! A strict reader of the Prometheus text format 0.0.4: what it takes, every scraper takes.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of a page by their names with labels, as they stand in it.
pub fn read(text: &str) -> Result<BTreeMap<String, f64>, String> {
    if !text.ends_with('\n') {
        return Err("the page doesn't end with a line feed".into());
    }
    let mut reader = Reader::default();
    for (number, line) in (1..).zip(text.lines()) {
        reader.line(line).map_err(|why| format!("line {number}, {line:?}: {why}"))?;
    }
    reader.end_family()?;
    Ok(reader.samples)
}

#[derive(Default)]
struct Reader {
    families: BTreeSet<String>,
    /// The family being read: name, type once it is told, and its samples.
    family: Option<(String, Option<String>, Vec<Sample>)>,
    samples: BTreeMap<String, f64>,
}

struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

type Labels = Vec<(String, String)>;

/// A histogram with one set of labels.
#[derive(Default)]
struct Series {
    /// Bounds and counts.
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            self.end_family()?;
            let (name, help) = rest.split_once(' ').ok_or("no help")?;
            is_name(name).then_some(()).ok_or("a bad name")?;
            (!help.trim().is_empty()).then_some(()).ok_or("an empty help")?;
            self.families.insert(name.into()).then_some(()).ok_or("a family twice")?;
            self.family = Some((name.into(), None, Vec::new()));
            return Ok(());
        }
        let (name, kind, samples) = self.family.as_mut().ok_or("a line before any HELP")?;
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (typed, word) = rest.split_once(' ').ok_or("no type")?;
            (typed == name && kind.is_none() && samples.is_empty()).then_some(()).ok_or("a TYPE out of place")?;
            ["counter", "gauge", "histogram"].contains(&word).then_some(()).ok_or("an unknown type")?;
            (word != "counter" || name.ends_with("_total")).then_some(()).ok_or("a counter without _total")?;
            *kind = Some(word.into());
            return Ok(());
        }
        let sample = sample(line)?;
        let suffixes: &[&str] = match kind.as_deref() {
            Some("histogram") => &["_bucket", "_sum", "_count"],
            Some(_) => &[""],
            None => return Err("a sample before its TYPE".into()),
        };
        let fits = suffixes.iter().any(|suffix| sample.name == format!("{name}{suffix}"));
        fits.then_some(()).ok_or("a sample of another family")?;
        let key = line.rsplit_once(' ').ok_or("no value")?.0;
        (self.samples.insert(key.into(), sample.value).is_none()).then_some(()).ok_or("a sample twice")?;
        samples.push(sample);
        Ok(())
    }

    fn end_family(&mut self) -> Result<(), String> {
        let Some((name, kind, samples)) = self.family.take() else { return Ok(()) };
        let why = match kind.as_deref() {
            None => Err("no type"),
            Some("histogram") => histogram(&samples),
            Some("counter") if samples.iter().any(|sample| sample.value < 0.0) => Err("a negative counter"),
            Some(_) => Ok(()),
        };
        why.map_err(|why| format!("{name}: {why}"))
    }
}

/// Buckets grow, end with +Inf, and the last is the count.
fn histogram(samples: &[Sample]) -> Result<(), &'static str> {
    let mut series: BTreeMap<Labels, Series> = BTreeMap::new();
    for sample in samples {
        let others = sample.labels.iter().filter(|(name, _)| name != "le").cloned().collect();
        let entry = series.entry(others).or_default();
        match sample.name.rsplit_once('_').ok_or("a bad name")?.1 {
            "bucket" => {
                let bound = sample.labels.iter().find(|(name, _)| name == "le").ok_or("a bucket without le")?;
                let bound = if bound.1 == "+Inf" { f64::INFINITY } else { bound.1.parse().map_err(|_| "a bad le")? };
                entry.buckets.push((bound, sample.value));
            }
            "sum" => entry.sum = Some(sample.value),
            _ => entry.count = Some(sample.value),
        }
    }
    for Series { buckets, sum, count } in series.values() {
        let grows = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let last = buckets.last().ok_or("no buckets")?;
        if !grows || last.0.is_finite() || Some(last.1) != *count || sum.is_none() {
            return Err("buckets that don't fit");
        }
    }
    Ok(())
}

fn sample(line: &str) -> Result<Sample, String> {
    let (key, value) = line.rsplit_once(' ').ok_or("no value")?;
    let value = value.parse::<f64>().map_err(|_| "a value that is no number")?;
    let (name, labels) = match key.split_once('{') {
        None => (key, Vec::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').ok_or("labels without an end")?)?),
    };
    is_name(name).then_some(()).ok_or("a bad name")?;
    Ok(Sample { name: name.into(), labels, value })
}

fn labels(mut text: &str) -> Result<Labels, String> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").ok_or("a label without a value")?;
        is_name(name).then_some(()).ok_or("a bad label")?;
        let end = rest.find('"').ok_or("a value without an end")?;
        labels.push((name.into(), rest[..end].into()));
        text = &rest[end + 1..];
        text = text.strip_prefix(',').unwrap_or(text);
    }
    Ok(labels)
}

fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
