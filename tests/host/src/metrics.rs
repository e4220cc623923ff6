//! Metrics of the whole process: VMs define them by name, and all of them add to the same value.

use std::collections::BTreeMap;

use crate::abi::Status;

/// What a metric is; the number is the ABI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(crate) fn from_abi(kind: u32) -> Result<Self, Status> {
        match kind {
            0 => Ok(Self::Counter),
            1 => Ok(Self::Gauge),
            2 => Ok(Self::Histogram),
            3.. => Err(Status::BadArgument),
        }
    }
}

/// A metric as a VM knows it by its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Metric {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

/// The values, by name.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    values: BTreeMap<String, u64>,
    histograms: BTreeMap<String, Vec<u64>>,
}

impl Metrics {
    pub(crate) fn define(&mut self, metric: &Metric) {
        match metric.kind {
            Kind::Counter | Kind::Gauge => drop(self.values.entry(metric.name.clone()).or_default()),
            Kind::Histogram => drop(self.histograms.entry(metric.name.clone()).or_default()),
        }
    }

    /// Adds to a counter or gauge. Envoy refuses 0 and less on a counter, anything on a histogram.
    pub(crate) fn increment(&mut self, metric: &Metric, by: i64) -> Result<(), Status> {
        let value = match metric.kind {
            Kind::Counter if by <= 0 => return Err(Status::BadArgument),
            Kind::Counter | Kind::Gauge => self.values.entry(metric.name.clone()).or_default(),
            Kind::Histogram => return Err(Status::BadArgument),
        };
        *value = value.saturating_add_signed(by);
        Ok(())
    }

    /// Adds to a counter, sets a gauge, records a value of a histogram: so does Envoy.
    pub(crate) fn record(&mut self, metric: &Metric, amount: u64) {
        match metric.kind {
            Kind::Counter => {
                let value = self.values.entry(metric.name.clone()).or_default();
                *value = value.saturating_add(amount);
            }
            Kind::Gauge => drop(self.values.insert(metric.name.clone(), amount)),
            Kind::Histogram => self
                .histograms
                .entry(metric.name.clone())
                .or_default()
                .push(amount),
        }
    }

    pub(crate) fn value(&self, metric: &Metric) -> Result<u64, Status> {
        match metric.kind {
            Kind::Counter | Kind::Gauge => self.get(&metric.name).ok_or(Status::NotFound),
            Kind::Histogram => Err(Status::BadArgument),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<u64> {
        self.values.get(name).copied()
    }

    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        self.values.clone()
    }

    pub(crate) fn histogram(&self, name: &str) -> Vec<u64> {
        self.histograms.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values
            .keys()
            .chain(self.histograms.keys())
            .map(String::as_str)
    }
}
