//! The text that Prometheus scrapes, as numbers.

/// One scrape.
#[derive(Debug, Clone)]
pub struct Samples(pub Vec<Sample>);

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl Samples {
    pub fn parse(text: &str) -> Samples {
        Samples(text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(parse_sample).collect())
    }

    /// The sum of all series with this name and these labels; 0 where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |s: &&Sample| s.name == name && labels.iter().all(|(k, v)| s.label(k) == Some(*v));
        self.0.iter().filter(fits).map(|s| s.value).sum()
    }
}

impl Sample {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

fn parse_sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line:?}"));
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line:?}"));
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("no brace: {line:?}"))),
    };
    Sample { name: name.to_owned(), labels: parse_labels(labels), value }
}

/// Values in lb's own metrics hold neither commas nor escapes.
fn parse_labels(labels: &str) -> Vec<(String, String)> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or_else(|| panic!("no label: {text:?}"));
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        (name.to_owned(), value.unwrap_or_else(|| panic!("not quoted: {text:?}")).to_owned())
    };
    labels.split(',').filter(|l| !l.is_empty()).map(pair).collect()
}
