//! Gives a record to a layer made for tracing, on the thread that writes.
//!
//! The layer stands in a subscriber of its own. For each record the spans are made anew and
//! entered, the event happens in them, and they are closed: nothing outlives the record.

use tracing::dispatcher::{self, Dispatch};
use tracing::field::Value as TracingValue;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use super::record::{Fields, Record};

/// A layer that records are given to.
#[derive(Debug)]
pub(super) struct Replay {
    dispatch: Dispatch,
}

impl Replay {
    pub(super) fn new(layer: impl Layer<Registry> + Send + Sync) -> Self {
        Self { dispatch: Dispatch::new(subscriber(layer)) }
    }

    /// Gives the layer the event, in its spans. A span's field that is overridden further in is
    /// left out, so that every name has one value.
    pub(super) fn play(&self, record: &Record) {
        if record.spans.is_empty() {
            return self.event(record);
        }
        // Closing a span closes its parents in the subscriber that is the default.
        dispatcher::with_default(&self.dispatch, || {
            let mut entered: Vec<Id> = Vec::with_capacity(record.spans.len());
            for (depth, span) in record.spans.iter().enumerate() {
                let values =
                    values(span.metadata, &span.fields, |name| !record.is_shadowed(depth, name));
                let values = span.metadata.fields().value_set_all(&values);
                let id = self.dispatch.new_span(&Attributes::new(span.metadata, &values));
                self.dispatch.enter(&id);
                entered.push(id);
            }
            self.event(record);
            while let Some(id) = entered.pop() {
                self.dispatch.exit(&id);
                self.dispatch.try_close(id);
            }
        });
    }

    fn event(&self, record: &Record) {
        let values = values(record.metadata, &record.fields, |_| true);
        let values = record.metadata.fields().value_set_all(&values);
        self.dispatch.event(&Event::new(record.metadata, &values));
    }
}

fn subscriber(layer: impl Layer<Registry> + Send + Sync) -> impl Subscriber + Send + Sync {
    tracing_subscriber::registry().with(layer).with(Unasked)
}

/// A value, or none, for every field of a callsite: what tracing's own macros make.
fn values<'a>(
    metadata: &'static Metadata<'static>,
    fields: &'a Fields,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Option<&'a dyn TracingValue>> {
    let names = metadata.fields().iter().map(|field| field.name());
    names.map(|n| fields.get(n).filter(|_| wanted(n)).map(|value| value.as_tracing())).collect()
}

/// Says that the subscriber wants nothing of what the process logs: what it is given was chosen
/// before. Otherwise every callsite of the process would be live for its sake.
struct Unasked;

impl<S: Subscriber> Layer<S> for Unasked {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::never()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::OFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_for_nothing_of_what_the_process_logs() {
        struct Greedy;
        impl<S: Subscriber> Layer<S> for Greedy {}
        assert_eq!(subscriber(Greedy).max_level_hint(), Some(LevelFilter::OFF));
    }
}
