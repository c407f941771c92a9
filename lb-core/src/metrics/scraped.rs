//! A collector out of a table of metrics and a function that reads them.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::desc;
use super::names::Metric;

struct Scraped<F> {
    descs: Vec<Desc>,
    read: F,
}

/// `read` is called by each scrape, and may leave out what there is nothing of.
pub fn scraped<'m>(
    metrics: impl IntoIterator<Item = &'m Metric>,
    read: impl Fn() -> Vec<MetricFamily> + Send + Sync + 'static,
) -> prometheus::Result<Box<dyn Collector>> {
    let descs = metrics.into_iter().map(desc).collect::<Result<_, _>>()?;
    Ok(Box::new(Scraped { descs, read }))
}

impl<F: Fn() -> Vec<MetricFamily> + Send + Sync> Collector for Scraped<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.read)()
    }
}
